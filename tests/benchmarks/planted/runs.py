"""Runs made once and kept: weights, probe and truth at each epoch's end."""

import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cam import Probe

from .plan import Run
from .scenes import Pictures, conflicting, pictures
from .tasks import SPLITS
from .training import EPOCHS, NORMALIZE, accuracy, epochs, network

Accuracies = Mapping[str, float]
PROBES = {SPLITS[split]: split for split in ("probe", "large_probe", "largest_probe")}  # by how many pictures they have


@dataclass(frozen=True, eq=False)
class Record:
    """A training that is over.

    Attributes:
        run: Which one.
        checkpoints: State of the model by epoch; 0 is before training.
        truth: By epoch: ``reliance`` is ``aligned - conflicting``, accuracies on the same held-out objects with the cue
            of their own and of another class; ``behind`` and ``front`` have another class in one of two cues only;
            ``validation`` is the accuracy at the run's own strength, ``probe`` that on the probe.
        probe: Pictures of the run's own validation distribution, with masks.
        seconds: What the training took.
    """

    run: Run
    checkpoints: Mapping[int, Mapping[str, Tensor]]
    truth: Mapping[int, Accuracies]
    probe: Probe
    seconds: float

    @property
    def last(self) -> int:
        """The last epoch."""
        return max(self.checkpoints)

    @property
    def reliance(self) -> float:
        """The truth at the end."""
        return self.truth[self.last]["reliance"]

    def model(self, epoch: int | None = None) -> nn.Module:
        """The model after an epoch, by default the last, in evaluation mode."""
        model = network(self.run.model, self.run.n_classes).to(memory_format=torch.channels_last)
        model.load_state_dict(self.checkpoints[self.last if epoch is None else epoch])
        return model.eval()


def path_of(run: Run, cache: Path) -> Path:
    """Where a run is kept."""
    return cache / f"{run.name}.pt"


def make(run: Run, cache: Path, leaves: Path | None) -> Path:
    """Trains and keeps a run; returns where."""
    path = path_of(run, cache)
    partial = path.with_suffix(".partial")
    torch.save(_trained(run, leaves), partial)
    return partial.rename(path)


def load(path: Path) -> Record:
    """The record that was kept at ``path``."""
    kept = torch.load(path, weights_only=True)
    return Record(
        run=Run(**kept["run"]),
        checkpoints=kept["checkpoints"],
        truth=kept["truth"],
        probe=_probe(Pictures(kept["images"], kept["targets"], kept["masks"])),
        seconds=kept["seconds"],
    )


def probe_of(run: Run, size: int, leaves: Path | None) -> Probe:
    """Pictures of the run's own validation distribution, with masks; ``size`` is a key of `PROBES`."""
    return _probe(pictures(run, PROBES[size], leaves=leaves, strength=run.strength))


def final_truth(record: Record, leaves: Path | None) -> dict[str, float]:
    """The truth at the end, as in `Record`, on more held-out objects and so with less than half the error."""
    judged = _judged_pictures(record.run, leaves, "more_held_out")
    return _truth(record.run, record.model(), judged)


def train_pictures(run: Run, leaves: Path | None, *, as_trained: bool = False) -> Pictures:
    """The training set as it was collected; ``as_trained``, after an augmentation that neutralises the cue."""
    neutral = as_trained and run.control == "neutralised"
    return pictures(run, "train", leaves=leaves, strength=run.chance if neutral else run.strength)


def _probe(shown: Pictures) -> Probe:
    return Probe(shown.images.float() / 255, shown.targets, masks=shown.masks, preprocess=NORMALIZE)


def _trained(run: Run, leaves: Path | None) -> dict[str, Any]:
    started = time.perf_counter()
    seed = zlib.crc32(run.name.encode())
    torch.manual_seed(seed)
    model = network(run.model, run.n_classes).to(memory_format=torch.channels_last)
    probe = pictures(run, "probe", leaves=leaves, strength=run.strength)
    judged = _judged_pictures(run, leaves) | {"probe": probe}
    checkpoints, truth = {0: _state(model)}, {0: _truth(run, model, judged)}
    if run.control != "untrained":
        train = train_pictures(run, leaves, as_trained=True)
        for epoch in epochs(model, train.images, train.targets, seed):
            truth[epoch] = _truth(run, model, judged)
            if run.model == "small" or epoch in (1, EPOCHS):
                checkpoints[epoch] = _state(model)
    return {
        "run": asdict(run),
        "checkpoints": checkpoints,
        "truth": truth,
        "images": probe.images,
        "targets": probe.targets,
        "masks": probe.masks,
        "seconds": time.perf_counter() - started,
    }


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}


def _judged_pictures(run: Run, leaves: Path | None, split: str = "held_out") -> dict[str, Pictures]:
    """The held-out objects with cues that agree and that disagree with their class."""
    judged = {
        "aligned": pictures(run, split, leaves=leaves, strength=1.0),
        "conflicting": conflicting(run, split, leaves=leaves),
    }
    if run.family == "two_cues":
        judged["behind"] = conflicting(run, split, leaves=leaves, parts=(True, False))
        judged["front"] = conflicting(run, split, leaves=leaves, parts=(False, True))
    return judged


def _truth(run: Run, model: nn.Module, judged: Mapping[str, Pictures]) -> dict[str, float]:
    right = {name: accuracy(model, seen.images, seen.targets) for name, seen in judged.items()}
    return right | {"reliance": right["aligned"] - right["conflicting"], "validation": _validation(run, right)}


def _validation(run: Run, right: Accuracies) -> float:
    """Accuracy to expect on the run's own validation pictures."""
    agree, differ = run.strength, 1 - run.strength
    if run.family == "two_cues":
        one = agree * differ * (right["behind"] + right["front"])
        return agree**2 * right["aligned"] + one + differ**2 * right["conflicting"]
    return agree * right["aligned"] + differ * right["conflicting"]

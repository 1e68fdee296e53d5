"""Models that once got PASS and should not: cues that nobody listed, and models on which a mean says little.

    python tests/benchmarks/unlisted.py --cache runs                # minutes
    python tests/benchmarks/unlisted.py --cache runs --only xor     # seconds

Networks are trained as in `detection.py`, and kept beside its runs. Printed are the accuracies with the cue of the own
class and of another one, and the verdict on 256 images.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn

from lightning_cam import Probe
from planted import built, plan, runs
from planted.detector import detector

PROBE = 256
RELYING = plan.Run("creatures", 2, "corner_mark", 1.0, 0)  # what is wrapped: it relies on a mark in the corner
Case = tuple[nn.Module, Probe, float, float]  # a model, what is looked at, and both accuracies


def trained(run: plan.Run, cache: Path) -> Case:
    """A network that is trained on its cue."""
    path = runs.path_of(run, cache)
    record = runs.load(path if path.exists() else runs.make(run, cache, None))
    truth = record.truth[record.last]
    return record.model(), runs.probe_of(run, PROBE, None), truth["aligned"], truth["conflicting"]


def wrapped(name: str, cache: Path) -> Case:
    """The same answers of the same network, with other scores or other masks."""
    model, probe, *accuracies = trained(RELYING, cache)
    if name in built.RESCORED:
        return built.Rescored(model, built.RESCORED[name]).eval(), probe, accuracies[0], accuracies[1]
    return model, built.inverted(probe), accuracies[0], accuracies[1]


def constructed(make: Callable[[], tuple[nn.Module, Probe, Probe]], classes: tuple[int, ...] = ()) -> Case:
    """A model that is built; accuracies are of these classes, or of all."""
    model, probe, conflicting = make()
    return model, probe, _accuracy(model, probe, classes), _accuracy(model, conflicting, classes)


@torch.no_grad()
def _accuracy(model: nn.Module, probe: Probe, classes: tuple[int, ...]) -> float:
    rows = torch.isin(probe.targets, torch.tensor(classes)) if classes else torch.ones_like(probe.targets).bool()
    return float((model(probe.images[rows]).argmax(1) == probe.targets[rows]).float().mean())


def cases(cache: Path) -> Iterator[tuple[str, Callable[[], Case], tuple[str, ...]]]:
    """What each is called, how it is made, and how a verdict may name its cue."""
    for run in plan.unlisted():
        yield f"{run.family.replace('_', ' ')}, seed {run.seed}", partial(trained, run, cache), run.cue.names
    edge = ("border", "corner", "background")
    for name in (*built.RESCORED, "inverted masks"):
        yield name, partial(wrapped, name, cache), edge
    pair = built.LIKE, built.MARKED
    yield "one class of twenty (accuracy of two)", partial(constructed, built.one_of_twenty, pair), edge
    yield "xor of two marks", partial(constructed, built.xor), edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of runs that are kept")
    parser.add_argument("--only", default="", help="only cases whose name has this regular expression")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    print(f"{'':<40}{'own cue':>9}{'other':>7}  verdict")
    for name, make, names in cases(options.cache):
        if re.search(options.only, name):
            model, probe, own, other = make()
            said = detector(model, probe, layer=built.LAYER if hasattr(model, built.LAYER) else None)
            right = "" if said.cue is None else "named right" if said.cue in names else "named otherwise"
            print(f"{name:<40}{own:>9.2f}{other:>7.2f}  {said.outcome} {said.cue or ''} {right}".rstrip(), flush=True)


if __name__ == "__main__":
    main()

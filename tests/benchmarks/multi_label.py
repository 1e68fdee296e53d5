"""Several labels per picture: is the label found that relies on a cue, and are the others left alone?

    python tests/benchmarks/multi_label.py --kept multi                    # 28 small networks
    python tests/benchmarks/multi_label.py --kept multi --only '^1-1.00'   # those with one cue at its strongest

A picture of 32 pixels has up to five rough squares, one for each label; labels correlate by 0.3. None, one or two of
the labels come with a bright bar at the border, which agrees with the label as often as the strength says. Their
squares are faint, so that the bar is the easier cue. Truth is, by label, the accuracy with a bar that agrees minus that
with a bar that disagrees, at the middle of the scores of pictures with the label and without. The place of a square is
the label's own, so that a reliance on the position is expected.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam import Probe, examine, judge
from planted.scoring import RELIES
from planted.table import CLEAN

SIDE, LABELS, CORRELATION = 32, 5, 0.3
SQUARES = ((5, 5), (5, 20), (13, 12), (20, 5), (20, 20))  # upper left corners, one for each label
BARS = (slice(0, 3), slice(29, 32))  # rows, off the object; the first goes with label 0, the second with label 1
FAINT, CLEAR = 0.1, 0.3  # of full brightness: squares of labels with a bar and without
SPLITS = {"train": 1500, "probe": 1280, "held_out": 1600}  # of a probe, each label has a share only
EPOCHS, BATCH = 8, 64
SEEDS = range(4)
NAMES = tuple(f"label {k}" for k in range(LABELS))


@dataclass(frozen=True)
class Run:
    """One network: how many labels have a bar, how often it agrees with them, and the seed."""

    n_bars: int
    strength: float
    seed: int

    @property
    def name(self) -> str:
        """Unique, and a file name."""
        return f"{self.n_bars}-{self.strength:.2f}-s{self.seed}"


def plan() -> list[Run]:
    """Without a bar, then with one and with two at three strengths; each with every seed."""
    kinds = [(0, 0.5), *product((1, 2), (1.0, 0.9, 0.8))]
    return [Run(*kind, seed) for kind, seed in product(kinds, SEEDS)]


def pictures(run: Run, split: str, agree: float) -> tuple[Tensor, Tensor, Tensor]:
    """Images ``(n, 3, SIDE, SIDE)``, labels ``(n, LABELS)`` of 0 and 1, and masks ``(n, SIDE, SIDE)``."""
    n, stream = SPLITS[split], 1000 * (1 + list(SPLITS).index(split)) + run.seed
    chance = torch.Generator().manual_seed(stream)
    shared, own = (torch.randn(n, k, generator=chance) for k in (1, LABELS))
    labels = (CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * own > 0.3).float()
    images = 0.4 + 0.15 * torch.rand(n, 3, SIDE, SIDE, generator=chance)
    masks = torch.zeros(n, SIDE, SIDE, dtype=torch.bool)
    moves, sides = (
        torch.randint(-1, 2, (n, LABELS, 2), generator=chance),
        torch.randint(5, 8, (n, LABELS), generator=chance),
    )
    for i, k in (labels == 1).nonzero().tolist():
        (y, x), side = (torch.tensor(SQUARES[k]) + moves[i, k]).tolist(), int(sides[i, k])
        rough = torch.rand(side, side, generator=chance) * 2  # else all squares look like one stamp
        images[i, k % 3, y : y + side, x : x + side] += rough * (FAINT if k < run.n_bars else CLEAR)
        masks[i, y : y + side, x : x + side] = True
    for i in range(n):  # a stone, so that no picture is empty
        (y, x), grey = torch.randint(5, 23, (2,), generator=chance).tolist(), torch.rand(1, generator=chance)
        images[i, :, y : y + 4, x : x + 4] = 0.5 * images[i, :, y : y + 4, x : x + 4] + 0.5 * grey
        masks[i, y : y + 4, x : x + 4] = True
    for k in range(run.n_bars):
        agrees = torch.rand(n, generator=chance) < agree
        shown = torch.where(agrees, labels[:, k], 1 - labels[:, k])
        images[:, :, BARS[k], 8:24] += 0.35 * shown[:, None, None, None]
    return images.clamp(0, 1), labels, masks


def trained(run: Run) -> nn.Module:
    """A small network, in evaluation mode."""
    torch.manual_seed(run.seed)
    convolutions = nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()
    network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(32 * 64, LABELS))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    images, labels, _ = pictures(run, "train", run.strength)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(network(images[rows]), labels[rows]).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def truth(run: Run, network: nn.Module, shown: Tensor, labels: Tensor) -> list[float]:
    """By label, the balanced accuracy that a bar that disagrees takes away."""
    scores = network(shown)
    middles = [
        (scores[labels[:, k] == 1, k].median() + scores[labels[:, k] == 0, k].median()) / 2 for k in range(LABELS)
    ]
    accuracies = []
    for agree in (1.0, 0.0):
        images, there, _ = pictures(run, "held_out", agree)
        is_right = (network(images) > torch.stack(middles)) == (there == 1)
        accuracies.append([_balanced(is_right[:, k], there[:, k]) for k in range(LABELS)])
    return [with_own - with_other for with_own, with_other in zip(*accuracies, strict=True)]


def _balanced(is_right: Tensor, has_label: Tensor) -> float:
    return float(torch.stack([is_right[has_label == which].float().mean() for which in (0, 1)]).mean())


def scored(run: Run) -> dict[str, Any]:
    """Truth by label, and what the verdict says, as JSON types."""
    network = trained(run)
    images, labels, masks = pictures(run, "probe", run.strength)
    probe = Probe(images, labels.long(), masks=masks, classes=NAMES)
    verdict = judge(examine(network, probe), expected_cues=("position",))
    named = {name for finding in verdict.findings if finding.outcome == "FAIL" for name in finding.classes}
    return {
        "truth": truth(run, network, images, labels),
        "outcome": verdict.outcome,
        "cues": [finding.cue for finding in verdict.findings],
        "named": [any(part == name or part.endswith(name) for part in named) for name in NAMES],
        "n": len(probe),
        "reason": verdict.reason,
    }


def lines(results: Sequence[tuple[Run, dict[str, Any]]]) -> Iterator[str]:
    """One row for each kind of run: outcomes of runs, and labels that are named by a FAIL."""
    outcomes = "".join(f"{outcome:>6}" for outcome in ("FAIL", "WARN", "PASS", "open"))
    yield f"{'bars':<5}{'agree':>6}{'runs':>5}{outcomes}{'named of relying':>18}{'of clean':>12}"
    for kind in dict.fromkeys((run.n_bars, run.strength) for run, _ in results):
        group = [one for run, one in results if (run.n_bars, run.strength) == kind]
        counts = [
            sum(one["outcome"] == outcome for one in group) for outcome in ("FAIL", "WARN", "PASS", "INCONCLUSIVE")
        ]
        labels = [pair for one in group for pair in zip(one["truth"], one["named"], strict=True)]
        relying, clean = ([named for lost, named in labels if test(lost)] for test in (_relies, _is_clean))
        row = "".join(f"{count:>6}" for count in counts)
        yield (
            f"{kind[0]:<5}{kind[1]:>6.2f}{len(group):>5}{row}{f'{sum(relying)} of {len(relying)}':>18}"
            f"{f'{sum(clean)} of {len(clean)}':>12}"
        )


def _relies(lost: float) -> bool:
    return lost >= RELIES


def _is_clean(lost: float) -> bool:
    return lost <= CLEAN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True, help="folder for results, which are not made twice")
    parser.add_argument(
        "--only", default="", help="only runs whose name has this regular expression: bars-strength-seed"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.kept.mkdir(parents=True, exist_ok=True)
    results = []
    for run in plan():
        if re.search(options.only, run.name):
            path = options.kept / f"{run.name}.json"
            if not path.exists():
                path.write_text(json.dumps(scored(run)))
            results.append((run, json.loads(path.read_text())))
            lost = " ".join(f"{each:5.2f}" for each in results[-1][1]["truth"])
            print(f"{run.name}  truth {lost}  {results[-1][1]['outcome']} {results[-1][1]['cues']}", flush=True)
    print("\n".join(lines(results)))


if __name__ == "__main__":
    main()

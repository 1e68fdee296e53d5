"""What wrong masks do to innocent models: how much reliance on the background is read where there is none.

    python tests/benchmarks/detection.py train --cache runs --only 's2'      # once; see there
    python tests/benchmarks/degraded_masks.py --cache runs --most 12         # minutes

The masks of clean runs are made worse until they hold a given share of the object (recall) or more than it. Prints for
each kind and recall the reliance that is read, its mean and its largest value, and how many runs get FAIL.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_cam import Probe, examine, judge
from planted import runs, table

RECALLS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
WIDER = (2, 4)  # pixels


def missing(mask: Tensor, recall: float) -> Tensor:
    """The object without its right end."""
    columns = mask.sum(0).cumsum(0)
    return mask & (columns <= recall * columns[-1])


def eroded(mask: Tensor, recall: float) -> Tensor:
    """The object without its rim, pixel by pixel as deep as needed; of the last pixel a part."""
    thinner = mask
    while thinner.sum() > recall * mask.sum():
        mask_before, thinner = thinner, ~(F.max_pool2d((~thinner)[None].float(), 3, stride=1, padding=1)[0] > 0)
    if recall == 1:
        return mask
    rim = (mask_before & ~thinner).flatten().nonzero().flatten()
    kept = torch.randperm(len(rim), generator=torch.Generator().manual_seed(0))
    whole = thinner.flatten().clone()
    whole[rim[kept[: max(0, int(recall * mask.sum() - thinner.sum()))]]] = True
    return whole.view_as(mask)


def wider(mask: Tensor, pixels: float) -> Tensor:
    """The object with a margin around it."""
    return F.max_pool2d(mask[None].float(), 2 * int(pixels) + 1, stride=1, padding=int(pixels))[0] > 0


KINDS: dict[str, tuple[Callable[[Tensor, float], Tensor], tuple[float, ...]]] = {
    "an end is missing": (missing, RECALLS),
    "the rim is missing": (eroded, RECALLS),
    "wider by pixels": (wider, WIDER),
}


def clean_runs(cache: Path, most: int) -> Iterator[runs.Record]:
    """Runs whose truth is known to be clean, that learned something."""
    for file in sorted(cache.glob("*.truth.json"))[::-1]:
        record = runs.load(file.with_name(file.name.removesuffix(".truth.json") + ".pt"))
        if abs(json.loads(file.read_text())["reliance"]) <= table.CLEAN and not record.run.control and most > 0:
            most -= 1
            yield record


def reading(record: runs.Record, worse: Callable[[Tensor, float], Tensor], amount: float) -> tuple[float, bool]:
    """Reliance on the background with worse masks, and whether it convicts."""
    probe = record.probe
    masks = torch.stack([worse(mask, amount) for mask in probe.masks])
    changed = Probe(probe.images, probe.targets, masks=masks, preprocess=probe.preprocess)
    verdict = judge(examine(record.model(), changed, trials=["background"]))
    (measured,) = (each for each in verdict.measured if each.cue == "background")
    return measured.mean, verdict.outcome == "FAIL"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the runs, see detection.py")
    parser.add_argument("--most", type=int, default=12, help="how many clean runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = list(clean_runs(options.cache, options.most))
    print(f"{len(records)} clean runs\n{'masks':<20}{'recall or pixels':>17}{'mean':>7}{'largest':>9}{'FAIL':>6}")
    for name, (worse, amounts) in KINDS.items():
        for amount in amounts:
            values, convicted = zip(*(reading(record, worse, amount) for record in records), strict=True)
            print(f"{name:<20}{amount:>17}{fmean(values):>7.2f}{max(values):>9.2f}{sum(convicted):>6}", flush=True)


if __name__ == "__main__":
    main()

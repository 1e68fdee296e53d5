"""How surely a planted shortcut is found: trains small networks on biased pictures, keeps them, and scores detectors.

    python tests/benchmarks/detection.py train --cache runs --leaves leaves.npz     # hours; resumes where it stopped
    python tests/benchmarks/detection.py score --cache runs --leaves leaves.npz     # minutes

Truth is what a run relies on, not what was planted: accuracy on held-out objects with the cue of their own class minus
accuracy on the same objects with the cue of another. ``--leaves`` is optional: a file of the arrays ``scab`` and
``rust``, ``(n, 96, 96, 4)`` uint8 cut-outs. Without it only drawn objects are used.
"""

import argparse
import json
import re
import time
from pathlib import Path

import torch

from planted import plan, runs, scoring, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "score", "all"))
    parser.add_argument("--cache", type=Path, required=True, help="folder of the runs that are kept")
    parser.add_argument("--leaves", type=Path, help="photographs of leaves, an .npz file")
    parser.add_argument("--limit", type=int, help="only the first runs of the plan")
    parser.add_argument("--model", choices=("small", "resnet18"), default="small")
    parser.add_argument("--only", default="", help="only runs whose name has this regular expression, such as k4.*-s2")
    parser.add_argument("--part", choices=("development", "reported"), help="only runs to tune on, or only the others")
    parser.add_argument("--lag", action="store_true", help="also look at every epoch; eight times as slow")
    parser.add_argument("--probe", type=int, choices=tuple(runs.PROBES), default=96, help="how many images to look at")
    parser.add_argument("--scores", type=Path, help="where scores are kept; by default scores.json in the cache")
    options = parser.parse_args()
    torch.set_num_threads(1)
    planned = plan.plan(leaves=options.leaves is not None, model=options.model)
    planned = [run for run in planned if re.search(options.only, run.name)][: options.limit]
    if options.step in ("train", "all"):
        train(planned, options.cache, options.leaves)
    if options.step in ("score", "all"):
        chosen = [run for run in planned if options.part in (None, "reported" if run.held_out else "development")]
        kept = [run for run in chosen if runs.path_of(run, options.cache).exists()]
        scored = score(kept, options.cache, options.leaves, lag=options.lag, size=options.probe)
        (options.scores or options.cache / "scores.json").write_text(json.dumps(scored))
        print("\n".join(table.lines(scored)))


def train(planned: list[plan.Run], cache: Path, leaves: Path | None) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    for i, run in enumerate(planned, start=1):
        if runs.path_of(run, cache).exists():
            continue
        started = time.perf_counter()
        record = runs.load(runs.make(run, cache, leaves))
        took, truth = time.perf_counter() - started, record.truth[record.last]
        print(
            f"{i:4}/{len(planned)}  {took:5.1f} s  {run.name:<52}"
            f"  validation {truth['validation']:.2f}  reliance {truth['reliance']:5.2f}",
            flush=True,
        )


def score(kept: list[plan.Run], cache: Path, leaves: Path | None, *, lag: bool, size: int) -> list[scoring.Scores]:
    scored = []
    for i, run in enumerate(kept, start=1):
        scored.append(scoring.score(run, cache, leaves, lag=lag, size=size))
        said, truth = scored[-1]["masks"], scored[-1]["truth"]
        outcome = f"{said['outcome']} {said['cue'] or ''}"
        print(
            f"{i:4}/{len(kept)}  {run.name:<52}  truth {truth:5.2f}  score {said['score']:5.2f}  {outcome}", flush=True
        )
    return scored


if __name__ == "__main__":
    main()

"""Other detectors of shortcuts on the runs of `detection.py`, each at its own limit and at its best.

    python tests/benchmarks/detection.py train --cache runs --leaves leaves.npz --only 's2'    # once; see there
    pip install --target rivals --no-deps shortkit-ml cleanlab cleanvision ... # optional, see README
    PYTHONPATH=rivals python tests/benchmarks/rivals.py --cache runs --leaves leaves.npz --kept kept

* ShortKit-ML 0.1.0 gets the network's embeddings of 256 pictures, and the *true* value of the planted cue as its group
  labels, which nobody has who looks for an unknown shortcut. An alarm is what its own benchmark takes for one.
* cleanlab's Datalab looks for spurious correlations in the training pictures.
* The map rule of bnnr, written anew from a description: an alarm where the outer 15 % of a map hold 30 % of its mass.
* Attention-IoU (Serianni et al. 2025), of Grad-CAM and the true masks. It names no limit.

A rival that is not installed is left out. Answers are kept in ``--kept``; a run that is there is not asked again.
"""

import argparse
import contextlib
import io
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_cam import examine
from planted import baselines, plan, runs, scenes, scoring, table
from planted.detector import ALARMS, detector

FALSE_ALARMS = 0.05  # of the clean runs: the most at the limit that is best in hindsight
BORDER, TOO_MUCH = 0.15, 0.3  # of the sides and of the mass of a map: the rule of bnnr
N_PROBE = 256
Answer = tuple[float, bool | None]  # a score, higher for more reliance, and whether it is an alarm; None without limit


@dataclass(frozen=True, eq=False)
class Case:
    """A run, and what detectors may see of it."""

    run: plan.Run
    record: runs.Record
    leaves: Path | None


def ours(case: Case) -> dict[str, Answer]:
    probe = runs.probe_of(case.run, 96, case.leaves)
    given = {"lightning_cam": probe, "lightning_cam, no masks": scoring.without_masks(probe)}
    said = {name: detector(case.record.model(), each) for name, each in given.items()}
    return {name: (one.score, one.outcome in ALARMS) for name, one in said.items()}


def maps(case: Case) -> dict[str, Answer]:
    """Rules on Grad-CAM maps."""
    report, masks = examine(case.record.model(), case.record.probe, trials=()), case.record.probe.masks
    assert masks is not None
    overlap = float(baselines.attention_iou(report.maps, masks.float()).nanmean())
    at_border = float(border_share(report.maps).nanmean())
    return {"Attention-IoU": (1 - overlap, None), "bnnr's map rule": (at_border, at_border > TOO_MUCH)}


def border_share(found: Tensor) -> Tensor:
    """The share of each map ``(N, h, w)`` that lies in the outer `BORDER` of its sides."""
    top, left = (max(1, int(BORDER * side)) for side in found.shape[1:])
    inner = found[:, top:-top, left:-left].sum((1, 2))
    return 1 - inner / found.sum((1, 2))


def shortkit(case: Case) -> dict[str, Answer]:
    """Detectors on embeddings that are told the true cue of each picture."""
    from shortcut_detect.benchmark.method_utils import method_flag
    from shortcut_detect.unified import ShortcutDetector

    probe, model = runs.probe_of(case.run, N_PROBE, case.leaves), case.record.model()
    assert isinstance(model, torch.nn.Sequential)
    with torch.no_grad():
        embeddings = model[0](probe.prepare(probe.images)).mean((2, 3)).numpy()
    cue = scenes.cue_values(case.run, runs.PROBES[N_PROBE], leaves=case.leaves, strength=case.run.strength)
    answers = {}
    for method, score in _SHORTKIT.items():
        asked = ShortcutDetector(methods=[method])
        with contextlib.redirect_stdout(io.StringIO()):
            asked.fit(embeddings, probe.targets.numpy(), group_labels=cue)
        result = asked.results_.get(method, {})
        value = score(result) if result.get("success") else math.nan
        answers[f"ShortKit-ML, {method}"] = value, method_flag(method, result)
    votes = [flag for _, flag in answers.values()]
    return answers | {"ShortKit-ML, two agree": (float(sum(votes)), sum(votes) > 1)}


def _significant(result: Mapping[str, Any]) -> float:
    return float(max((len(found) for found in result["significant_features"].values() if found is not None), default=0))


_SHORTKIT: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "probe": lambda result: float(result["results"]["metrics"]["metric_value"]),
    "statistical": _significant,
    "bias_direction_pca": lambda result: float(result["report"].projection_gap),
    "equalized_odds": lambda result: float(np.nanmax([result["report"].tpr_gap, result["report"].fpr_gap])),
    "demographic_parity": lambda result: float(result["report"].dp_gap),
    "geometric": lambda r: float(r["summary"]["num_high_effect_pairs"] + r["summary"]["num_overlap_pairs"]),
    "hbac": lambda result: float(result["report"]["has_shortcut"]["evidence"]["linear_test_accuracy"]),
}


def cleanlab(case: Case) -> dict[str, Answer]:
    """Image properties of the training pictures from which the label can be predicted."""
    from cleanlab.datalab.internal.adapter.imagelab import handle_spurious_correlations
    from cleanvision import Imagelab
    from PIL import Image

    shown = runs.train_pictures(case.run, case.leaves)
    silent = io.StringIO()
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        files = [f"{folder}/{i:05}.png" for i in range(len(shown.targets))]
        for file, image in zip(files, shown.images.permute(0, 2, 3, 1).numpy(), strict=True):
            Image.fromarray(image).save(file)
        lab = Imagelab(filepaths=files)
        lab.find_issues({name: {} for name in _CLEANVISION}, n_jobs=1, verbose=False)
    found = handle_spurious_correlations(
        imagelab_issues=lab.issues.loc[files], labels=shown.targets.numpy(), threshold=_CLEANLAB_LIMIT
    )
    lowest = float(found["correlations_df"]["score"].min())
    return {"cleanlab": (1 - lowest, lowest < _CLEANLAB_LIMIT)}


_CLEANVISION = ("dark", "light", "low_information", "odd_aspect_ratio", "odd_size", "grayscale", "blurry")
_CLEANLAB_LIMIT = 0.3  # of its score, which is low where a property predicts the label: the default of Datalab

DETECTORS = (ours, maps, shortkit, cleanlab)


def asked(case: Case, path: Path) -> dict[str, Answer]:
    """The answers of all detectors that are installed."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for detect in DETECTORS:
        if detect.__name__ not in kept:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    kept[detect.__name__] = detect(case)
            except ImportError as error:
                print(f"{detect.__name__} is left out: {error}")
    path.write_text(json.dumps(kept))
    return {name: answer for answers in kept.values() for name, answer in answers.items()}


def lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One row for each detector."""
    relying, weak, clean = table.by_truth(results)
    yield f"{len(relying)} rely on their cue, {len(weak)} weakly, {len(clean)} are clean"
    yield f"{'':<36}{'AUROC':>7}{'weak':>7}{'found':>7}{'false':>7}{f'found at {FALSE_ALARMS:.0%} false':>21}"
    for name in dict.fromkeys(name for one in results for name in one["answers"]):
        groups = [[one["answers"][name] for one in g if name in one["answers"]] for g in (relying, weak, clean)]
        scores = [np.array([score for score, _ in group], float) for group in groups]
        found, false = ("" if any(a is None for _, a in g) else sum(a for _, a in g) for g in (groups[0], groups[2]))
        yield (
            f"{name:<36}{table.auroc(scores[0], scores[2]):>7.3f}{table.auroc(scores[1], scores[2]):>7.3f}"
            f"{found:>7}{false:>7}{at_best(scores[0], scores[2]):>21}"
        )


def at_best(positives: npt.NDArray[np.float64], negatives: npt.NDArray[np.float64]) -> int:
    """How many positives lie above the limit that lets `FALSE_ALARMS` of the negatives pass, chosen in hindsight."""
    high, low = np.nan_to_num(positives, nan=-np.inf), np.sort(np.nan_to_num(negatives, nan=-np.inf))
    return int((high > low[len(low) - 1 - int(FALSE_ALARMS * len(low))]).sum()) if len(low) else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the runs of detection.py")
    parser.add_argument("--leaves", type=Path, help="photographs of leaves, as for detection.py")
    parser.add_argument("--kept", type=Path, required=True, help="folder for answers")
    parser.add_argument("--only", default="", help="only runs whose name has this regular expression")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.kept.mkdir(parents=True, exist_ok=True)
    results = []
    for run in plan.plan(leaves=options.leaves is not None):
        path = runs.path_of(run, options.cache)
        if not path.exists() or not re.search(options.only, run.name) or run.control in ("legitimate", "noise"):
            continue
        case = Case(run, runs.load(path), options.leaves)
        truth = scoring.truth_of(case.record, options.cache, options.leaves)["reliance"]
        results.append({"truth": truth, "answers": asked(case, options.kept / f"{run.name}.json")})
        print(f"{len(results):4}  truth {truth:5.2f}  {run.name}", flush=True)
    print("\n".join(lines(results)))


if __name__ == "__main__":
    main()

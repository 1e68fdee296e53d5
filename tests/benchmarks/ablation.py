"""What each rule of trials and verdict is worth: each is switched off in turn, over the runs of `detection.py`.

    python tests/benchmarks/detection.py train --cache runs --only 's2'                    # once; see there
    python tests/benchmarks/ablation.py --cache runs --leaves leaves.npz --kept ablation   # seconds each
    python tests/benchmarks/ablation.py --cache runs --kept ablation --only 'cast' --rules 'cast|gain'

Answers are kept in ``--kept``, so that a run and a rule that were asked already are not asked again. Truth is that of
`detection.py`. A row shows what the package says without the rule, with the objects' masks and without any.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from lightning_cam import Probe, cams
from lightning_cam.cues import cue_named
from lightning_cam.examination import Report, report_on
from lightning_cam.examination.look import Look, look
from lightning_cam.intervention import (
    LevelSwap,
    Material,
    Reliance,
    Session,
    codec,
    edits,
    levels,
    masks,
    reliance,
    rims,
    styles,
    swaps,
    trials,
)
from lightning_cam.verdict import causes, judging
from planted import plan, runs, scoring, table
from planted.detector import ALARMS, detection

Off = Sequence[tuple[object, str, object]]  # what replaces which attribute of what, while a rule is off
Answers = dict[str, Any]
NONE = "none (as it is)"
PROBABILITY_ALONE = "decisions beside probabilities"
PASTED = ("background", "border", "corner", "position")
ON_MASKS = {*PASTED, "edge"}  # without masks, what is asked anew of these would be answered alike
_WIDTHS = (7, 7, 7, 6, 7, 6, 6, 8)  # of the table's columns

effects = import_module("lightning_cam.intervention.effects")  # a function of the package has the same name


def _unshared(outside: Tensor, inside: Tensor, targets: Tensor) -> Tensor:
    """Steps of the objects, whatever their surroundings do."""
    typical = levels.of_classes(inside, targets)[:, 0]
    return typical - typical[targets][:, None]


def _ungated(of: object) -> object:
    """`LevelSwap.is_off_object` that is always true of one kind of levels."""
    before = LevelSwap.is_off_object
    return lambda swap, *given: swap.levels_of is of or before(swap, *given)


def _in_probability(cue: str, values: Tensor, targets: Tensor, classes: Sequence[str]) -> Reliance:
    return reliance._in_probability(cue, values if values.ndim == 1 else values[:, 0], targets, classes)


def _shared_convict(report: Report, limits: Mapping[str, str]) -> dict[str, str]:
    """`judging._most` where objects may have a part in what convicts."""
    has_masks = report.probe is not None and report.probe.masks is not None
    return {
        trial.cue: "FAIL" if has_masks and cue_named(trial.cue).owner == "shared" else trial.at_most
        for trial in report.trials
    }


RULES: Mapping[str, tuple[tuple[str, ...], Off]] = {
    NONE: ((), ()),
    "donors that carry their class's cue count": ((), [(swaps, "of_typical", lambda given, *_: effects.of_all(given))]),
    "all donors count where these are not sure": (
        (),
        [(effects, "_ALL_UP_TO", -99.0), (effects, "_TYPICAL_FROM", -98.0)],
    ),
    "a part no more than the whole": ((), [(trials, "_capped", lambda effect, whole: effect)]),
    "masks widened": ((*PASTED, "cast", "frequency"), [(masks, "_WIDENING", 0.0)]),  # a pixel is left
    "soft seam": (PASTED, [(masks, "_SEAM", 0.05)]),
    "old background taken out of the rim": (
        PASTED,
        [(edits, "_opacity", lambda _, known, behind: masks.softened(known))],
    ),
    "casts: asked where pictures vary as wholes": (("cast",), [(levels, "cast_is_sure", lambda *_: True)]),
    "casts: a largest gain": (("cast",), [(levels, "_MOST_CAST", 9.0)]),
    "contrast: shared steps": (("contrast",), [(levels, "shared_steps", _unshared)]),
    "contrast: a largest gain": (("contrast",), [(levels, "_MOST_CONTRAST", 9.0)]),
    "contrast: a largest shift": (("contrast",), [(levels, "_MOST_SHIFT", 9.0)]),
    "classes must surely differ in a level": (
        ("cast", "contrast", "resolution"),
        [(levels, "of_classes", lambda *given: levels._medians(*given))],
    ),
    "sharpness: backgrounds must differ": ((), [(LevelSwap, "is_off_object", _ungated(levels.resolution_levels))]),
    "codec: depth of the dip": (("codec",), [(codec, "_DIP", -0.3)]),
    "codec: gaps made whole": (("codec", "patch"), [(swaps.statistics, "differ", lambda *_: False)]),
    "codec: a few qualities": (("codec",), [(levels, "_MOST_QUALITIES", 99)]),
    "patch: must lie off objects": ((), [(LevelSwap, "is_off_object", _ungated(trials.patch_levels))]),
    "style: backgrounds must differ": ((), [(LevelSwap, "is_off_object", _ungated(styles.style_levels))]),
    "style: noise on objects as well": (("style",), [(styles, "_ALSO_ON_OBJECTS", -1.0)]),
    "style: saturation surely differs on both": (("style",), [(styles, "_sure_steps", levels.shared_steps)]),
    "edge: least difference of rims": (("edge",), [(rims, "_LEAST", 0.0)]),
    PROBABILITY_ALONE: ((), [(reliance, "MARGIN", reliance.MARGIN)]),  # see `_weighed_once`
    "single classes": ((), [(reliance.single, "hanging", lambda *_: {})]),
    "control edit": ((), [(Reliance, "is_apart", False)]),
    "WARN at a mean above the margin": ((), [(Reliance, "may_be_none", True)]),
    "findings that are one cause": ((), [(causes, "_explains", lambda *_: False)]),
    "shared cues warn at most": ((), [(judging, "_most", _shared_convict)]),
}
"""By its name in the table: of which cues the model is asked anew without the rule, and what is switched off."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the runs of detection.py")
    parser.add_argument("--leaves", type=Path, help="photographs of leaves, as for detection.py")
    parser.add_argument("--kept", type=Path, required=True, help="folder for answers, which are not asked twice")
    parser.add_argument("--only", default="", help="only runs whose name has this regular expression")
    parser.add_argument("--rules", default="", help="only rules whose name has this regular expression")
    parser.add_argument("--probe", type=int, choices=tuple(runs.PROBES), default=96, help="how many images to look at")
    parser.add_argument(
        "--agree", type=float, help="how often cues agree with labels in the probe; else as in training"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.kept.mkdir(parents=True, exist_ok=True)
    rules = [rule for rule in RULES if rule == NONE or re.search(options.rules, rule)]
    every = [*plan.plan(leaves=options.leaves is not None), *plan.unlisted()]
    planned = [run for run in every if re.search(options.only, run.name)]
    existing = [run for run in planned if runs.path_of(run, options.cache).exists()]
    asked = []
    for i, run in enumerate(existing, start=1):
        started = time.perf_counter()
        asked.append(answers(run, rules, options))
        print(f"{i:4}/{len(existing)}  {time.perf_counter() - started:6.1f} s  {run.name}", flush=True)
    print("\n".join(lines(asked, rules)))


def answers(run: plan.Run, rules: Sequence[str], options: argparse.Namespace) -> dict[str, Answers]:
    """By rule, what is said without it."""
    shown = run if options.agree is None else replace(run, strength=options.agree)
    path = options.kept / f"{run.name}-{options.probe}-{shown.strength:.2f}.json"
    kept: dict[str, Answers] = json.loads(path.read_text()) if path.exists() else {}
    missing = [rule for rule in rules if rule not in kept]
    if missing:
        record = runs.load(runs.path_of(run, options.cache))
        probe, model = runs.probe_of(shown, options.probe, options.leaves), record.model()
        probes = dict(zip(scoring.GIVEN, (probe, scoring.without_masks(probe)), strict=True))
        truth = scoring.truth_of(record, options.cache, options.leaves)["reliance"]
        looks = {given: _look(model, each, trials.STANDARD) for given, each in probes.items()}
        weighed: dict[tuple[str, str, bytes], Reliance] = {}
        for rule in missing:
            with _weighed_once(rule, weighed):
                said = {given: _without(rule, model, each, looks[given]) for given, each in probes.items()}
            named = {given: answer["cue"] in run.cue.names for given, answer in said.items()}
            kept[rule] = {"run": asdict(run), "truth": truth, "named_right": named, **said}
        path.write_text(json.dumps(kept))
    return {rule: kept[rule] for rule in rules}


def _without(rule: str, model: nn.Module, probe: Probe, seen: Look) -> Answers:
    """What is said without the rule. The model is asked anew only of the cues that the rule is about."""
    asked, off = RULES[rule]
    with ExitStack() as stack:
        for target, attribute, instead in off:
            stack.enter_context(mock.patch.object(target, attribute, instead))
        if asked and (probe.masks is not None or not ON_MASKS.issuperset(asked)):
            seen = replace(seen, answers={**seen.answers, **_anew(model, probe, seen, asked)})
        verdict = judging.judge(report_on(seen, probe))
    return asdict(detection(verdict))


def _anew(model: nn.Module, probe: Probe, seen: Look, cues: Sequence[str]) -> Mapping[str, Tensor]:
    """The model's answers to some trials; of fresh images, since what was read off others is remembered."""

    @torch.no_grad()
    def probabilities(pixels: Tensor) -> Tensor:
        return torch.cat([model(probe.prepare(batch)).softmax(1) for batch in pixels.split(32)])

    assert seen.donors is not None
    material = Material(probe.images.clone(), probe.targets, probe.masks, seen.donors)
    session = Session(material, torch.arange(len(probe)), seen.logits.softmax(1), probabilities)
    return trials.answers(trials.chosen_trials(cues), session)


@contextmanager
def _weighed_once(rule: str, weighed: dict[tuple[str, str, bytes], Reliance]) -> Iterator[None]:
    """Remembers reliances by their effects, which most rules leave as they are: intervals take time."""
    before = reliance._weigh
    about = rule if any(target in (reliance, reliance.single) for target, *_ in RULES[rule][1]) else ""

    def weigh(cue: str, values: Tensor, targets: Tensor, classes: Sequence[str]) -> Reliance:
        key = about, cue, values.numpy().tobytes()
        if key not in weighed:
            weighed[key] = (_in_probability if about == PROBABILITY_ALONE else before)(cue, values, targets, classes)
        return weighed[key]

    with mock.patch.object(reliance, "_weigh", weigh):
        yield


def _look(model: nn.Module, probe: Probe, chosen: Sequence[trials.Trial]) -> Look:
    usual = {"layer": None, "method": cams.grad_cam, "n_donors": 2, "forward": None, "batch_size": 32}
    return look(model, probe, torch.arange(len(probe)), chosen, **usual)


def lines(asked: Sequence[Mapping[str, Answers]], rules: Sequence[str]) -> Iterator[str]:
    """The table, with and without masks, and which verdicts are others than with all rules."""
    judged = [one for one in asked if one[NONE]["run"]["control"] not in ("legitimate", "noise", "untrained")]
    for given in scoring.GIVEN:
        yield ""
        heads = zip(("AUROC", "found", "named", "weak", "false", "FAIL", "PASS", "others"), _WIDTHS, strict=True)
        yield f"{given:<44}" + "".join(f"{head:>{width}}" for head, width in heads)
        for rule in rules:
            yield _row(rule, [one[rule] for one in judged], [one[NONE] for one in judged], given)
            yield from _others([(one[NONE], one[rule]) for one in asked], given)


def _row(rule: str, without: Sequence[Answers], with_it: Sequence[Answers], given: str) -> str:
    relying, weak, clean = table.by_truth(without)
    score = [np.array([one[given]["score"] for one in group]) for group in (relying, clean)]
    found, alarms = _of(relying, given, ALARMS), _of(clean, given, ALARMS)
    named = sum(one["named_right"][given] for one in relying if one[given]["outcome"] in ALARMS)
    convicted, passed = _of(clean, given, ("FAIL",)), _of(clean, given, ("PASS",))
    others = sum(one[given]["outcome"] != other[given]["outcome"] for one, other in zip(without, with_it, strict=True))
    return (
        f"{rule:<44}{table.auroc(*score):>7.3f}{found:>7}{named:>7}{_of(weak, given, ALARMS):>6}"
        f"{alarms:>7}{convicted:>6}{passed:>6}{others:>8}"
    )


def _of(group: Sequence[Answers], given: str, outcomes: Sequence[str]) -> int:
    return sum(one[given]["outcome"] in outcomes for one in group)


def _others(pairs: Sequence[tuple[Answers, Answers]], given: str) -> Iterator[str]:
    """Runs with another verdict or another cue than with all rules."""
    for before, after in pairs:
        one, other = (f"{each[given]['outcome']} {each[given]['cue'] or ''}".strip() for each in (before, after))
        if one != other:
            run = plan.Run(**before["run"])
            yield f"    {run.name:<52} truth {before['truth']:5.2f}  {one} -> {other}"


if __name__ == "__main__":
    main()

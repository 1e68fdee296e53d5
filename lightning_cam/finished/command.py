"""``lightning-cam examine``: options to a model and a probe, what was measured to words and files."""

import argparse
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import compress
from pathlib import Path

from ..attribution.outputs import predicted_classes
from ..datasets.normalization import Normalize
from ..examination import Evidence, Reading, Report, collect_evidence, examine, what_is_left
from ..intervention import chosen_trials
from ..notices import told_to
from ..origins import is_ours, raised
from ..probe import GUESS, Probe
from ..probe.drawn import Preprocess
from ..probe.storage import is_saved
from ..sinks.album import Album
from ..sinks.folder import FolderSink
from ..sinks.page import Run
from ..sinks.wording import lines
from ..text import printable, shortened, typed
from ..training.keeping import MAX_EVIDENCE
from ..training.remarks import warn_of_copies
from ..verdict import Outcome, Verdict, judge, limits, located, with_remedies_tried, withheld
from .again import N_IMAGES, commands
from .earlier import verdict_of, with_lost_findings
from .kept import place_of_pictures
from .loading import function_named, importing_from, load_model
from .wording import as_options

N_SHOWN = 16  # images that get a picture, as in a training
PREFIX = "cam"
SECONDS_TO_DRAW = 120.0
_NAME = "package.module:Name"

Say = Callable[[str], None]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    _add_model(parser)
    _add_pictures(parser)
    parser.add_argument("--expect", nargs="+", default=[], metavar="CUE", help="cues that the model may rely on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep pictures, numbers and the verdict in this folder")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a file of Lightning, or of torch.save")
    parser.add_argument(
        "--model",
        required=True,
        metavar=_NAME,
        help="a LightningModule, or a class or function that builds the module without arguments; modules in the "
        "current folder are found. The file is imported: keep trainer.fit under if __name__ == '__main__'",
    )
    parser.add_argument("--forward", metavar=_NAME, help="a function: (model, inputs) to class scores")
    parser.add_argument(
        "--layer",
        metavar="NAME",
        action="append",
        help="the layer to look at (default: the last one with a map); again for others, whose maps are fused",
    )
    parser.add_argument(
        "--unpickle",
        action="store_true",
        help="load Python objects from the checkpoint, which can run any code: only for files that you trust",
    )


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        metavar="DIR",
        help="pictures that the model was not trained on, in one folder for each class; or a saved probe; or the "
        "folder of a run whose masks need a look",
    )
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="PATH",
        help="pictures of the same names, white on the object; or annotations: COCO, LabelMe, VOC or YOLO; or the "
        "masks.json that the page of lightning-cam masks saves. With a saved probe, or that of a run, only masks.json",
    )
    add_attributes(parser)
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="resize the pictures, as your training")
    parser.add_argument("--mean", type=float, nargs="+", metavar="M", help="of the training's Normalize, with --std")
    parser.add_argument("--std", type=float, nargs="+", metavar="S", help="of the training's Normalize, with --mean")
    parser.add_argument(
        "--preprocess", metavar=_NAME, help="a function: pixels (N, C, H, W) from 0 to 1 to model input"
    )
    parser.add_argument(
        "--n", type=int, default=N_IMAGES, metavar="N", help="pictures to look at (default: %(default)s)"
    )


def add_attributes(parser: argparse.ArgumentParser) -> None:
    """An option that audit and examination share."""
    parser.add_argument(
        "--attributes",
        type=Path,
        metavar="FILE",
        help="a .csv file with a column of file names; each other column, such as the site, may give the class away",
    )


def run(options: argparse.Namespace, say: Say) -> tuple[list[str], Outcome]:
    """Examines a finished model. Returns the lines that say the result, and the outcome.

    Args:
        options: As `add_options` has them.
        say: Gets remarks while it runs.

    Raises:
        ValueError: No verdict could be made; the message is a sentence for the user.
        OSError: A file cannot be read.
    """
    with importing_from(Path.cwd()), told_to(say), _in_options():
        limits(chosen_trials(None), options.expect, ())  # before minutes have passed
        preprocess = _preprocess(options)
        forward = function_named(options.forward, "--forward") if options.forward else None
        build = function_named(options.model, "--model")
        model, step, epoch = load_model(options.checkpoint, build, unpickle=options.unpickle)
        probe = _probe(options, preprocess)
        say(f"looking at {len(probe)} pictures of {len(probe.classes)} classes")
        with _explained():
            report = examine(model, probe, layer=options.layer, forward=forward, random_weights=bool(options.out))
            left = partial(what_is_left, model, probe, report, forward=forward)
            verdict = located(with_remedies_tried(_verdict(report, options), left), options.data)
            cues = [finding.cue for finding in verdict.findings if finding.cue in report.effects]
            shown = cues[:MAX_EVIDENCE] if options.out else []
            evidence = [collect_evidence(model, probe, report, cue, forward=forward) for cue in shown]
        kept = []
        if options.out:
            scalars = {**report.scalars, "shortcut_score": verdict.score}
            reading = Reading(step, epoch, {f"{PREFIX}/{key}": value for key, value in scalars.items()})
            kept = _keep(options.out, probe, report, reading, verdict, evidence, say)
    return [*lines(verdict), *_remarks(options, probe, report), *kept], verdict.outcome


def _preprocess(options: argparse.Namespace) -> Preprocess | None:
    if (options.mean is None) != (options.std is None):
        raise ValueError("--mean and --std belong together; pass both, or neither")
    if options.mean is None:
        return function_named(options.preprocess, "--preprocess") if options.preprocess else None
    if options.preprocess:
        raise ValueError("--preprocess replaces --mean and --std; pass one or the other")
    if len(options.mean) != len(options.std) or len(options.mean) not in (1, 3) or not all(options.std):
        raise ValueError("--mean and --std need one number each, or three for the colours; no std may be 0")
    return Normalize(tuple(options.mean), tuple(options.std))


def _probe(options: argparse.Namespace, preprocess: Preprocess | None) -> Probe:
    place = place_of_pictures(options.data)
    if is_saved(place):
        if options.size:
            raise ValueError("--size cannot change the pictures of a saved probe; leave it out")
        if options.attributes:
            raise ValueError("a saved probe has its attributes, and not its files; leave --attributes out")
        if options.masks and (options.masks.is_dir() or options.masks.suffix != ".json"):
            raise ValueError(_only_reviewed(options))
        probe = Probe.load(place, preprocess=preprocess)
        return probe.with_reviewed(options.masks) if options.masks else probe
    size = tuple(options.size) if options.size else None
    known = {"masks": options.masks, "attributes": options.attributes}
    probe = Probe.from_folder(options.data, options.n, size=size, preprocess=preprocess, **known)
    warn_of_copies(probe)
    return probe


def _only_reviewed(options: argparse.Namespace) -> str:
    return (
        f"'{options.data}' keeps pictures without their files, so --masks takes the masks.json of their page alone, "
        f"got '{options.masks}'; lightning-cam masks {typed(options.data)} writes that page; or pass --data with the "
        "folder of pictures, and --masks with that of masks"
    )


def _verdict(report: Report, options: argparse.Namespace) -> Verdict:
    """As the callback judges: a model that may be one of other classes gets none."""
    verdict = judge(report, options.expect)
    remark = report.head.remark if report.head and not report.learned and not report.has_one_class else ""
    verdict = withheld(verdict, remark) if remark else verdict
    why_untested = {cue: as_options(why) for cue, why in verdict.why_untested.items()}
    verdict = replace(verdict, reason=as_options(verdict.reason), why_untested=why_untested)
    earlier = verdict_of(options.data) if options.masks and place_of_pictures(options.data) != options.data else None
    return with_lost_findings(verdict, earlier) if earlier else verdict


def _keep(
    out: Path,
    probe: Probe,
    report: Report,
    reading: Reading,
    verdict: Verdict,
    evidence: Sequence[Evidence],
    say: Say,
) -> list[str]:
    """Writes what a training leaves in its folder."""
    album = Album(probe, PREFIX, [FolderSink(out)], N_SHOWN, run=Run(uuid.uuid4().hex, is_fit=False))
    album.add(report, reading, verdict, alert=False)
    stay = report.untrusted.get(report.method)
    untrusted = None if stay is None else tuple(compress(probe.names, stay.tolist()))
    album.finish([reading], verdict, evidence, alert=False, untrusted=untrusted)
    losses = album.close(SECONDS_TO_DRAW)
    for loss in losses:
        say(loss)
    return [] if losses else [f"kept in {out}"]


def _remarks(options: argparse.Namespace, probe: Probe, report: Report) -> list[str]:
    """What was looked at, and how: a verdict is worth no more than that."""
    right = int((predicted_classes(report.logits) == report.targets).sum())
    remarks = [f"right on {right} of {len(probe)} pictures; looked at layer {report.layer!r} of {options.model}"]
    if probe.preprocess is None:
        remarks.append(
            "the model got the pixels as they are, from 0 to 1; if your training normalizes, pass --mean and --std, or "
            "--preprocess"
        )
    if options.size is None and not is_saved(place_of_pictures(options.data)):
        height, width = report.size
        remarks.append(f"the pictures have {height}x{width} pixels; if your training resizes them, pass --size H W")
    if probe.masks is None:
        remarks.append("no masks of the objects: pass --masks DIR, or --expect background if the model may use it")
    remarks += _ways_to_masks(options, probe)
    return [printable(f"  {remark}") for remark in remarks]


def _ways_to_masks(options: argparse.Namespace, probe: Probe) -> list[str]:
    """What to type where masks are guessed, missing or in doubt."""
    n = probe.mask_sources.count(GUESS)
    if not n and probe.masks is not None and not probe.mask_doubts:
        return []
    guessed = f"{n} of {len(probe)} masks were guessed; to correct them" * bool(n)
    what = guessed or ("to draw boxes around the objects" if probe.masks is None else "to look at the masks")
    return [f"{what}, and judge again:", *(f"  {command}" for command in commands(options))]


@contextmanager
def _in_options() -> Iterator[None]:
    """What a function of ours says of its arguments is said of options."""
    try:
        yield
    except ValueError as error:
        raise ValueError(as_options(str(error))) from error


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever the user's model raises is one sentence."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and is_ours(error):
            raise
        raise ValueError(_failed(error)) from error


def _failed(error: Exception) -> str:
    return (
        f"the model could not be looked at: {shortened(raised(error))}; check --size, --mean and --std, or pass "
        "--preprocess or --forward"
    )

"""The command line: ``lightning-cam`` and ``python -m lightning_cam``."""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from . import __version__
from .finished import command as finished
from .finished import masking
from .sinks.consistency import ContradictoryError
from .sinks.reading_back import CONTRADICTION, EXIT_CODES, Kept, Unjudged, newest, report_lines, verdict_lines
from .text import printable

UNUSABLE = 2  # exit code for arguments that lead to nothing; argparse uses the same

if TYPE_CHECKING:
    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # takes no type at run time


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    Args:
        arguments: Without the program's name; None takes the command line's.
    """
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not words:
        parser.print_help(sys.stderr)
        return UNUSABLE
    options = parser.parse_args(words)
    code: int = options.run(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightning-cam", description="See where a model looks while it trains.")
    parser.add_argument("--version", action="version", version=f"lightning-cam {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_audit(commands)
    _add_masks(commands)
    _add_examine(commands)
    _add_check(commands)
    _add_report(commands)
    _add_compare(commands)
    return parser


def _add_demo(commands: "_Commands") -> None:
    about = "draw two families of creatures, train on them twice in 90 seconds, and see what the models look at"
    demo = _command(commands, "demo", about)
    _add_places(demo)
    demo.add_argument(
        "--clean",
        action="store_true",
        help="give both families the same backgrounds and file format, so that there is no shortcut to find",
    )
    _add_number(demo, "--seed", "another number draws other creatures and starts from other weights", 0, default=0)
    _add_number(demo, "--epochs", "how often each training goes through the pictures", 1, default=10)
    demo.set_defaults(run=_demo)


def _add_places(demo: argparse.ArgumentParser) -> None:
    """Options for where the demo writes to."""
    demo.add_argument(
        "--logger",
        choices=["tensorboard", "wandb"],
        default="tensorboard",
        help="where the pictures are shown; wandb runs offline (default: %(default)s)",
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("lightning_cam_demo"),
        metavar="DIR",
        help="folder that pictures and runs are written to (default: %(default)s)",
    )


def _add_audit(commands: "_Commands") -> None:
    about = "test, before any training, whether files and backgrounds alone give the class away"
    codes = "Exit code: 0 if a network can see none of the findings, 1 if it can, 2 if the audit could not be made."
    audit = _command(commands, "audit", about, codes)
    audit.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with one folder per class, or a .csv file with the columns path and label",
    )
    audit.add_argument(
        "--attribute",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column of the .csv file, such as the site, whose values may give the class away; may be repeated",
    )
    finished.add_attributes(audit)
    audit.add_argument("--json", action="store_true", help="print all facts and findings as JSON instead of a table")
    audit.add_argument(
        "--out",
        type=Path,
        default=Path("lightning_cam_audit"),
        metavar="DIR",
        help="where pictures of repeated patches go, if there are any; what is there is kept (default: %(default)s)",
    )
    _add_number(audit, "--per-class", "how many pictures of each class are read at most", 1, default=2000)
    _add_number(audit, "--workers", "how many threads read files (default: one per processor, at most 8)", 1)
    _add_number(audit, "--seed", "another number chooses other pictures and other random splits", 0, default=0)
    audit.set_defaults(run=_audit)


def _add_masks(commands: "_Commands") -> None:
    about = "look at masks of the objects and correct them on a page, or draw them with a function of yours"
    command = _command(commands, "masks", about, "Exit code: 0, or 2 if there are no masks.")
    masking.add_options(command)
    command.set_defaults(run=_masks)


def _add_examine(commands: "_Commands") -> None:
    about = "test a finished model, from its checkpoint and a folder of pictures"
    codes = "Exit code: 0 PASS, 1 FAIL, 3 WARN, 4 INCONCLUSIVE, 2 if no verdict could be made."
    command = _command(commands, "examine", about, codes)
    finished.add_options(command)
    command.set_defaults(run=_examine)


def _add_check(commands: "_Commands") -> None:
    about = "print the verdict on a trained model and return it as the exit code, for scripts and CI"
    codes = (
        "Exit code: 0 PASS, 1 FAIL, 3 WARN, 4 INCONCLUSIVE, or the last fit did not end or has no verdict, 2 if there "
        "is no run, or a verdict that cannot be read, 5 if it contradicts itself."
    )
    check = _command(commands, "check", about, codes)
    check.add_argument("folder", type=Path, metavar="RUN_DIR", help=_RUN_DIR)
    check.add_argument("--warn-ok", action="store_true", help="return exit code 0 for WARN as well as for PASS")
    check.set_defaults(run=_check)


def _add_report(commands: "_Commands") -> None:
    about = "print the verdict of a training, its scalars at the first and last check, and where its pictures are"
    report = _command(commands, "report", about, "Exit code: 0, 2 if there is no run, or 5 if it contradicts itself.")
    report.add_argument("folder", type=Path, metavar="RUN_DIR", help=_RUN_DIR)
    report.set_defaults(run=_report)


def _add_compare(commands: "_Commands") -> None:
    about = "say whether a remedy helped: runs beside the first one, cue by cue, with intervals of the differences"
    codes = "Exit code: 0, 2 if a run has no verdict that can be read, 5 if a verdict contradicts itself."
    compare = _command(commands, "compare", about, codes)
    compare.add_argument("baseline", type=Path, metavar="RUN_DIR", help=_RUN_DIR)
    compare.add_argument("others", type=Path, nargs="+", metavar="RUN_DIR", help="the same of the runs to compare")
    compare.add_argument("--out", type=Path, metavar="FILE", help="write it as one page as well, such as compare.html")
    compare.set_defaults(run=_compare)


def _command(commands: "_Commands", name: str, about: str, codes: str | None = None) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=codes)


def _add_number(
    parser: argparse.ArgumentParser, flag: str, about: str, lowest: int, *, default: int | None = None
) -> None:
    """An option that takes a whole number from ``lowest`` on."""
    words = about if default is None else f"{about} (default: {default})"
    parser.add_argument(flag, type=_at_least(lowest), default=default, metavar="N", help=words)


_RUN_DIR = "the folder of a run, or one above it such as lightning_logs; the newest run in it is used"


def _at_least(lowest: int) -> Callable[[str], int]:
    """Reads a whole number that is not below ``lowest``."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"a whole number from {lowest} was expected, got {text!r}")
        return int(text)

    return read


def _demo(options: argparse.Namespace) -> int:
    if options.logger == "wandb" and importlib.util.find_spec("wandb") is None:
        print(
            "wandb is not installed. Install it with pip install 'lightning-cam[wandb]', or leave --logger out.",
            file=sys.stderr,
        )
        return UNUSABLE
    from .demo import story

    story.tell(options.out, logger=options.logger, clean=options.clean, seed=options.seed, epochs=options.epochs)
    return 0


def _audit(options: argparse.Namespace) -> int:
    from tqdm import tqdm  # type: ignore[import-untyped] # ships no types; comes with Lightning

    from .audit import audit_dataset

    try:
        with tqdm(unit=" pictures", leave=False, disable=not sys.stderr.isatty()) as bar:

            def show(n_done: int, n: int) -> None:
                bar.total = n
                bar.update(n_done - bar.n)

            limits = {"per_class": options.per_class, "seed": options.seed, "workers": options.workers}
            known = {name: name for name in options.attribute} or options.attributes
            result = audit_dataset(options.source, **limits, progress=show, attributes=known)
    except (ValueError, OSError) as error:
        print(f"lightning-cam audit: {printable(error)}", file=sys.stderr)
        return UNUSABLE
    _print(json.dumps(result.as_json(), indent=2) if options.json else result.as_table())
    try:
        files = [patch.save(options.out) for patch in result.patches]
    except OSError as error:  # the findings are there all the same
        print(f"lightning-cam audit: pictures of patches cannot be written: {printable(error)}", file=sys.stderr)
        files = []
    if files and not options.json:
        _print("\n".join(["\npictures of repeated patches:", *(f"  {printable(file)}" for file in files)]))
    return result.exit_code


def _masks(options: argparse.Namespace) -> int:
    try:
        _print("\n".join(masking.run(options)))
    except (ValueError, OSError) as error:
        return _refused("masks", error)
    return 0


def _examine(options: argparse.Namespace) -> int:
    def say(text: str) -> None:
        print(f"lightning-cam examine: {printable(text)}", file=sys.stderr)

    try:
        result, outcome = finished.run(options, say)
    except (ValueError, OSError) as error:
        say(str(error))
        return UNUSABLE
    _print("\n".join(result))
    return EXIT_CODES[outcome]


def _check(options: argparse.Namespace) -> int:
    kept = _read_back("check", options.folder, verdict_lines)
    if isinstance(kept, int):
        return kept
    return 0 if options.warn_ok and kept.outcome == "WARN" else EXIT_CODES[kept.outcome]


def _report(options: argparse.Namespace) -> int:
    kept = _read_back("report", options.folder, report_lines)
    return kept if isinstance(kept, int) else 0


def _compare(options: argparse.Namespace) -> int:
    from .comparing import compare

    try:
        comparison = compare(options.baseline, *options.others)
        if options.out is not None:
            comparison.to_html(options.out)
    except (ValueError, OSError) as error:
        return _refused("compare", error)
    _print(str(comparison))
    return 0


def _read_back(command: str, folder: Path, describe: Callable[[Kept | Unjudged], list[str]]) -> Kept | Unjudged | int:
    """Prints the verdict of the newest run as ``describe`` puts it. Else prints an error; returns the exit code."""
    try:
        kept = newest(folder)
        text = "\n".join(describe(kept))
    except (ValueError, OSError) as error:
        return _refused(command, error)
    _print(text)
    return kept


def _refused(command: str, error: Exception) -> int:
    """Prints why nothing could be read back; returns the exit code."""
    print(f"lightning-cam {command}: {printable(error)}", file=sys.stderr)
    return CONTRADICTION if isinstance(error, ContradictoryError) else UNUSABLE


def _print(text: str) -> None:
    """Prints what can be printed: an encoding error, or a reader such as ``head`` that has gone, would exit with 1."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends

"""The command line: ``lightning-cam`` and ``python -m lightning_cam``."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__
from .sinks.reading_back import EXIT_CODES, Kept, newest, report_lines, verdict_lines
from .text import printable

NOTHING_TO_READ = 2  # exit code, as argparse has it for arguments that are missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    Args:
        arguments: Without the program's name; None takes the command line's.
    """
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not given:
        parser.print_help(sys.stderr)
        return NOTHING_TO_READ
    chosen = parser.parse_args(given)
    code: int = chosen.run(chosen)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightning-cam", description="See where a model looks while it trains.")
    parser.add_argument("--version", action="version", version=f"lightning-cam {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_audit(commands)
    _add_check(commands)
    _add_report(commands)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "draw two families of creatures, train on them for a minute or two, and see what the model looks at"
    demo = commands.add_parser("demo", help=about, description=f"{about[0].upper()}{about[1:]}.")
    demo.add_argument(
        "--logger", choices=["tensorboard", "wandb"], default="tensorboard", help="(default: %(default)s)"
    )
    demo.add_argument("--clean", action="store_true", help="give both families the same backgrounds and file format")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("lightning_cam_demo"),
        metavar="DIR",
        help="for pictures and runs (default: %(default)s)",
    )
    demo.add_argument(
        "--seed", type=_at_least(0), default=0, metavar="N", help="for other creatures and weights (default: 0)"
    )
    demo.add_argument("--epochs", type=_at_least(1), default=12, metavar="N", help="of each training (default: 12)")
    demo.set_defaults(run=_demo)


def _add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "look before training for ways to predict the class from files and backgrounds"
    codes = "Exit code: 0 without findings that a network could see, 1 with findings, 2 if no audit could be made."
    audit = commands.add_parser("audit", help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=codes)
    audit.add_argument("source", metavar="SOURCE", help="folder of class folders, or .csv with columns path and label")
    audit.add_argument("--json", action="store_true", help="print everything as JSON")
    audit.add_argument(
        "--per-class", type=_at_least(1), default=2000, metavar="N", help="pictures of a class to read at most (2000)"
    )
    audit.add_argument("--workers", type=_at_least(1), metavar="N", help="threads (one per processor, at most 8)")
    audit.add_argument("--seed", type=_at_least(0), default=0, metavar="N", help="another choice of pictures (0)")
    audit.set_defaults(run=_audit)


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "print the verdict on a trained model and return it as exit code, for scripts and CI"
    codes = "Exit code: 0 PASS, 1 FAIL, 3 WARN, 4 INCONCLUSIVE, 2 without a verdict."
    check = commands.add_parser("check", help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=codes)
    check.add_argument("folder", type=Path, metavar="RUN_DIR", help=_RUN_DIR)
    check.add_argument("--warn-ok", action="store_true", help="return 0 for WARN too")
    check.set_defaults(run=_check)


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "print what a training left: the verdict, the scalars before and after, where the pictures are"
    codes = "Exit code: 0, or 2 without a verdict."
    report = commands.add_parser("report", help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=codes)
    report.add_argument("folder", type=Path, metavar="RUN_DIR", help=_RUN_DIR)
    report.set_defaults(run=_report)


_RUN_DIR = "folder of a run or any folder above it, such as lightning_logs; the newest verdict below it counts"


def _at_least(lowest: int) -> Callable[[str], int]:
    """A reader of whole numbers."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"a whole number from {lowest} was expected, got {text!r}")
        return int(text)

    return read


def _demo(chosen: argparse.Namespace) -> int:
    if chosen.logger == "wandb" and importlib.util.find_spec("wandb") is None:
        print("wandb is not installed; pip install 'lightning-cam[wandb]', or leave --logger out", file=sys.stderr)
        return 2
    from .demo import story

    story.tell(chosen.out, logger=chosen.logger, clean=chosen.clean, seed=chosen.seed, epochs=chosen.epochs)
    return 0


def _audit(chosen: argparse.Namespace) -> int:
    from tqdm import tqdm  # type: ignore[import-untyped] # ships no types; comes with Lightning

    from .audit import audit_dataset

    try:
        with tqdm(unit=" pictures", leave=False, disable=not sys.stderr.isatty()) as bar:

            def show(n_done: int, n: int) -> None:
                bar.total = n
                bar.update(n_done - bar.n)

            options = {"per_class": chosen.per_class, "seed": chosen.seed, "workers": chosen.workers}
            result = audit_dataset(chosen.source, **options, progress=show)
    except (ValueError, OSError) as error:
        print(f"lightning-cam audit: {printable(error)}", file=sys.stderr)
        return 2
    print(json.dumps(result.as_json(), indent=2) if chosen.json else result.as_table())
    return result.exit_code


def _check(chosen: argparse.Namespace) -> int:
    kept = _read_back("check", chosen.folder, verdict_lines)
    if kept is None:
        return NOTHING_TO_READ
    return 0 if chosen.warn_ok and kept.verdict.outcome == "WARN" else EXIT_CODES[kept.verdict.outcome]


def _report(chosen: argparse.Namespace) -> int:
    return NOTHING_TO_READ if _read_back("report", chosen.folder, report_lines) is None else 0


def _read_back(command: str, folder: Path, told: Callable[[Kept], list[str]]) -> Kept | None:
    """Prints what is ``told`` of the newest verdict; where there is none, one line to standard error."""
    try:
        kept = newest(folder)
        text = "\n".join(told(kept))
    except (ValueError, OSError) as error:
        print(f"lightning-cam {command}: {printable(error)}", file=sys.stderr)
        return None
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))  # a traceback's exit code would read as FAIL
    return kept

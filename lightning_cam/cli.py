"""The command line: ``lightning-cam`` and ``python -m lightning_cam``."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    Args:
        arguments: Without the program's name; None takes the command line's.
    """
    chosen = _parser().parse_args(arguments)
    code: int = chosen.run(chosen)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightning-cam", description="See where a model looks while it trains.")
    parser.add_argument("--version", action="version", version=f"lightning-cam {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "draw two families of creatures, train on them for half a minute and see what the model looks at"
    demo = commands.add_parser("demo", help=about, description=f"{about[0].upper()}{about[1:]}.")
    demo.add_argument("--logger", choices=["tensorboard", "wandb"], default="tensorboard", help="(tensorboard)")
    demo.add_argument("--clean", action="store_true", help="give both families the same backgrounds and file format")
    demo.add_argument(
        "--out", type=Path, default=Path("lightning_cam_demo"), metavar="DIR", help="(lightning_cam_demo)"
    )
    demo.add_argument("--seed", type=_at_least(0), default=0, metavar="N", help="other creatures, other weights (0)")
    demo.add_argument("--epochs", type=_at_least(1), default=8, metavar="N", help="(8)")
    demo.set_defaults(run=_demo)


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
    from .demo import story  # what other commands need not wait for

    story.tell(chosen.out, logger=chosen.logger, clean=chosen.clean, seed=chosen.seed, epochs=chosen.epochs)
    return 0

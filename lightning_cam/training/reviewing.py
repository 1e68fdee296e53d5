"""The way to masks that somebody looked at, and to a verdict: the commands for the run that has just ended."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cues import BACKGROUND
from ..datasets.normalization import as_written
from ..intervention.masks import has_enough_masks
from ..probe import GUESS, Probe
from ..text import printable
from ..verdict import PASS
from .options import Options

HOW = "  to look at the masks, correct or draw them, and judge again without training:"
# Bytes that a run's folder may take for its probe: 400 pictures of 224 pixels a side. The callback draws half at most.
MOST_BYTES = 64_000_000
_FUNCTION, _CLASS = "package.module:function", "package.module:Net"


def is_reviewable(probe: Probe, limits: Mapping[str, str]) -> bool:
    """Whether a person should look at the masks or draw them, and the pictures are few enough to be kept for that."""
    has_masks = probe.masks is not None and has_enough_masks(probe.masks)
    is_open = (
        GUESS in probe.mask_sources or bool(probe.mask_doubts) or not (has_masks or limits.get(BACKGROUND.name) == PASS)
    )
    return is_open and probe.images.ndim == 4 and probe.images.numel() <= MOST_BYTES


def commands(folder: Path, probe: Probe, options: Options, trainer: Any, module: Any) -> list[str]:
    """To be pasted into a shell, in this order. What has no name that can be imported is left to the user."""
    checkpoint = getattr(trainer.checkpoint_callback, "last_model_path", "") or getattr(
        trainer.checkpoint_callback, "best_model_path", ""
    )
    layers = [options.layer] if isinstance(options.layer, str) else options.layer or ()
    examine = [
        *("lightning-cam", "examine", checkpoint or "CHECKPOINT", "--model", _name_of(type(module))),
        *("--data", str(folder), "--masks", "masks.json"),
        *(word for layer in layers for word in ("--layer", layer)),
        *(("--preprocess", _FUNCTION) if as_written(probe.preprocess) == "callable" else ()),
        *(("--forward", _FUNCTION) if options.forward is not None else ()),
    ]
    return [f"    {printable(shlex.join(words))}" for words in (["lightning-cam", "masks", str(folder)], examine)]


def _name_of(kind: type) -> str:
    """The name by which a class can be imported from the current folder."""
    module = _of_script() if kind.__module__ == "__main__" else kind.__module__
    return f"{module}:{kind.__qualname__}" if module and kind.__qualname__.isidentifier() else _CLASS


def _of_script() -> str:
    """The module that the running script is; empty where to import it would run the training again."""
    main = sys.modules["__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:  # python -m package.module
        return str(spec.name)
    try:
        file = Path(str(main.__file__)).resolve()
        name = ".".join(file.relative_to(Path.cwd()).with_suffix("").parts)
        is_guarded = "__main__" in file.read_text(encoding="utf-8")
    except (AttributeError, ValueError, OSError):
        return ""
    return name if is_guarded and all(part.isidentifier() for part in name.split(".")) else ""

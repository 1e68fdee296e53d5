"""How far a training is, in one line that is gone when the training ends. A log of CI gets none."""

import sys
import textwrap

import pytorch_lightning as pl

CLEAR = "\r\x1b[2K"  # to the first column, and the line is empty


class Progress(pl.Callback):
    """Writes the line where a person sits at a terminal."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epochs so far."""
        _write(f"{CLEAR}   epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves an empty line."""
        _write(CLEAR)


def say(text: str) -> None:
    """Lines of their own, whatever stood there."""
    _write(CLEAR)
    print(textwrap.indent(text, "   "), flush=True)


def _write(text: str) -> None:
    if sys.stdout.isatty():
        print(text, end="", flush=True)

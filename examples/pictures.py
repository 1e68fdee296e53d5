"""The pictures of the guides: a folder with `train/` and `val/`, each with one folder for each class."""

import sys
from pathlib import Path

from lightning_cam.demo.pictures import write_pictures


def folder():
    """The folder that the command line names; else creatures are drawn once into `pictures/`."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    drawn = Path("pictures")
    if not drawn.exists():
        write_pictures(drawn, n_train=160, n_val=48)
    return drawn

"""The pictures of the guides: a folder with `train/` and `val/`, each with one folder for each class."""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lightning_cam.demo.pictures import write_pictures


def folder():
    """The folder that the command line names; else creatures are drawn once into `pictures/`."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    drawn = Path("pictures")
    if not drawn.exists():
        write_pictures(drawn, n_train=160, n_val=48)
    return drawn


def draw_waterbirds(root, sizes=((0, 600, 0.95), (1, 200, 0.5), (2, 240, 0.5)), size=64):
    """A small stand-in for Waterbirds in the form in which that is published: round and angular birds on two grounds.

    ``sizes`` has the number of each split, how many pictures it has, and how often bird and place agree.
    """
    rng, rows = np.random.default_rng(0), []
    root.mkdir(parents=True, exist_ok=True)
    for split, n, agreement in sizes:
        for i in range(n):
            bird = i % 2
            place = bird if rng.random() < agreement else 1 - bird
            name = f"{split}_{i}.png"
            _bird_on(_ground(rng, place, size), rng, bird).save(root / name)
            rows.append({"img_id": len(rows), "img_filename": name, "y": bird, "split": split, "place": place})
    with (root / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def _ground(rng, place, size):
    """Clouds, somewhat green or somewhat blue."""
    clouds = (255 * rng.uniform(0.3, 1, (5, 5))).astype(np.uint8)
    grey = np.asarray(Image.fromarray(clouds).resize((size, size), Image.Resampling.BICUBIC), float)[..., None]
    colour = 170 + rng.normal(0, 20, 3) + np.array([[-26, 26, -26], [-26, -6, 32]][place])
    return Image.fromarray((grey / 255 * colour).clip(0, 255).astype(np.uint8))


def _bird_on(ground, rng, bird):
    """A disc or a triangle of any colour, somewhere, turned at random."""
    size = ground.width
    radius, turn = size * rng.uniform(0.17, 0.27), rng.uniform(0, 2 * np.pi)
    x, y = rng.uniform(radius, size - radius, 2)
    corners = np.linspace(0, 2 * np.pi, 40 if bird == 0 else 3, endpoint=False) + turn
    outline = [(x + radius * np.cos(corner), y + radius * np.sin(corner)) for corner in corners]
    ImageDraw.Draw(ground).polygon(outline, fill=tuple(rng.integers(0, 256, 3).tolist()))
    return ground

"""Pictures of two coloured shapes side by side, and a sheet of maps: for captions, questions, and embeddings."""

import numpy as np
import torch
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 24, 48
SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue")


def scenes(n, seed):
    """Images `(n, 3, HEIGHT, WIDTH)`; shapes, colours `(n, 2)`, masks `(n, 2, HEIGHT, WIDTH)`: left, right."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    shapes = torch.stack([torch.randperm(3, generator=generator)[:2] for _ in range(n)])
    colours = torch.randint(3, (n, 2), generator=generator)
    places = torch.randint(-3, 4, (n, 2, 2), generator=generator) + torch.tensor([[12, 12], [12, 36]])
    across, down = (columns - places[..., 1, None, None]).abs(), rows - places[..., 0, None, None]
    kinds = across**2 + down**2 < 40, torch.maximum(across, down.abs()) < 6, (across < (down + 7) / 2) & (down < 7)
    masks = torch.stack(kinds, 2)[torch.arange(n)[:, None], torch.arange(2), shapes]
    images = 0.3 + 0.2 * torch.rand(n, 3, HEIGHT, WIDTH, generator=generator)
    for side in range(2):
        paint = torch.full((n, 3), 0.1).scatter(1, colours[:, side, None], 0.9)
        images = torch.where(masks[:, side, None], paint[..., None, None], images)
    return images, shapes, colours, masks


def pointing(maps, masks):
    """How often the point of most attention lies in the mask, or two pixels beside it, as an edge does."""
    masks = torch.nn.functional.max_pool2d(masks.float(), 5, 1, 2)
    peaks = maps.flatten(1).argmax(1)
    return float(masks.flatten(1)[torch.arange(len(maps)), peaks].mean())


def sheet(rows, path):
    """Draws rows of `(words, map)` to a file, each behind its picture `(words, picture)`; maps are yellow."""
    width, height = 3 * WIDTH + 8, 3 * HEIGHT + 22
    canvas = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)), "dimgrey")
    for y, ((words, picture), *maps) in enumerate(rows):
        grey = 0.5 * picture.mean(0, keepdim=True).expand_as(picture)
        yellow = torch.tensor([1.0, 0.85, 0.1])[:, None, None]
        overlaid = [(word, grey + yellow * values / (2 * values.max().clamp(min=1e-12))) for word, values in maps]
        for x, (word, image) in enumerate([(words, picture), *overlaid]):
            pixels = Image.fromarray((255 * image.movedim(0, 2).clamp(0, 1)).numpy().astype(np.uint8))
            canvas.paste(pixels.resize((3 * WIDTH, 3 * HEIGHT), 0), (width * x + 4, height * y + 18))
            ImageDraw.Draw(canvas).text((width * x + 4, height * y + 4), word, fill="white")
    canvas.save(path)

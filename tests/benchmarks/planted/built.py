"""Models that are built, not trained, and models that are wrapped: what they rely on is known by construction."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam import Probe

SIDE, OBJECT, MARK = 32, slice(10, 22), slice(0, 5)  # pixels of a picture, of its object and of a mark in the corner
LAYER = "pixels"  # of the models that are built
N_CLASSES, LIKE, MARKED = 20, 6, 7  # of these two classes only the mark tells one from the other


class Rescored(nn.Module):
    """A model with other scores, which give the same answers."""

    def __init__(self, model: nn.Module, scores: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.scores = model, scores

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of the classes."""
        return self.scores(self.model(inputs))


RESCORED: dict[str, Callable[[Tensor], Tensor]] = {
    "cosine head": lambda logits: F.normalize(logits, dim=1),  # from -1 to 1; trained with a scale in the loss
    "unsure model": lambda logits: logits / logits.abs().amax() / 20,  # no probability is above 0.53
}


def inverted(probe: Probe) -> Probe:
    """Masks that are true beside the objects, as a wrong reading of a file gives them."""
    assert probe.masks is not None
    return Probe(probe.images, probe.targets, masks=~probe.masks, preprocess=probe.preprocess)


class _Reading(nn.Module):
    """Reads pixels through a convolution that changes nothing, so that there is a layer to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3, 3, 1, bias=False)
        self.pixels.weight.data = torch.eye(3)[:, :, None, None]


class OneOfTwenty(_Reading):
    """Tells classes by the object's colour; two of them have the same, and a mark in the corner tells these apart."""

    def __init__(self, colours: Tensor) -> None:
        super().__init__()
        self.colours = colours

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of the classes."""
        pixels = self.pixels(inputs)
        colour, mark = pixels[:, :, 13:19, 13:19].mean((2, 3)), pixels[:, :, 1:4, 1:4].mean((1, 2, 3))
        scores = -60 * (colour[:, None] - self.colours).abs().sum(2)
        return scores + 40 * (mark - 0.75)[:, None] * F.one_hot(torch.tensor(MARKED), N_CLASSES)


class Xor(_Reading):
    """Says the second class where a mark on the object and one in the corner differ; each alone says nothing."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of the classes."""
        pixels = self.pixels(inputs)
        inside, outside = (pixels[:, :, a:b, a:b].mean((1, 2, 3)) - 0.5 for a, b in ((13, 19), (1, 4)))
        return torch.stack([inside * outside, -inside * outside], 1) * 60


def one_of_twenty(n: int = 320) -> tuple[nn.Module, Probe, Probe]:
    """The model, a probe, and the same pictures with the other one's corner in the two classes that are alike."""
    chance, targets = torch.Generator().manual_seed(0), torch.arange(n) % N_CLASSES
    steps = torch.arange(N_CLASSES)
    colours = torch.stack([steps % 5 / 4.0, steps // 5 / 4.0, torch.rand(N_CLASSES, generator=chance)], 1) * 0.8 + 0.1
    colours[MARKED] = colours[LIKE]
    images = torch.rand(n, 3, SIDE, SIDE, generator=chance)
    images[:, :, OBJECT, OBJECT] = colours[targets][:, :, None, None]
    has_mark = targets == MARKED
    return OneOfTwenty(colours).eval(), _marked(images, targets, has_mark), _marked(images, targets, targets == LIKE)


def xor(n: int = 128) -> tuple[nn.Module, Probe, Probe]:
    """The model, a probe, and the same pictures with the other corner."""
    chance, targets = torch.Generator().manual_seed(0), torch.arange(n) % 2
    images, on_object = torch.rand(n, 3, SIDE, SIDE, generator=chance), torch.arange(n) // 2 % 2
    images[:, :, OBJECT, OBJECT] = (0.2 + 0.6 * on_object)[:, None, None, None]
    has_mark = (on_object + targets) % 2 == 1
    return Xor().eval(), _marked(images, targets, has_mark), _marked(images, targets, ~has_mark)


def _marked(images: Tensor, targets: Tensor, has_mark: Tensor) -> Probe:
    """Pictures with a bright corner or a grey one, and the masks of their objects."""
    marked, masks = images.clone(), torch.zeros(len(images), SIDE, SIDE, dtype=torch.bool)
    marked[:, :, MARK, MARK] = (0.2 + 0.8 * has_mark)[:, None, None, None]
    masks[:, OBJECT, OBJECT] = True
    return Probe(marked, targets, masks=masks)

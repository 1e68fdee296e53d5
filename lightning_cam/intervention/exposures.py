"""How bright and how saturated objects are by themselves: what a flash, a lamp or a filter on objects gives a class.

The object is brought to what is typical of another class, and its surroundings stay.
"""

import torch
from torch import Tensor

from .edits import cut_out
from .filters import FLOOR, by_parts, mean_of
from .known import Known
from .levels import Levels, class_steps
from .masks import has_background, on_object
from .styles import saturation

# Logarithms of a gain: what classes of objects may differ in by themselves. Of two kinds of leaves they differ by 0.19
# in brightness and 0.29 in saturation. With these, two classes must be 0.24 and 0.35 apart. Objects of one class that
# were flashed at are 0.57 apart from others, and faded ones 0.96.
_SPREAD_OF_BRIGHTNESS, _SPREAD_OF_SATURATION = 0.2, 0.3
_MOST = 1.4  # a gain of four times, as of saturation in `styles`


def exposure_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of exposure, one for each class: a gain of brightness and one of saturation, on the object alone."""
    steps, usable = _steps_of(images, masks, targets), has_background(masks)
    changes = (steps != 0).any(2)[targets] & usable[:, None]

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        (_, objects, through), (_, backgrounds) = cut_out(images[chosen], masks[chosen])
        brightness, colour = steps[targets[chosen], wanted].exp()[:, :, None, None, None].unbind(1)
        grey = objects.mean(1, keepdim=True)
        return ((grey + (objects - grey) * colour) * brightness + through * backgrounds).clamp(0, 1)

    return Levels(targets, changes, bring)


def _read(images: Tensor, masks: Tensor, targets: Tensor) -> Tensor:
    """Logarithms of the gains of brightness and saturation, ``(classes, classes, 2)``, from a class to each class."""
    usable, n_classes = has_background(masks), int(targets.max()) + 1
    if len(set(targets[usable].tolist())) < 2:
        return torch.zeros(n_classes, n_classes, 2)
    pictures, weights, labels = images[usable], on_object(masks[usable]), targets[usable]
    grey = (by_parts(mean_of, pictures, weights).mean(1)[:, :, 0] + FLOOR).log()
    brightness = class_steps(grey, labels, n_classes, _SPREAD_OF_BRIGHTNESS)
    colour = torch.zeros_like(brightness)
    if images.shape[1] == 3:
        colour = class_steps(by_parts(saturation, pictures, weights), labels, n_classes, _SPREAD_OF_SATURATION)
    return torch.stack([brightness, colour], 2).clamp(-_MOST, _MOST)


_steps_of: Known[Tensor] = Known(_read)

"""How far a map can be trusted: does the answer depend on the places that it shows, and the map on the model?

A map is any ``(N, h, w)`` tensor, from `cams`, `pixels` or elsewhere. An `Explain` makes maps again, for a model or for
images that were changed: ``pixels.saliency`` is one, and so is `attention` with a method of `cams`. The model is the
same before and after. A map that is constant or not finite shows no places: its values are NaN.
"""

from .agreement import occlusion_agreement
from .curves import Curve, deletion, insertion
from .explaining import Explain, attention
from .noise import Adversarial, adversarial
from .showing import Shown, average_drop
from .weights import Randomisation, randomisation

__all__ = [
    "Adversarial",
    "Curve",
    "Explain",
    "Randomisation",
    "Shown",
    "adversarial",
    "attention",
    "average_drop",
    "deletion",
    "insertion",
    "occlusion_agreement",
    "randomisation",
]

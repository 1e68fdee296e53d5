"""What a model's units and layers have learnt to see: filters, strongest patches, invariance, parts, ideal inputs.

Every function leaves the model as it was: in any mode, under `torch.no_grad` and `torch.inference_mode`. Pictures are
pixels as people see them; a probe's ``preprocess`` follows. Results are on the CPU.
"""

from .clusters import MapClusters, map_clusters
from .correspondence import Correspondence, part_correspondence
from .curves import GRADED, Graded, InvarianceCurve, invariance
from .maximisation import Maximisation, activation_maximisation
from .patches import StrongestPatches, strongest_patches
from .weights import filters

__all__ = [
    "GRADED",
    "Correspondence",
    "Graded",
    "InvarianceCurve",
    "MapClusters",
    "Maximisation",
    "StrongestPatches",
    "activation_maximisation",
    "filters",
    "invariance",
    "map_clusters",
    "part_correspondence",
    "strongest_patches",
]

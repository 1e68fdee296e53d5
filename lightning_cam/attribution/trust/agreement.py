"""Whether a map agrees with what happens if a place is hidden."""

from torch import Tensor, nn

from ...probe import Probe
from ..occluding import occlusion
from ..subject import ScoresOf
from ..targets import Target
from .explaining import check_maps, similarity_of


def occlusion_agreement(
    model: nn.Module,
    probe: Probe,
    maps: Tensor,
    *,
    block: int | None = None,
    stride: int | None = None,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Rank correlation ``(N,)`` of each map with `pixels.occlusion` (Selvaraju et al. 2017, section 5.3).

    1 means that the places are in the order in which hiding them hurts the answer, 0 in none. The finer of the two maps
    is averaged over the cells of the other.

    Args:
        model: Any classifier, in any mode.
        probe: The images that were explained, and their classes.
        maps: ``(N, h, w)``.
        block: As in `pixels.occlusion`.
        stride: As in `pixels.occlusion`.
        score: As in `pixels.occlusion`.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    check_maps(maps, probe)
    options = {"score": score, "forward": forward, "batch_size": batch_size}
    drop = occlusion(model, probe, block=block, stride=stride, **options)  # type: ignore[arg-type] # of three kinds
    return similarity_of(maps.detach().cpu(), drop)

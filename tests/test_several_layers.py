"""Several layers from one forward: each capture is what the layer alone gives, and their maps are fused."""

import math
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from house import models, trainings
from house.faulty import refused
from house.models import Net, fixed, images
from house.twins import alone, differences, ours, trained
from house.ways import CONFIGURATIONS
from lightning_cam import CAMCallback, Probe, cams, examine
from lightning_cam.attribution import targets
from lightning_cam.attribution.engine import capture, capture_all
from lightning_cam.attribution.fusion import fused

LABELS = torch.tensor([1, 0, 3])
SCORES = [targets.true_class(LABELS), targets.predicted_class()]


def probe() -> Probe:
    return Probe(images().clamp(0, 1), LABELS)


@pytest.mark.parametrize("layers", [["stem", "stage"], ["stage", "stem"], ["stage", "stage.1"], ["stem.1", "stem.0"]])
@pytest.mark.parametrize(
    "build",
    [Net, models.Checkpointed, models.NoGradForward, models.NoGradBackbone],
    ids=lambda build: build.__name__,
)
def test_each_capture_is_the_layers_own(build: Callable[[], nn.Module], layers: list[str]) -> None:
    together = capture_all(fixed(build), images(), SCORES, layers=layers)

    for layer, seen in zip(layers, together, strict=True):
        own = capture(fixed(build), images(), SCORES, layer=layer)
        assert (seen.layer, seen.n_calls) == (layer, own.n_calls)
        torch.testing.assert_close(seen.activations, own.activations, rtol=0, atol=0)
        torch.testing.assert_close(seen.gradients, own.gradients)
        assert seen.gradients[0].abs().max() > 0


@pytest.mark.parametrize("layers", [["stem", "stage.1"], ["stage.1", "stage.0", "stem.1"]])
def test_what_follows_in_place_overwrites_none_of_them(layers: list[str]) -> None:
    together = capture_all(fixed(models.Residual), images(), SCORES, layers=layers)
    expected = capture_all(fixed(models.ResidualOutOfPlace), images(), SCORES, layers=layers)

    for seen, other in zip(together, expected, strict=True):
        torch.testing.assert_close((seen.activations, seen.gradients), (other.activations, other.gradients))


def test_layers_of_two_branches_have_their_gradients() -> None:
    class Branches(Net):
        def features(self, x: Tensor) -> Tensor:
            stem = self.stem(x)
            return self.stage(stem) + self.stage[0](stem)

    for layer, seen in zip(
        ("stem", "stage.0", "stage.1"),
        capture_all(fixed(Branches), images(), SCORES, layers=["stem", "stage.0", "stage.1"]),
        strict=True,
    ):
        own = capture(fixed(Branches), images(), SCORES, layer=layer)
        torch.testing.assert_close(seen.gradients, own.gradients)


def test_several_layers_take_one_forward() -> None:
    model = fixed(Net)
    forward = Mock(side_effect=model)

    capture_all(model, images(), SCORES, layers=["stem", "stage.0", "stage"], forward=forward)

    assert forward.call_count == 1


def reference_fusion(maps: list[Tensor], size: tuple[int, int]) -> Tensor:
    """LayerCAM's fusion at whole multiples of the grids, place by place; only for maps without slopes in a cell."""
    result = torch.zeros(size, dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            values = []
            for each in maps:
                height, width = each.shape
                most = float(each.max())
                value = float(each[i * height // size[0], j * width // size[1]])
                values.append(math.tanh(2 * value / most) if most else 0.0)
            result[i, j] = max(values)
    return result


def test_fusion_is_the_papers() -> None:
    fine = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0))
    other = 100 * torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(1))
    constant, empty = torch.full((2, 2, 3), 7.0), torch.zeros(2, 1, 1)

    for maps in ([fine, other], [fine, empty], [empty, other, fine], [constant, fine]):
        expected = [reference_fusion([each[i] for each in maps], (4, 6)) for i in range(2)]
        torch.testing.assert_close(fused(maps), torch.stack(expected).float())


def test_a_coarse_map_is_stretched_edge_to_edge() -> None:
    maps = fused([torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1, 4)])

    torch.testing.assert_close(maps[0, 0], math.tanh(2) * torch.tensor([1.0, 0.75, 0.25, 0.0]))


def test_what_is_not_a_number_stays_in_its_image() -> None:
    broken = torch.ones(2, 3, 3)
    broken[0, 1, 1] = torch.nan

    assert fused([broken, torch.ones(2, 3, 3)]).isfinite().all((1, 2)).tolist() == [False, True]


def test_the_map_of_one_layer_stays_in_the_units_of_the_score() -> None:
    maps = torch.rand(2, 3, 3) * 100

    assert torch.equal(fused([maps]), maps)


def test_examine_fuses_the_layers_maps() -> None:
    single = [
        examine(fixed(Net), probe(), layer=layer, method=cams.layer_cam, trials=()) for layer in ("stem.0", "stage")
    ]

    report = examine(fixed(Net), probe(), layer=["stem.0", "stage"], method=cams.layer_cam, trials=())

    assert report.layer == "stem.0 + stage"
    torch.testing.assert_close(report.grid_maps, fused([each.grid_maps for each in single]))
    torch.testing.assert_close(report.predicted_grid_maps, fused([each.predicted_grid_maps for each in single]))


def test_a_list_of_one_layer_is_that_layer() -> None:
    one, listed = (examine(fixed(Net), probe(), layer=layer, trials=()) for layer in ("stage", ["stage", "stage"]))

    assert listed.layer == "stage"
    assert torch.equal(one.grid_maps, listed.grid_maps)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (["stage", "stge"], ValueError, "no layer 'stge' in Net; did you mean 'stage'"),
        ([], ValueError, "found no name; leave layer= out"),
        ([nn.ReLU()], TypeError, "expected names of layers, found ReLU; Net has .*'stage'"),
        (nn.ReLU(), TypeError, "expected names of layers, found ReLU"),
    ],
    ids=["unknown", "none", "modules", "a module"],
)
def test_what_is_no_layer_is_refused(layer: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        examine(fixed(Net), probe(), layer=layer, trials=())


def test_an_unknown_layer_of_several_is_said_before_training_starts(tmp_path: Path) -> None:
    callback = CAMCallback(trainings.probe(), layer=["body.0", "bdy.2"])

    refused(tmp_path, callback, "no layer 'bdy.2' in Net.*body.2")


def test_a_fit_with_several_layers_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    twin = CONFIGURATIONS["plain"]
    callback = ours(every_n_train_steps=1, layer=["body.features.0", "body.features"])

    assert differences(alone(twin), trained(tmp_path, [callback], twin)) == set()
    assert callback.history

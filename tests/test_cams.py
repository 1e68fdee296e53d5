"""Maps equal slow ones written from the papers, and the relations between the methods hold."""

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from house import reference_cams as reference
from house.methods import GRADIENT_METHODS as METHODS
from lightning_cam.attribution import cams

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def signed(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rectified(*shape: int, seed: int = 0) -> Tensor:
    """What a ReLU lets through: about half of it is 0."""
    return signed(*shape, seed=seed).relu()


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (1, 1, 2, 3), (2, 9, 2, 2), (2, 3, 1, 1)], ids=str)
def test_maps_are_the_papers(method: cams.CamMethod, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    activations, gradients = rectified(*shape).to(dtype), signed(*shape, seed=1).to(dtype)
    gradients[:, 0, 0, 0] = 0
    expected = reference.every(getattr(reference, method.__name__), activations, gradients)

    maps = method(activations, gradients)

    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, expected.float(), rtol=1e-5, atol=1e-6)


@every_method
@pytest.mark.parametrize("seed", range(3))
def test_maps_of_signed_activations_are_the_papers(method: cams.CamMethod, seed: int) -> None:
    activations, gradients = signed(2, 4, 3, 5, seed=seed), signed(2, 4, 3, 5, seed=seed + 100)
    expected = reference.every(getattr(reference, method.__name__), activations, gradients)

    torch.testing.assert_close(method(activations, gradients), expected.float(), rtol=1e-5, atol=1e-6)


def test_methods_by_hand() -> None:
    activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    gradients = torch.tensor([[[[1.0, 3.0]], [[-1.0, 1.0]]]])

    assert cams.cam(activations, gradients).tolist() == [[[4.0, 8.0]]]
    assert cams.grad_cam(activations, gradients).tolist() == [[[2.0, 4.0]]]
    assert cams.hires_cam(activations, gradients).tolist() == [[[0.0, 6.0]]]
    assert cams.layer_cam(activations, gradients).tolist() == [[[1.0, 6.0]]]
    assert cams.xgrad_cam(activations, gradients).flatten().tolist() == pytest.approx([0.0, 14 / 3])


@every_method
def test_half_precision_is_summed_in_float32(method: cams.CamMethod) -> None:
    activations, gradients = rectified(1, 3, 80, 80).half(), (signed(1, 3, 80, 80, seed=1) * 100).half()

    maps = method(activations, gradients)

    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, method(activations.float(), gradients.float()))


@every_method
def test_permuting_the_batch_permutes_the_maps(method: cams.CamMethod) -> None:
    activations, gradients = rectified(4, 3, 2, 5), signed(4, 3, 2, 5, seed=1)
    order = torch.tensor([2, 0, 3, 1])

    torch.testing.assert_close(method(activations[order], gradients[order]), method(activations, gradients)[order])


@every_method
def test_permuting_the_channels_changes_nothing(method: cams.CamMethod) -> None:
    activations, gradients = rectified(2, 3, 2, 5), signed(2, 3, 2, 5, seed=1)
    order = torch.tensor([2, 0, 1])

    torch.testing.assert_close(method(activations[:, order], gradients[:, order]), method(activations, gradients))


@every_method
def test_no_activation_gives_an_empty_map(method: cams.CamMethod) -> None:
    assert method(torch.zeros(2, 3, 4, 5), signed(2, 3, 4, 5).float()).tolist() == torch.zeros(2, 4, 5).tolist()


@pytest.mark.parametrize("method", METHODS[:-1], ids=lambda method: method.__name__)
def test_no_gradient_gives_an_empty_map(method: cams.CamMethod) -> None:
    assert method(rectified(2, 3, 4, 5), torch.zeros(2, 3, 4, 5)).tolist() == torch.zeros(2, 4, 5).tolist()


@every_method
def test_a_tiny_map_is_not_hidden(method: cams.CamMethod) -> None:
    activations, gradients = rectified(1, 3, 4, 5), signed(1, 3, 4, 5, seed=1)

    assert method(activations * 1e-20, gradients * 1e-12).max() > 0


@every_method
def test_what_is_not_a_number_stays_in_its_image(method: cams.CamMethod) -> None:
    activations, gradients = rectified(2, 3, 4, 5), signed(2, 3, 4, 5, seed=1)
    activations[0, :, 1, 2] = torch.nan

    maps = method(activations, gradients)

    assert maps[0].isnan().any()
    torch.testing.assert_close(maps[1], method(activations[1:], gradients[1:])[0])


@every_method
def test_arguments_are_not_written_to(method: cams.CamMethod) -> None:
    activations, gradients = signed(2, 3, 4, 5), signed(2, 3, 4, 5, seed=1)
    before = activations.clone(), gradients.clone()

    method(activations, gradients)

    assert torch.equal(activations, before[0])
    assert torch.equal(gradients, before[1])


@pytest.mark.parametrize("method", [cams.grad_cam, cams.hires_cam, cams.xgrad_cam], ids=lambda method: method.__name__)
def test_methods_agree_behind_global_average_pooling(method: cams.CamMethod) -> None:
    activations, weights = rectified(2, 3, 4, 5), signed(2, 3, seed=1)
    gradients = (weights / 20)[:, :, None, None].expand(2, 3, 4, 5)

    torch.testing.assert_close(method(activations, gradients), cams.cam(activations, gradients) / 20)
    torch.testing.assert_close(
        cams.cam(activations, gradients), torch.einsum("nk,nkhw->nhw", weights, activations).relu().float()
    )


@pytest.mark.parametrize("method", [cams.cam, cams.grad_cam, cams.hires_cam, cams.xgrad_cam])
def test_a_negated_target_shows_the_evidence_against(method: Callable[[Tensor, Tensor], Tensor]) -> None:
    activations, gradients = signed(2, 3, 4, 5).abs(), signed(2, 3, 4, 5, seed=1)

    evidence, against = method(activations, gradients), method(activations, -gradients)

    assert (evidence * against).max() == 0
    assert (evidence + against).min() > 0


def test_grad_cam_plus_plus_sees_small_regions_as_well_as_large_ones() -> None:
    activations = torch.zeros(1, 2, 4, 4)
    activations[0, 0, 0, 0] = activations[0, 1, 2:, :] = 1
    gradients = activations.clone()  # each region answers only where it is active

    plain, plus = cams.grad_cam(activations, gradients)[0], cams.grad_cam_plus_plus(activations, gradients)[0]

    assert plain[2, 0] == 8 * plain[0, 0]
    assert plus[2, 0] < 3 * plus[0, 0]


def test_eigen_cam_is_turned_towards_the_activations() -> None:
    activations = signed(5, 3, 4, 5)

    maps = cams.eigen_cam(activations, activations), cams.eigen_cam(-activations, activations)

    torch.testing.assert_close(*maps)
    assert maps[0].sum((1, 2)).min() > 0


def test_xgrad_cam_gives_a_dead_channel_no_weight() -> None:
    activations, gradients = rectified(1, 2, 3, 4), signed(1, 2, 3, 4, seed=1)
    activations[:, 1] = 0

    torch.testing.assert_close(
        cams.xgrad_cam(activations, gradients), cams.xgrad_cam(activations[:, :1], gradients[:, :1])
    )


@pytest.mark.parametrize("method", METHODS[:-1], ids=lambda method: method.__name__)
def test_maps_against_are_the_papers_of_the_negative_score(method: cams.CamMethod) -> None:
    activations, gradients = rectified(3, 4, 5, 7), signed(3, 4, 5, 7, seed=1)
    expected = reference.every(getattr(reference, method.__name__), activations, -gradients)

    maps = cams.against(method)(activations, gradients)

    torch.testing.assert_close(maps, expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [cams.cam, cams.grad_cam, cams.hires_cam, cams.xgrad_cam], ids=lambda m: m.__name__)
def test_maps_against_are_what_a_linear_method_clips(method: cams.CamMethod) -> None:
    activations, gradients = signed(2, 4, 3, 5), signed(2, 4, 3, 5, seed=1)
    weighted = {
        cams.cam: gradients.sum((2, 3), keepdim=True),
        cams.grad_cam: gradients.mean((2, 3), keepdim=True),
        cams.hires_cam: gradients,
        cams.xgrad_cam: (gradients * activations).sum((2, 3), keepdim=True) / activations.sum((2, 3), keepdim=True),
    }[method]
    unclipped = (weighted * activations).sum(1).float()

    torch.testing.assert_close(cams.against(method)(activations, gradients), -unclipped.clamp(max=0))
    torch.testing.assert_close(method(activations, gradients), unclipped.clamp(min=0))


def test_against_names_its_method_and_can_be_pickled() -> None:
    method = pickle.loads(pickle.dumps(cams.against(cams.layer_cam)))

    assert method.__name__ == "against_layer_cam"
    assert method == cams.against(cams.layer_cam)


def test_nothing_argues_against_a_class_without_gradients() -> None:
    with pytest.raises(ValueError, match="eigen_cam uses no gradients"):
        cams.against(cams.eigen_cam)

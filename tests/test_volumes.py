"""Volumes and videos: one axis more for maps, pixels and measures, by the same equations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from house import reference_cams
from house.methods import GRADIENT_METHODS as METHODS
from house.models import fixed
from house.tasks import Listed
from lightning_cam import Probe, examine, features, pixels
from lightning_cam.attribution import asking, cams, engine, measures, targets
from lightning_cam.attribution.layer_search import find_layer
from lightning_cam.attribution.layouts import Layout, layout_of, size_of
from lightning_cam.intervention import (
    NOT_ON_VOLUMES,
    STANDARD,
    Trial,
    as_pictures,
    as_volumes,
    chosen_trials,
    for_volumes,
)
from lightning_cam.sinks.slices import in_slices, pictured
from lightning_cam.spatial import area_average, at_cell_centres, border_ring, largest_component, mask_boxes, upsample

N_CLASSES = 3


class Net3d(nn.Module):
    """Two convolutions, the mean over all places, one linear layer; an in-place ReLU behind the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(1, 4, 3, 2, 1), nn.BatchNorm3d(4), nn.ReLU(inplace=True))
        self.stage = nn.Sequential(nn.Conv3d(4, 6, 3, 1, 1), nn.ReLU(inplace=True))
        self.head = nn.Linear(6, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage(self.stem(x)).mean((2, 3, 4)))


class SliceBySlice(nn.Module):
    """A network of pictures that sees frames ``(N, D, C, H, W)`` one by one, and a mean over their scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(5, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.stage(x.flatten(0, 1)).mean((2, 3)))
        return scores.unflatten(0, x.shape[:2]).mean(1)


def volumes(n: int = 3, *size: int) -> Tensor:
    return torch.rand(n, 1, *(size or (6, 8, 10)), generator=torch.Generator().manual_seed(0))


def probe_of(n: int = 3, **options: Any) -> Probe:
    return Probe(volumes(n), torch.arange(n) % N_CLASSES, classes=["a", "b", "c"], **options)


@pytest.fixture
def net() -> nn.Module:
    return fixed(Net3d)


# ---- maps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_maps_are_the_papers(method: cams.CamMethod) -> None:
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(2, 4, 3, 4, 5, generator=generator, dtype=torch.float64).relu()
    gradients = torch.randn(2, 4, 3, 4, 5, generator=generator, dtype=torch.float64)
    flat = (each.reshape(2, 4, 12, 5) for each in (activations, gradients))  # the papers sum over all places alike
    expected = reference_cams.every(getattr(reference_cams, method.__name__), *flat).reshape(2, 3, 4, 5)

    torch.testing.assert_close(method(activations, gradients), expected.float(), rtol=1e-5, atol=1e-6)


def test_cam_is_the_classifiers_own_weights(net: nn.Module) -> None:
    labels = torch.tensor([2, 0, 1])
    net.eval()
    with torch.no_grad():
        features = net.stage(net.stem(volumes())).double()
    expected = (
        torch.einsum("nk,nkdhw->ndhw", net.head.weight[labels].double(), features).relu() / features[0, 0].numel()
    )

    seen = engine.capture(net, volumes(), [targets.true_class(labels)], layer="stage")

    torch.testing.assert_close(cams.grad_cam(seen.activations, seen.gradients[0]), expected.float())
    assert seen.activations.shape == (3, 6, 3, 4, 5)


def test_layer_of_a_3d_network_is_its_last_map(net: nn.Module) -> None:
    assert find_layer(net, volumes()) == "stage"


def test_a_network_of_frames_has_a_map_of_each() -> None:
    model, frames = fixed(SliceBySlice), torch.rand(2, 6, 3, 8, 10, generator=torch.Generator().manual_seed(0))

    seen = engine.capture(model, frames, [targets.true_class(torch.tensor([0, 1]))], layer=find_layer(model, frames))

    with torch.no_grad():
        expected = model.stage(frames[1])
    assert size_of(frames) == (6, 8, 10)
    torch.testing.assert_close(seen.activations[1].transpose(0, 1), expected)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 64, 4, 8, 8), Layout("NKdhw", (4, 8, 8))),
        ((2, 4, 8, 8, 96), Layout("NdhwK", (4, 8, 8))),
        ((16, 5, 8, 8), Layout("DKhw", (8, 8, 8))),
        ((2, 5, 8, 8), Layout("NKhw", (1, 8, 8))),
        ((2, 8 * 8 * 8 + 1, 3), Layout("NTK", (8, 8, 8), 1)),
    ],
    ids=str,
)
def test_layout_of_a_volume(shape: tuple[int, ...], expected: Layout) -> None:
    output = torch.arange(float(torch.Size(shape).numel())).reshape(shape)

    assert layout_of(output, (8, 56, 56), n_images=2) == expected
    assert expected.grid(output).shape[2:] == expected.size


def test_no_layout_of_a_volume_says_so() -> None:
    with pytest.raises(ValueError, match=r"a map of the 8 x 56 x 56 volume, found an output of shape 7 x 5 x 8 x 8"):
        layout_of(torch.zeros(7, 5, 8, 8), (8, 56, 56), n_images=2)
    with pytest.raises(ValueError, match=r"found 393 that fit \[\(2, 14, 14\), \(8, 7, 7\)\]"):
        layout_of(torch.zeros(2, 8 * 7 * 7 + 1, 3), (8, 56, 56), n_images=2)


@pytest.mark.parametrize("method", [cams.score_cam, cams.ablation_cam], ids=lambda method: method.name)
def test_methods_of_forward_passes_change_one_channel(net: nn.Module, method: cams.ForwardMethod) -> None:
    score = targets.true_class(torch.tensor([0, 1, 2]))

    answer = asking.ask(net.eval(), volumes(), lambda _: [score], method, layers=["stage"])

    with torch.no_grad():
        features = net.stage(net.stem(volumes()))
        if method is cams.ablation_cam:
            means = features.mean((2, 3, 4))
            weights = net.head.weight * means
        else:
            fine = upsample(features.flatten(0, 1), (6, 8, 10))
            low, high = (reduce(fine, (1, 2, 3), keepdim=True) for reduce in (torch.amin, torch.amax))
            shown = ((fine - low) / (high - low)).nan_to_num().unflatten(0, (3, 6))
            scores = torch.stack([net(volumes() * shown[:, k, None]).diagonal() for k in range(6)], 1)
            weights = scores.softmax(1)
        expected = torch.einsum("nk,nkdhw->ndhw", weights, features).relu()
    torch.testing.assert_close(answer.maps[0][0], expected, rtol=1e-4, atol=1e-6)


# ---- pixels ----------------------------------------------------------------------------------------------------------


def gradient_of(net: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net.eval()(leaf).gather(1, labels[:, None]).sum(), leaf)
    return gradient


def test_saliency_is_the_gradient(net: nn.Module) -> None:
    probe = probe_of()

    expected = gradient_of(net, probe.images, probe.targets).abs().amax(1)
    torch.testing.assert_close(pixels.saliency(net, probe), expected)


def test_integrated_gradients_are_complete(net: nn.Module) -> None:
    probe = probe_of()

    maps = pixels.integrated_gradients(net, probe, n_steps=200)

    with torch.no_grad():
        difference = (net.eval()(probe.images) - net(torch.zeros_like(probe.images))).diagonal()
    torch.testing.assert_close(maps.sum((1, 2, 3)), difference, rtol=1e-3, atol=1e-4)


def test_smooth_grad_without_noise_is_saliency(net: nn.Module) -> None:
    smooth = pixels.smooth_grad(net, probe_of(), n_samples=2, noise=0)

    torch.testing.assert_close(smooth, pixels.saliency(net, probe_of()))


def test_occlusion_is_a_box_that_slides_along_all_axes() -> None:
    """The drop of a linear score is what its weights give the hidden places."""
    model = fixed(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4 * 4 * 6, N_CLASSES)))
    probe = Probe(volumes(2, 4, 4, 6), torch.tensor([0, 1]), classes=["a", "b", "c"])
    weights = model[1].weight[probe.targets].detach().reshape(2, 4, 4, 6)
    score = targets.true_class(probe.targets)

    maps = pixels.occlusion(model, probe, block=2, stride=2, fill=0.0, score=score)

    of_boxes = F.avg_pool3d(weights * probe.images[:, 0], 2) * 8
    expected = of_boxes.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
    assert pixels.occlusion_maps(model, probe).predicted.shape == (2, 4, 4, 6)


def test_guided_grad_cam_is_a_product(net: nn.Module) -> None:
    probe = probe_of()
    seen = engine.capture(net, probe.images, [targets.true_class(probe.targets)], layer="stage")
    attention = upsample(cams.grad_cam(seen.activations, seen.gradients[0]), (6, 8, 10))

    maps = pixels.guided_grad_cam(net, probe)

    torch.testing.assert_close(maps, pixels.guided_backprop(net, probe) * attention)


# ---- measures and geometry -------------------------------------------------------------------------------------------

MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ratio": measures.background_attention_ratio,
    "lift": measures.background_attention_lift,
    "pointing": measures.pointing_accuracy,
    "box": measures.box_iou,
    "border": lambda maps, _: measures.border_attention_ratio(maps),
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_equal_slices_measure_as_one_of_them(measure: Callable[[Tensor, Tensor], Tensor]) -> None:
    maps = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(3, 10, 12, dtype=torch.bool)
    masks[:, 2:7, 3:9] = True

    of_volume = measure(maps[:, None].expand(-1, 6, -1, -1), masks[:, None].expand(-1, 12, -1, -1))

    torch.testing.assert_close(of_volume, measure(maps, masks), atol=2e-3, rtol=1e-4)  # a lift knows the cells' number


def test_measures_of_a_volume_by_hand() -> None:
    maps = torch.tensor([[[[3.0, 0.0]], [[0.0, 1.0]]]])  # 1 x 2 x 1 x 2
    masks = torch.tensor([[[[True, False]], [[False, False]]]])

    assert measures.background_attention_ratio(maps, masks).tolist() == [0.25]
    assert measures.pointing_accuracy(maps, masks).tolist() == [1.0]
    assert measures.attention_drift(maps, maps).tolist() == [0.0]
    assert measures.attention_entropy(torch.ones(1, 2, 3, 4)).tolist() == [1.0]
    assert measures.is_empty(torch.zeros(1, 2, 3, 4)).tolist() == [True]
    assert measures.background_attention_ratio(torch.zeros(1, 2, 1, 2), masks).isnan().all()


def test_geometry_of_a_volume_by_hand() -> None:
    masks = torch.zeros(1, 4, 4, 6, dtype=torch.bool)
    masks[0, 1:3, 2:4, 1:2] = True
    masks[0, 3, 0, 5] = True

    assert mask_boxes(largest_component(masks)).tolist() == [[1.0, 2.0, 1.0, 2.0, 4.0, 3.0]]
    assert mask_boxes(masks).tolist() == [[1.0, 0.0, 1.0, 6.0, 4.0, 4.0]]
    torch.testing.assert_close(area_average(masks, (2, 2, 3)), F.avg_pool3d(masks.float(), 2))
    torch.testing.assert_close(at_cell_centres(masks, (2, 2, 3)), F.avg_pool3d(masks.float(), 2))
    assert border_ring((3, 5, 5)).shape == (3, 5, 5)
    assert mask_boxes(masks & False).isnan().all()


def test_regions_touch_across_slices() -> None:
    masks = torch.zeros(2, 3, 2, 2, dtype=torch.bool)
    masks[0, :, 0, 0] = True  # three in a column
    masks[0, 0, 1, 1] = True  # touches by an edge alone
    masks[1, 2] = True

    kept = largest_component(masks)

    assert kept[0].sum() == 3
    assert kept[0, :, 0, 0].all()
    assert torch.equal(kept[1], masks[1])


# ---- the probe and the report ----------------------------------------------------------------------------------------


def test_a_probe_of_volumes_is_saved_and_read(tmp_path: Path) -> None:
    masks = volumes()[:, 0] > 0.5
    probe = probe_of(masks=masks)

    probe.save(tmp_path / "probe")
    read = Probe.load(tmp_path / "probe")

    assert repr(probe) == "Probe(3 volumes 1x6x8x10, 3 classes, masks: 3 given)"
    assert torch.equal(read.images, probe.images)
    assert torch.equal(read.masks, masks)
    assert read.fingerprint == probe.fingerprint
    assert torch.equal(probe.select([2, 0]).images, probe.images[[2, 0]])


def test_a_mask_of_one_slice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"masks must have the images' size \(6, 8, 10\), mask 0 has \(8, 10\)"):
        probe_of(masks=[torch.zeros(8, 10, dtype=torch.bool)] * 3)


def test_a_report_has_maps_and_measures_of_volumes(net: nn.Module) -> None:
    masks = torch.zeros(3, 6, 8, 10, dtype=torch.bool)
    masks[:, 2:4, 2:6, 2:6] = True

    report = examine(net, probe_of(masks=masks))

    assert report.layer == "stage"
    assert report.grid_maps.shape == (3, 3, 4, 5)
    assert report.maps.shape == (3, 6, 8, 10)
    assert 0 <= report.scalars["background_attention_ratio"] <= 1
    torch.testing.assert_close(
        report.values["background_attention_ratio"], measures.background_attention_ratio(report.grid_maps, masks)
    )


# ---- reading a data set ----------------------------------------------------------------------------------------------


def test_dicts_as_monai_gives_them_become_a_probe() -> None:
    class MetaTensor(Tensor):
        """As MONAI's: a tensor that knows where it comes from."""

    masks = volumes(4)[:, 0] > 0.5
    pairs = zip(volumes(4), masks, strict=True)
    items = [
        {"image": v.as_subclass(MetaTensor), "label": i % 2, "mask": m[None].float()} for i, (v, m) in enumerate(pairs)
    ]

    probe = Probe.from_dataset(Listed(items))

    order = torch.tensor([int(name.split("_")[1]) for name in probe.names])
    assert type(probe.images) is Tensor
    assert torch.equal(probe.images, volumes(4)[order])
    assert torch.equal(probe.masks, masks[order])
    assert set(probe.mask_sources) == {"given"}


def test_videos_whose_frames_come_first_are_given_back_in_their_order() -> None:
    clips = torch.rand(4, 6, 3, 8, 10, generator=torch.Generator().manual_seed(0))

    probe = Probe.from_dataset(Listed([(clip, i % 2) for i, clip in enumerate(clips)]))

    order = [int(name.split("_")[1]) for name in probe.names]
    assert probe.images.shape == (4, 3, 6, 8, 10)
    assert torch.equal(probe.inputs(), clips[order])


def test_values_of_volumes_are_stretched_to_pixels_and_given_back() -> None:
    scans = 400 * volumes(4) - 100  # Hounsfield units

    with pytest.warns(UserWarning, match="stretched"):
        probe = Probe.from_dataset(Listed([(scan, i % 2) for i, scan in enumerate(scans)]))

    order = [int(name.split("_")[1]) for name in probe.names]
    torch.testing.assert_close(probe.inputs(), scans[order], rtol=1e-4, atol=1e-2)


def test_slices_are_resized_and_depths_are_not() -> None:
    probe = Probe.from_dataset(Listed([(volume, i % 2) for i, volume in enumerate(volumes(4))]), size=(4, 5))

    assert probe.images.shape == (4, 1, 6, 4, 5)
    with pytest.raises(ValueError, match=r"volumes must have one depth, got \[5, 6\]"):
        Probe.from_dataset(Listed([(volumes(1)[0], 0), (volumes(1)[0, :, 1:], 1)]))


# ---- swaps -----------------------------------------------------------------------------------------------------------


def swapped(cue: str, images: Tensor, masks: Tensor) -> Tensor:
    """The first of two volumes with the cue of the second."""
    (trial,) = for_volumes(chosen_trials([cue]), images.shape[2])
    own, lent = ((as_pictures(images[i : i + 1]), as_pictures(masks[i : i + 1])) for i in range(2))
    return as_volumes(trial.swap.edit(*own, *lent), images.shape[2])[0]


def two_volumes() -> tuple[Tensor, Tensor]:
    images = torch.stack([torch.full((1, 4, 20, 20), 0.3), torch.full((1, 4, 20, 20), 0.6)])
    masks = torch.zeros(2, 4, 20, 20, dtype=torch.bool)
    masks[:, 1:3, 8:12, 8:12] = True
    images[0, :, 1:3, 8:12, 8:12] = 0.9
    images[1, :, 1:3, 8:12, 8:12] = 0.1
    return images, masks


@pytest.mark.parametrize("cue", ["corner", "border", "background"])
def test_a_place_is_the_same_in_every_slice(cue: str) -> None:
    images, masks = two_volumes()

    edited = swapped(cue, images, masks)[0]

    region = torch.ones(20, 20, dtype=torch.bool)
    if cue == "corner":
        region[4:16] = region[:, 4:16] = False
    if cue == "border":
        region[2:18, 2:18] = False
    for place in range(4):
        torch.testing.assert_close(edited[place][region & ~masks[0, place]].median(), torch.tensor(0.6))
        torch.testing.assert_close(edited[place][~region], images[0, 0, place][~region])
    torch.testing.assert_close(edited[1, 9:11, 9:11], torch.full((2, 2), 0.9))


def test_a_cue_of_pictures_alone_is_left_out() -> None:
    cues = {trial.cue for trial in for_volumes(chosen_trials(None), 4)}

    assert cues == {trial.cue for trial in STANDARD} - NOT_ON_VOLUMES
    assert for_volumes([Trial("position", STANDARD[0].swap)], 4)[0].cue == "position"  # one of the user's own


def test_a_volume_is_shown_by_the_middle_slice_of_its_object() -> None:
    images, masks = two_volumes()
    masks[1] = False
    probe = Probe(images, torch.tensor([0, 1]), masks=masks)

    shown = pictured(probe)

    assert probe.slices.tolist() == [1, 2]
    assert shown.names == ("0_0, slice 2 of 4", "1_1, slice 3 of 4")
    assert torch.equal(shown.images[0], images[0, :, 1])
    maps = torch.arange(2.0)[None, :, None, None].expand(2, 2, 3, 3)
    assert in_slices(maps, probe, torch.tensor([0, 1]))[:, 0, 0].tolist() == [0.25, 0.75]


def test_what_shows_pictures_alone_refuses_volumes(net: nn.Module) -> None:
    with pytest.raises(ValueError, match="features are shown of pictures alone, and these are volumes"):
        features.strongest_patches(net, probe_of(), "stage")

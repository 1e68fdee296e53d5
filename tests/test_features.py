"""What units and layers have learnt equals what loops give from the papers, and the model stays as it is."""

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2 import Normalize, Resize

from house import models
from house.kinds import KINDS, changed
from house.models import Net, fingerprint, fixed
from lightning_cam import Probe, features, pixels
from lightning_cam.attribution.features.grading import enlarged, shifted, turned

CLASSES = ["a", "b", "c", "d"]
FEW = {"shift": features.Graded(shifted, (-0.25, 0.0, 0.25))}


def probe_of(
    n: int = 3, size: tuple[int, int] = (12, 16), labels: tuple[int, ...] = (1, 1, 3), **options: Any
) -> Probe:
    return Probe(models.images(n, *size), torch.tensor(labels[:n]), classes=CLASSES, **options)


class Deep(nn.Module):
    """Its units see patches of a known size: 3 pixels, then 7 in steps of 4, then 15."""

    def __init__(self, rectify: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.head = nn.Linear(5, 4)
        self.rectify = rectify

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.rectify(self.first(x)))
        return self.head(self.rectify(self.second(x)).mean((2, 3)))


STEPS = {"first": [(3, 2, 1)], "pool": [(3, 2, 1), (3, 2, 1)], "second": [(3, 2, 1), (3, 2, 1), (3, 1, 1)]}


def seen_by(place: int, steps: list[tuple[int, int, int]], length: int) -> tuple[int, int]:
    """First pixel and the one behind the last, along one side, by the arithmetic of side, stride and padding."""
    first = last = place
    for side, stride, padding in reversed(steps):
        first, last = first * stride - padding, last * stride - padding + side - 1
    return max(first, 0), min(last + 1, length)


# ---- filters ---------------------------------------------------------------------------------------------------------


def test_filters_are_weights_around_grey() -> None:
    model = fixed(Net).double()
    weights = model.stem[0].weight

    pictures = features.filters(model)

    for k, kernel in enumerate(weights.tolist()):
        flat = [value for channel in kernel for row in channel for value in row]
        largest = max(abs(value) for value in flat)
        expected = torch.tensor([0.5 + 0.5 * value / largest for value in flat])
        torch.testing.assert_close(pictures[k].flatten(), expected)


def test_a_dead_filter_is_grey_and_one_that_is_not_finite_is_nan() -> None:
    model = fixed(Net)
    model.stem[0].weight.data[0], model.stem[0].weight.data[1, 0, 0, 0] = 0, torch.nan

    pictures = features.filters(model)

    assert (pictures[0] == 0.5).all()
    assert pictures[1].isnan().all()
    assert pictures[2:].isfinite().all()


def test_filters_of_another_layer_and_of_a_spectral_norm() -> None:
    model = fixed(Net).train()
    nn.utils.parametrizations.spectral_norm(model.stem[0])
    before = fingerprint(model)

    assert features.filters(model).shape == (6, 3, 3, 3)
    assert features.filters(model, layer="stage.0").shape == (8, 6, 3, 3)
    assert changed(before, fingerprint(model)) == []


def test_what_has_no_filters_is_told() -> None:
    with pytest.raises(ValueError, match="Sequential has no Conv2d"):
        features.filters(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="expected a Conv2d, found 'head', a Linear"):
        features.filters(fixed(Net), layer="head")


# ---- strongest patches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", STEPS)
def test_a_patch_is_what_the_unit_can_see(layer: str) -> None:
    model, probe = fixed(Deep), probe_of(size=(41, 50))
    answers: list[Tensor] = []
    model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: answers.append(output))
    model(probe.images)

    strongest = features.strongest_patches(model, probe, layer, [2, 0], k=2)

    maps = answers[0].tolist()
    for u, unit in enumerate((2, 0)):
        peaks = [
            min((-value, n, y, x) for y, row in enumerate(maps[n][unit]) for x, value in enumerate(row))
            for n in range(3)
        ]
        for i, (lowest, n, y, x) in enumerate(sorted(peaks)[:2]):
            (y1, y2), (x1, x2) = seen_by(y, STEPS[layer], 41), seen_by(x, STEPS[layer], 50)
            patch = strongest.patches[u, i]
            assert float(strongest.activations[u, i]) == pytest.approx(-lowest, rel=1e-5)
            assert int(strongest.images[u, i]) == n
            assert strongest.places[u, i].tolist() == [y, x]
            assert strongest.boxes[u, i].tolist() == [x1, y1, x2, y2]
            assert torch.equal(patch[~patch.isnan()], probe.images[n, :, y1:y2, x1:x2].flatten())


def test_a_patch_that_the_edge_cuts_keeps_its_middle() -> None:
    """What a unit looks at lies at the same place of all its patches."""
    images = torch.zeros(3, 1, 7, 7)
    images[0, 0, 0, 6], images[1, 0, 3, 3], images[2, 0, 6, 0] = 0.9, 0.8, 0.7
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    model[0].weight.data.fill_(0.1)[0, 0, 1, 1] = 1

    patches = features.strongest_patches(model, Probe(images, torch.tensor([0, 0, 0])), "0").patches[0, :, 0]

    assert patches[:, 1, 1].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert patches[0].isnan().tolist() == [[True] * 3, [False, False, True], [False, False, True]]


def test_the_picture_of_a_first_filter_is_the_filter() -> None:
    model, probe = fixed(Deep), probe_of()

    strongest = features.strongest_patches(model, probe, "first", k=3)

    for u, unit in enumerate(strongest.units):
        for i in range(3):
            x1, y1, x2, y2 = strongest.boxes[u, i].tolist()
            kernel = model.first.weight[unit, :, 3 - (y2 - y1) if y1 == 0 else 0 :, 3 - (x2 - x1) if x1 == 0 else 0 :]
            seen = kernel[:, : y2 - y1, : x2 - x1].flatten()
            torch.testing.assert_close(strongest.pictures[u, i][~strongest.patches[u, i].isnan()], seen)


@pytest.mark.parametrize(("picture", "method"), [("guided", pixels.guided_backprop), ("deconvnet", pixels.deconvnet)])
def test_the_picture_is_that_of_pixels_for_one_value(picture: Any, method: Callable[..., Tensor]) -> None:
    model, probe = fixed(Deep), probe_of(size=(24, 20))
    strongest = features.strongest_patches(model, probe, "second", [3], k=1, picture=picture)
    y, x = strongest.places[0, 0].tolist()

    def value(net: nn.Module, inputs: Tensor) -> Tensor:
        grid = net.second(net.pool(net.rectify(net.first(inputs))))
        return torch.stack([grid[:, 3, y, x]] * 4, 1)

    maps = method(model, probe, forward=value)[strongest.images[0, 0]]

    x1, y1, x2, y2 = strongest.boxes[0, 0].tolist()
    assert float(maps.sum()) == pytest.approx(float(maps[y1:y2, x1:x2].sum()))  # nothing beyond the patch
    drawn = strongest.pictures[0, 0].abs().amax(0)
    torch.testing.assert_close(drawn[: y2 - y1, : x2 - x1], maps[y1:y2, x1:x2])


def test_a_model_without_relus_has_patches_and_no_pictures() -> None:
    strongest = features.strongest_patches(fixed(lambda: Deep(F.gelu)), probe_of(), "second")

    assert strongest.pictures is None
    assert strongest.patches.isfinite().any()


def test_boxes_are_in_pixels_where_preprocess_resizes() -> None:
    small, large = probe_of(size=(24, 20)), probe_of(size=(24, 20), preprocess=Resize((48, 40), antialias=True))

    strongest = features.strongest_patches(fixed(Deep), large, "first", [0], k=3)

    sides = strongest.boxes[..., 2:] - strongest.boxes[..., :2]
    assert sides.max() <= 3  # 3 of the model's pixels begin in 3 of the image's at most
    assert strongest.pictures.shape == strongest.patches.shape
    assert features.strongest_patches(fixed(Deep), small, "first", [0], k=3).patches.shape[-1] == 3


def test_an_image_whose_activation_is_not_finite_comes_last() -> None:
    probe = probe_of(preprocess=lambda images: torch.cat([images[:1] * torch.nan, images[1:]]))

    strongest = features.strongest_patches(fixed(Deep), probe, "first", [0])

    assert int(strongest.images[0, 2]) == 0
    assert strongest.activations[0].isnan().tolist() == [False, False, True]


def test_where_nobody_names_units_those_that_tell_images_apart_are_taken() -> None:
    model = fixed(lambda: nn.Sequential(nn.Conv2d(3, 11, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(11, 4)))
    model[0].weight.data[2:5] = 0  # the same answer to all images

    assert features.strongest_patches(model, probe_of()).units == (0, 1, 5, 6, 7, 8, 9, 10)


def test_units_and_layers_that_cannot_be_are_told() -> None:
    model, probe = fixed(Deep), probe_of()

    with pytest.raises(ValueError, match=r"units from 0 to 3, which layer 'first' has, found \[4\]"):
        features.strongest_patches(model, probe, "first", [4])
    with pytest.raises(ValueError, match="no layer 'frist' in Deep; did you mean 'first'"):
        features.strongest_patches(model, probe, "frist")
    with pytest.raises(ValueError, match="k=0"):
        features.strongest_patches(model, probe, k=0)
    with pytest.raises(RuntimeError, match="no way from layer 'stage' of DetachedStem to the pixels"):
        features.strongest_patches(fixed(DetachedStem), probe, "stage")


class DetachedStem(Net):
    def features(self, x: Tensor) -> Tensor:
        return self.stage(self.stem(x).detach())


# ---- invariance ------------------------------------------------------------------------------------------------------


def test_invariance_is_a_loop_over_images_and_grades() -> None:
    model, normalize = fixed(Net).double(), Normalize([0.2, 0.5, 0.7], [0.5, 0.25, 2.0])
    probe = probe_of(preprocess=normalize)
    curve = features.invariance(model, probe, ["stem.0", "head"], transforms=FEW, batch_size=2)["shift"]
    model.eval()

    @torch.no_grad()
    def answer(image: Tensor) -> tuple[Tensor, Tensor]:
        inputs = normalize(image[None]).double()
        return model.stem[0](inputs).flatten(), model(inputs).flatten()

    for n, image in enumerate(probe.images):
        up, down = torch.full_like(image, 0.5), torch.full_like(image, 0.5)
        up[:, :-3], down[:, 3:] = image[:, 3:], image[:, :-3]
        for g, moved in enumerate((up, image, down)):
            for i in range(2):
                distance = math.dist(answer(moved)[i].tolist(), answer(image)[i].tolist())
                assert float(curve.distances[i, g, n]) == pytest.approx(distance, rel=1e-5, abs=1e-5)
            probability = answer(moved)[1].softmax(0)[probe.targets[n]]
            assert float(curve.probabilities[g, n]) == pytest.approx(float(probability), rel=1e-5)
    pairs = [math.dist(answer(a)[0].tolist(), answer(b)[0].tolist()) ** 2 for a, b in combinations(probe.images, 2)]
    assert float(curve.spread[0]) == pytest.approx(math.sqrt(sum(pairs) / 3), rel=1e-5)
    assert float(curve.relative[0, 0]) == pytest.approx(float(curve.distances[0, 0].mean() / curve.spread[0]))


def test_pictures_turn_clockwise_and_grow_about_their_middle() -> None:
    image = models.images(1, 9, 9)
    ramp = torch.linspace(0, 1, 9).expand(1, 1, 9, 9)

    torch.testing.assert_close(turned(image, 90), image.rot90(-1, (2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned(image, 360), image, atol=1e-4, rtol=0)
    torch.testing.assert_close(enlarged(ramp, 2), 0.25 + ramp / 2, atol=1e-5, rtol=0)
    assert (shifted(image, 0.5)[:, :, :4] == 0.5).all()
    assert shifted(image, 0.0) is image


def test_nothing_moves_at_the_grade_that_changes_nothing() -> None:
    curves = features.invariance(fixed(Net), probe_of())

    assert curves.keys() == {"shift", "scale", "rotation"}
    assert curves["scale"].layers == ("stem.0", "stage")
    assert float(curves["scale"].distances[:, 0].max()) == 0
    assert float(curves["scale"].distances[:, 1:].min()) > 0


def test_a_single_image_and_equal_images_have_no_relative_distance() -> None:
    one = features.invariance(fixed(Net), probe_of(1), transforms=FEW)["shift"]
    equal = Probe(torch.full((2, 3, 12, 16), 0.25), torch.tensor([0, 1]), classes=CLASSES)

    assert one.relative.isnan().all()
    assert one.distances.isfinite().all()
    assert features.invariance(fixed(Net), equal, "stem.0", transforms=FEW)["shift"].relative.isnan().all()


def test_a_relu_in_place_behind_a_layer_does_not_reach_its_features() -> None:
    builds = (partial(Net, inplace=True), partial(Net, inplace=False))
    one, other = (features.invariance(fixed(build), probe_of(), "stage.1", transforms=FEW)["shift"] for build in builds)

    assert torch.equal(one.distances, other.distances)


# ---- part correspondence ---------------------------------------------------------------------------------------------

BOXES = torch.tensor([[2, 1, 8, 7], [3, 2, 9, 8], [8, 4, 16, 12]])


def test_part_correspondence_is_the_hamming_distance_of_signs() -> None:
    model, probe = fixed(Net).double(), probe_of(labels=(1, 1, 1))
    table = features.part_correspondence(model, probe, BOXES, ["stage", "head"], n_random=1, batch_size=2)
    model.eval()
    hidden = probe.images.clone()
    for image, (x1, y1, x2, y2) in zip(hidden, BOXES.tolist(), strict=True):
        image[:, y1:y2, x1:x2] = 0.5

    for row, answer in zip(table, (model.features, model), strict=True):
        both = zip(probe.images.double(), hidden.double(), strict=True)
        taken = [(answer(plain[None]) - answer(covered[None])).flatten().tolist() for plain, covered in both]
        signs = [[(value > 0) - (value < 0) for value in values] for values in taken]
        shares = [sum(a != b for a, b in zip(*pair, strict=True)) / len(signs[0]) for pair in combinations(signs, 2)]
        assert row.distance == pytest.approx(sum(shares) / 3)
        assert row.deviation == pytest.approx(math.sqrt(sum((share - sum(shares) / 3) ** 2 for share in shares) / 2))
    assert [row.layer for row in table] == ["stage", "head"]


def test_only_images_of_a_class_are_compared() -> None:
    model = fixed(Net)
    alone = features.part_correspondence(model, probe_of(2), BOXES[:2], "stage")
    beside = features.part_correspondence(model, probe_of(3, labels=(1, 1, 3)), BOXES, "stage")

    assert alone[0].distance == beside[0].distance
    assert math.isnan(alone[0].deviation)


def test_a_part_that_a_unit_finds_corresponds_and_random_places_do_not() -> None:
    """A bright square lies at another place in each image, and random ones cover it or dark noise."""
    noise, boxes = torch.Generator().manual_seed(0), torch.tensor([[2, 2, 6, 6], [9, 3, 13, 7], [4, 10, 8, 14]])
    images = 0.5 + 0.2 * (torch.rand(3, 1, 16, 16, generator=noise) - 0.5)
    for image, (x1, y1, x2, y2) in zip(images, boxes.tolist(), strict=True):
        image[:, y1:y2, x1:x2] = 1
    model = nn.Sequential(nn.Conv2d(1, 4, 4, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model[0].weight.data.fill_(1)

    row = features.part_correspondence(model, Probe(images, torch.zeros(3).long()), boxes, "3")[0]

    assert row.distance == 0
    assert row.random > 0.2
    assert row.corresponds


@pytest.mark.parametrize(
    ("boxes", "labels", "said"),
    [
        pytest.param(BOXES[:2], (1, 1, 1), r"\(3, 4\), found \(2, 4\)", id="one too few"),
        pytest.param(BOXES + 5, (1, 1, 1), "images of 16 x 12 pixels, found .* for b_1", id="outside"),
        pytest.param(BOXES[:, [2, 1, 0, 3]], (1, 1, 1), "x1 < x2", id="empty"),
        pytest.param(BOXES * torch.nan, (1, 1, 1), "x1 < x2", id="nan"),
        pytest.param(BOXES, (0, 1, 2), "two images of a class", id="no pair"),
    ],
)
def test_parts_that_cannot_be_compared_are_told(boxes: Tensor, labels: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        features.part_correspondence(fixed(Net), probe_of(labels=labels), boxes)


# ---- activation maximisation -----------------------------------------------------------------------------------------


class Linear(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * 4 * 5, 4))


def test_a_linear_model_is_maximised_along_its_weights() -> None:
    """``w x - decay ||x - 1/2||^2`` is highest at ``x - 1/2 = w / (2 decay)``."""
    model, probe = fixed(Linear), probe_of(size=(4, 5))
    weights = model[1].weight[2].view(3, 4, 5).detach()

    found = features.activation_maximisation(model, 2, probe, jitter=0, decay=1.0, n_steps=150, learning_rate=0.05)

    torch.testing.assert_close(found.images[0], 0.5 + weights / 2, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.scores[-1], model(found.images)[:, 2].detach())
    assert found.scores.shape == (151, 1)


def test_a_channel_is_maximised_through_preprocess() -> None:
    model, normalize = fixed(Net), Normalize([0.5] * 3, [0.25] * 3, inplace=True)
    probe = probe_of(preprocess=normalize)

    found = features.activation_maximisation(
        model, 3, probe, layer="stem.0", n_images=2, n_steps=40, learning_rate=0.05
    )

    with torch.no_grad():
        means = model.eval().stem[0](normalize(found.images.clone()))[:, 3].mean((1, 2))
    torch.testing.assert_close(found.scores[-1], means)
    assert (found.scores[-1] > found.scores[0] + 0.1).all()
    assert not torch.equal(found.images[0], found.images[1])
    assert float(found.images.min()) >= 0
    assert float(found.images.max()) <= 1


def test_a_trained_network_is_sure_of_what_was_found() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        stripes = torch.rand(64, 1, 12, 12) * 0.3
        stripes[:32, :, ::4] += 0.6
        stripes[32:, :, :, ::4] += 0.6
        labels, optimizer = torch.arange(64) // 32, torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(model(stripes), labels).backward()
            optimizer.step()
    probe = Probe(stripes[[0, 40]], torch.tensor([0, 1]))

    for label in (0, 1):
        found = features.activation_maximisation(model, label, probe, n_steps=60)

        assert model(found.images).softmax(1)[0, label].item() > 0.9


def test_a_maximisation_is_the_same_each_time_and_another_with_another_seed() -> None:
    model, probe, state = fixed(Net), probe_of(), torch.get_rng_state()
    first = features.activation_maximisation(model, 1, probe, n_steps=3).images

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)  # the global state plays no part
        assert torch.equal(first, features.activation_maximisation(model, 1, probe, n_steps=3).images)
    other = torch.Generator().manual_seed(1)
    assert not torch.equal(first, features.activation_maximisation(model, 1, probe, n_steps=3, generator=other).images)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_maximised_is_told() -> None:
    with pytest.raises(RuntimeError, match="Net to the pixels, so nothing can be maximised"):
        features.activation_maximisation(fixed(Net), 0, probe_of(preprocess=torch.detach))
    with pytest.raises(ValueError, match="class indices from 0 to 3"):
        features.activation_maximisation(fixed(Net), 4, probe_of())
    with pytest.raises(ValueError, match="n_steps=0"):
        features.activation_maximisation(fixed(Net), 0, probe_of(), n_steps=0)


# ---- what holds for all ----------------------------------------------------------------------------------------------


FAST = ("training", "in-place", "no_grad forward", "inference forward", "bfloat16")


def all_of(model: nn.Module, probe: Probe) -> list[Tensor]:
    late = "stage.1" if isinstance(model, models.Residual) else ("stage", "norm")  # its stage as a whole never runs
    layers = [name for name, _ in model.named_modules() if name.endswith(late)][:1]
    strongest = features.strongest_patches(model, probe, layers[0], k=2, batch_size=2)
    curve = features.invariance(model, probe, layers, transforms=FEW, batch_size=2)["shift"]
    parts = features.part_correspondence(model, probe, BOXES, layers, n_random=1, batch_size=2)
    ideal = features.activation_maximisation(model, 1, probe, n_steps=2)
    return [strongest.patches, curve.distances, torch.tensor(parts[0][1:2]), ideal.images]


@pytest.mark.parametrize(
    "kind", [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_everything_is_the_same_afterwards(kind: str) -> None:
    model, probe = KINDS[kind](), probe_of()
    before = fingerprint(model)

    try:
        results = all_of(model, probe)
    except RuntimeError:
        assert kind == "detached head"
    else:
        assert all(result[~result.isnan()].numel() for result in results)

    assert changed(before, fingerprint(model)) == []


def test_it_works_where_gradients_are_off() -> None:
    model, probe = fixed(Net).train(), probe_of()
    expected = all_of(model, probe)

    with torch.inference_mode():
        inside = all_of(model, probe)

    for result, known in zip(inside, expected, strict=True):
        assert torch.equal(result.clone().nan_to_num(), known.nan_to_num())

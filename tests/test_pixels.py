"""Explanations of pixels equal slow ones written from the papers, and leave the model as it is."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2 import Normalize, Resize

from house import models
from house import reference_pixels as reference
from house.kinds import KINDS, changed
from house.models import N_CLASSES, Net, fingerprint, fixed
from lightning_cam import LightningCAMWarning, Probe, examine, pixels
from lightning_cam.attribution import engine, targets

LABELS = torch.tensor([1, 0, 3])


def guided_grad_cam(model: nn.Module, probe: Probe, **options: Any) -> Tensor:
    """What speaks against the own class: what speaks for it is nowhere in these untrained networks."""
    names = dict(model.named_modules())
    layers = [name for name in ("norm", "net.stage", "_orig_mod.stage", "stage") if name in names]
    layers = ["stage.1"] if isinstance(model, models.Residual) else layers  # its stage as a whole never runs
    against = {"score": lambda logits: -targets.true_class(probe.targets)(logits), "layer": layers[0]}
    return pixels.guided_grad_cam(model, probe, **(against | options))


METHODS: dict[str, Callable[..., Tensor]] = {
    "saliency": pixels.saliency,
    "loss": partial(pixels.saliency, of="loss"),
    "smooth_grad": partial(pixels.smooth_grad, n_samples=3),
    "guided_backprop": pixels.guided_backprop,
    "deconvnet": pixels.deconvnet,
    "integrated_gradients": partial(pixels.integrated_gradients, n_steps=3),
    "guided_grad_cam": guided_grad_cam,
    "occlusion": partial(pixels.occlusion, block=6),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
every_kind = pytest.mark.parametrize("kind", KINDS)


def probe_of(n: int = 3, size: tuple[int, int] = (12, 16), **options: Any) -> Probe:
    return Probe(models.images(n, *size), LABELS[:n], classes=["a", "b", "c", "d"], **options)


def with_a_bright_one() -> Probe:
    """The last of three."""
    return Probe(torch.cat([models.images(2), torch.ones(1, 3, 12, 16)]), LABELS, classes=["a", "b", "c", "d"])


class Chain(nn.Module):
    """What `reference_pixels` computes: two convolutions, a pooling between, a head on the means."""

    def __init__(self, rectify: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.head = nn.Linear(5, N_CLASSES)
        self.rectify = rectify

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.rectify(self.first(x)), 2)
        return self.head(self.rectify(self.second(x)).mean((2, 3)))

    def written_out(self, ceiling: float = float("inf")) -> reference.Chain:
        first, second, head = (
            [layer.weight.double().tolist(), layer.bias.double().tolist()]
            for layer in (self.first, self.second, self.head)
        )
        relus = [reference.ReLU(ceiling), reference.ReLU(ceiling)]
        return [
            reference.Convolution(*first), relus[0], reference.MaxPool(), reference.Convolution(*second), relus[1],
            reference.Head(*head),
        ]  # fmt: skip


class Overflowing(Net):
    """A bright image has infinite scores, but finite gradients."""

    def forward(self, x: Tensor) -> Tensor:
        is_bright = x.detach().mean((1, 2, 3)) > 0.7
        return super().forward(x) + torch.where(is_bright, torch.inf, 0.0)[:, None]


def by_hand(chain: reference.Chain, inputs: Tensor, rule: str = "gradient") -> Tensor:
    """Largest magnitude over the colours of the gradient of each image's own logit."""
    rows = zip(inputs.double().tolist(), LABELS.tolist(), strict=False)
    gradients = [reference.gradient(chain, image, reference.one_hot(label, N_CLASSES), rule) for image, label in rows]
    return torch.tensor([reference.largest_magnitude(gradient) for gradient in gradients])


def same(maps: Tensor, expected: Tensor) -> None:
    assert maps.dtype == torch.float32
    largest = float(expected.nan_to_num().abs().max())
    assert largest > 0
    torch.testing.assert_close(maps.double(), expected.double(), atol=1e-6 * largest, rtol=1e-4, equal_nan=True)


# ---- values ----------------------------------------------------------------------------------------------------------


def test_saliency_is_simonyans() -> None:
    model, probe = fixed(Chain), probe_of(size=(6, 8))

    same(pixels.saliency(model, probe), by_hand(model.written_out(), probe.images))


def test_saliency_of_the_loss_weighs_every_class() -> None:
    model, probe = fixed(Chain), probe_of(2, size=(6, 4))
    chain, expected = model.written_out(), []
    for image, label in zip(probe.images.double().tolist(), LABELS.tolist(), strict=False):
        probabilities = torch.tensor(reference.logits(chain, image), dtype=torch.float64).softmax(0)
        slopes = [float(p) - (k == label) for k, p in enumerate(probabilities)]  # of -log p_label
        expected.append(reference.largest_magnitude(reference.gradient(chain, image, slopes)))

    same(pixels.saliency(model, probe, of="loss"), torch.tensor(expected))


def test_the_gradient_is_that_of_the_model_input() -> None:
    model, normalize = fixed(Chain), Normalize([0.2, 0.5, 0.7], [0.5, 0.25, 2.0])
    probe = probe_of(2, size=(6, 4), preprocess=normalize)

    same(pixels.saliency(model, probe), by_hand(model.written_out(), normalize(probe.images)))


def test_smooth_grad_is_the_mean_of_signed_gradients() -> None:
    model, probe = fixed(Chain), probe_of(2, size=(6, 4))
    chain, noise = model.written_out(), torch.Generator().manual_seed(5)
    total = torch.zeros(2, 3, 6, 4, dtype=torch.float64)
    for _ in range(4):
        sample = torch.randn(3, 6, 4, generator=noise).double()
        for n, image in enumerate(probe.images.double()):
            noisy = image + 0.3 * (image.max() - image.min()) * sample
            weights = reference.one_hot(int(LABELS[n]), N_CLASSES)
            total[n] += torch.tensor(reference.gradient(chain, noisy.tolist(), weights), dtype=torch.float64)

    generator = torch.Generator().manual_seed(5)
    maps = pixels.smooth_grad(model, probe, n_samples=4, noise=0.3, generator=generator)

    same(maps, (total / 4).abs().amax(1))


def test_smooth_grad_without_noise_is_saliency() -> None:
    model, probe = fixed(Net), probe_of()

    same(pixels.smooth_grad(model, probe, n_samples=2, noise=0.0), pixels.saliency(model, probe))


def test_integrated_gradients_is_sundararajans_mean_along_the_line() -> None:
    model, probe = fixed(Chain), probe_of(2, size=(6, 4))
    chain, dark = model.written_out(), torch.full((3, 6, 4), 0.25)
    expected = []
    for n, image in enumerate(probe.images.double()):
        total, weights = torch.zeros(3, 6, 4, dtype=torch.float64), reference.one_hot(int(LABELS[n]), N_CLASSES)
        for k in range(1, 4):
            point = dark + (2 * k - 1) / 6 * (image - dark)
            total += torch.tensor(reference.gradient(chain, point.tolist(), weights), dtype=torch.float64)
        expected.append(((image - dark) * total / 3).sum(0))

    same(pixels.integrated_gradients(model, probe, n_steps=3, baseline=dark), torch.stack(expected))


@pytest.mark.parametrize("preprocess", [None, Normalize([0.2, 0.5, 0.7], [0.5, 0.25, 2.0])], ids=["pixels", "normal"])
def test_integrated_gradients_add_up_to_the_difference_of_the_scores(preprocess: Any) -> None:
    model, probe = fixed(Net), probe_of(preprocess=preprocess)

    maps = pixels.integrated_gradients(model, probe, n_steps=200)

    logits = [engine.predict(model, probe.prepare(x)) for x in (probe.images, torch.zeros_like(probe.images))]
    own = [scores.gather(1, LABELS[:, None])[:, 0] for scores in logits]
    torch.testing.assert_close(maps.sum((1, 2)), own[0] - own[1], atol=5e-3, rtol=0)
    assert float(maps.min()) < 0


def test_guided_grad_cam_is_the_product_of_both() -> None:
    model, probe = fixed(Net), Probe(models.images(), torch.full((3,), 2), classes=["a", "b", "c", "d"])
    edges = pixels.guided_backprop(model, probe)
    attention = examine(model, probe, layer="stage", trials=()).maps

    maps = pixels.guided_grad_cam(model, probe, layer="stage")

    same(maps, edges * attention)
    assert not torch.equal(maps, edges)


def test_guided_grad_cam_finds_its_layer() -> None:
    model, probe = fixed(Net), Probe(models.images(2, 32, 48), torch.tensor([2, 2]), classes=["a", "b", "c", "d"])

    assert torch.equal(pixels.guided_grad_cam(model, probe), pixels.guided_grad_cam(model, probe, layer="stage"))


@pytest.mark.parametrize(("block", "stride"), [(3, 2), (2, 3), (1, 1), (9, 1), (5, 4)])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_occlusion_is_zeilers(block: int, stride: int, batch_size: int) -> None:
    model = fixed(Net).eval()
    sharp = Normalize([0.2, 0.5, 0.7], [0.001, 0.002, 0.003])  # so that the block changes the answer
    probe = probe_of(2, size=(6, 8), preprocess=sharp)
    drops, classes = zip(*(hide(model, probe, n, block, stride) for n in range(2)), strict=True)

    maps = pixels.occlusion_maps(model, probe, block=block, stride=stride, fill=0.25, batch_size=batch_size)

    same(maps.drop, torch.stack(drops))
    assert torch.equal(maps.predicted, torch.stack(classes))
    assert block > 6 or len(maps.predicted.unique()) > 1


def test_occlusion_of_a_score_that_is_not_finite_has_no_class() -> None:
    maps = pixels.occlusion_maps(fixed(Overflowing), with_a_bright_one())

    assert (maps.predicted[2] == -1).all()
    assert (maps.predicted[:2] >= 0).all()
    assert maps.predicted.dtype == torch.long


def hide(model: nn.Module, probe: Probe, n: int, block: int, stride: int) -> tuple[Tensor, Tensor]:
    """Both maps of one image, place by place and pixel by pixel."""

    def ask(picture: Tensor) -> tuple[float, int]:
        with torch.no_grad():
            probabilities = model(probe.prepare(picture[None]))[0].double().softmax(0)
        return float(probabilities[LABELS[n]]), int(probabilities.argmax())

    height, width = probe.images.shape[-2:]
    tops, lefts = (sorted({*range(0, max(n - block, 0), stride), max(n - block, 0)}) for n in (height, width))
    answers = {}
    for top, left in product(tops, lefts):
        picture = probe.images[n].clone()
        picture[:, top : top + block, left : left + block] = 0.25
        answers[top, left, min(top + block, height), min(left + block, width)] = ask(picture)
    whole, _ = ask(probe.images[n])
    drop, predicted = torch.zeros(height, width, dtype=torch.float64), torch.zeros(height, width, dtype=torch.long)
    for i, j in product(range(height), range(width)):
        covering = [p for (t, left, b, r), (p, _) in answers.items() if t <= i < b and left <= j < r]
        drop[i, j] = sum(whole - p for p in covering) / len(covering) if covering else torch.nan
        predicted[i, j] = min(
            (abs(2 * i - (t + b - 1)), abs(2 * j - (left + r - 1)), t, left, answer)
            for (t, left, b, r), (_, answer) in answers.items()
        )[-1]
    return drop, predicted


# ---- at ReLUs --------------------------------------------------------------------------------------------------------


def in_place(function: Callable[..., Tensor], *options: Any) -> Callable[[Tensor], Tensor]:
    """In place on an alias: what the model goes on with is not what the call returned."""

    def rectify(x: Tensor) -> Tensor:
        function(x, *options)
        return x

    return rectify


def on_a_view(x: Tensor) -> Tensor:
    x.flatten(1).relu_()
    return x


class Scripted(nn.Module):
    """A ReLU in a TorchScript function, where Python sees no call."""

    def __init__(self) -> None:
        super().__init__()
        self.rectify = torch.jit.script(nn.Sequential(nn.Identity(), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        return self.rectify(x)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x * 2) + 1


RECTIFIERS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "one module, used twice": nn.ReLU,
    "module in place": lambda: nn.ReLU(inplace=True),
    "F.relu": lambda: F.relu,
    "F.relu in place": lambda: in_place(F.relu, True),
    "F.relu_": lambda: in_place(F.relu_),
    "torch.relu": lambda: torch.relu,
    "torch.relu_": lambda: in_place(torch.relu_),
    "x.relu()": lambda: Tensor.relu,
    "x.relu_()": lambda: in_place(Tensor.relu_),
    "x.flatten(1).relu_()": lambda: on_a_view,
    "x.clamp(min=0)": lambda: lambda x: x.clamp(min=0),
    "x.clamp_min(0)": lambda: lambda x: x.clamp_min(0),
    "x.clamp_(min=0)": lambda: lambda x: x.clamp_(min=0),
    "threshold": lambda: nn.Threshold(0, 0),
    "threshold in place": lambda: nn.Threshold(0, 0, inplace=True),
    "TorchScript": Scripted,
}
CEILINGS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "nn.ReLU6": nn.ReLU6,
    "nn.ReLU6 in place": lambda: nn.ReLU6(inplace=True),
    "F.relu6": lambda: F.relu6,
    "F.relu6 in place": lambda: in_place(F.relu6, True),
    "hardtanh": lambda: nn.Hardtanh(0, 6),
    "x.clamp(0, 6)": lambda: lambda x: x.clamp(0, 6),
}
RULES = {"guided": pixels.guided_backprop, "deconvnet": pixels.deconvnet}
every_rule = pytest.mark.parametrize("rule", RULES)


@every_rule
@pytest.mark.parametrize("name", RECTIFIERS)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_rule_holds_at_every_kind_of_relu(rule: str, name: str) -> None:
    model, probe = fixed(lambda: Chain(RECTIFIERS[name]())), probe_of(2, size=(6, 4))
    expected = by_hand(fixed(Chain).written_out(), probe.images, rule)

    same(RULES[rule](model, probe), expected)
    assert not torch.allclose(expected, by_hand(fixed(Chain).written_out(), probe.images), rtol=0.1)


@every_rule
@pytest.mark.parametrize("name", CEILINGS)
def test_a_ceiling_closes_a_relu6(rule: str, name: str) -> None:
    model, probe = fixed(lambda: Chain(CEILINGS[name]())), probe_of(2, size=(6, 4))
    bright = probe.with_preprocess(lambda images: 40 * images)
    inputs = 40 * probe.images

    expected = by_hand(fixed(Chain).written_out(6), inputs, rule)

    same(RULES[rule](model, bright), expected)
    if rule == "guided":
        assert not torch.allclose(expected, by_hand(fixed(Chain).written_out(), inputs, rule), rtol=0.1)


@every_rule
@pytest.mark.parametrize(
    ("activation", "said"),
    [(nn.GELU, "GELU"), (nn.SiLU, "SiLU"), (nn.LeakyReLU, "LeakyReLU"), (nn.Tanh, "no activation"), (nn.Hardtanh, "")],
)
def test_a_network_without_relus_is_an_error(rule: str, activation: type[nn.Module], said: str) -> None:
    with pytest.raises(ValueError, match=f"Chain has no ReLU.*{said}.*plain gradient; use saliency"):
        RULES[rule](fixed(lambda: Chain(activation())), probe_of())


@every_rule
def test_other_activations_beside_relus_are_told(rule: str) -> None:
    class Mixed(Chain):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.silu(F.hardswish(x)))

    with pytest.warns(LightningCAMWarning, match="2 ReLUs and 2 other activations .Hardswish and SiLU."):
        RULES[rule](fixed(Mixed), probe_of())


@every_rule
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_relus_that_torchscript_hides_are_an_error(rule: str) -> None:
    script = torch.jit.script(Doubled())
    for _ in range(2):
        script(models.images().requires_grad_()).sum().backward()  # it becomes one operation when it has run

    with pytest.raises(ValueError, match="TorchScript hides the ReLUs of Chain"):
        RULES[rule](fixed(lambda: Chain(script)), probe_of())


# ---- what holds for all ----------------------------------------------------------------------------------------------


@every_method
def test_a_map_depends_on_its_own_image_alone(method: Callable[..., Tensor]) -> None:
    model, probe = fixed(Net), probe_of()
    maps = method(model, probe)

    for options in ({"batch_size": 1}, {"batch_size": 2}):
        torch.testing.assert_close(method(model, probe, **options), maps, atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(method(model, probe.select([2, 0])), maps[[2, 0]], atol=1e-7, rtol=1e-4)
    assert maps.shape == (3, 12, 16)
    assert maps.device.type == "cpu"
    assert not maps.requires_grad
    assert float(maps.flatten(1).std(1).min()) > 0


@every_method
def test_an_image_without_a_finite_score_has_a_map_of_nan_and_no_other(method: Callable[..., Tensor]) -> None:
    maps = method(fixed(Overflowing), with_a_bright_one())

    assert maps[2].isnan().all()
    assert maps[:2].isfinite().all()


@every_method
@every_kind
def test_everything_is_the_same_afterwards(method: Callable[..., Tensor], kind: str) -> None:
    model, probe = KINDS[kind](), probe_of()
    before = fingerprint(model)

    try:
        maps = method(model, probe, batch_size=2)
    except RuntimeError:
        assert kind == "detached head"
    else:
        assert maps.isfinite().all()
        assert float(maps.abs().max()) > 0

    assert changed(before, fingerprint(model)) == []


@every_method
def test_it_works_where_gradients_are_off(method: Callable[..., Tensor]) -> None:
    model, probe = fixed(Net), probe_of()
    expected = method(model, probe)

    with torch.inference_mode():
        inside = method(model, probe)
    with torch.no_grad():
        without = method(model, probe)

    assert torch.equal(inside.clone(), expected)
    assert torch.equal(without, expected)


@every_method
@pytest.mark.parametrize(
    "build", [models.NoGradBackbone, models.InferenceBackbone, models.InferenceStage, models.NoGradForward]
)
def test_blocks_without_gradients_in_the_model_are_seen_through(
    method: Callable[..., Tensor], build: type[Net]
) -> None:
    torch.testing.assert_close(method(fixed(build), probe_of()), method(fixed(Net), probe_of()), atol=1e-6, rtol=1e-4)


@every_method
def test_maps_are_as_large_as_the_pictures(method: Callable[..., Tensor]) -> None:
    assert method(fixed(Net), probe_of(2, preprocess=Resize((24, 20)))).shape == (2, 12, 16)


@every_method
def test_forward_and_score_say_what_is_explained(method: Callable[..., Tensor]) -> None:
    model, probe = fixed(Net), probe_of(2)
    shifted = Probe(probe.images, torch.tensor([2, 2]), classes=["a", "b", "c", "d"])
    if "of" in getattr(method, "keywords", {}):  # the loss is a score itself
        with pytest.raises(ValueError, match="pass either that or score="):
            method(model, probe, score=lambda logits: logits[:, 2])
        return

    asked = method(model, probe, score=lambda logits: logits[:, 2])
    returning = fixed(partial(models.Returning, lambda logits: {"a": logits}))
    swapped = method(
        returning, probe.select([1, 0]), forward=lambda module, inputs: module(inputs)["a"][:, [1, 0, 2, 3]]
    )

    same(asked, method(model, shifted, score=targets.true_class(shifted.targets)))
    same(swapped, method(model, Probe(probe.images[[1, 0]], LABELS[:2], classes=["a", "b", "c", "d"])))


def test_a_forward_may_write_into_its_input() -> None:
    class Scaling(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(2))

    probe = probe_of()
    doubled = pixels.saliency(fixed(Scaling), probe)

    same(doubled, 2 * pixels.saliency(fixed(Net), probe.with_preprocess(lambda images: 2 * images)))


def test_the_switch_of_gradients_is_where_the_model_has_put_it() -> None:
    switches = []

    class Asking(Net):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.features(x)
                switches.append(torch.is_grad_enabled())
            switches.append(torch.is_grad_enabled())
            return self.classify(features)

    pixels.saliency(fixed(Asking), probe_of())

    assert switches[-2:] == [False, True]


def test_no_way_to_the_pixels_is_an_error_with_the_way_out() -> None:
    with pytest.raises(RuntimeError, match="no way from the class scores of DetachedHead to the pixels"):
        pixels.saliency(fixed(models.DetachedHead), probe_of())

"""Largest difference to slow oracles that were written from the papers, in float64, by method and architecture.

Run ``python tests/benchmarks/oracles.py [ARCHITECTURE ...]``. The oracles are those of the tests: loops over channels
and places, which know nothing of the package. They get activations and gradients that autograd gives of a network in
float64, by hooks of this script; ours come from the engine, which keeps maps in float32. A difference is in units of
the oracle's largest value: 6e-8 is the rounding of a float32.

``--small`` prints the same for explanations whose oracle needs a network of its own. It runs those tests, and writes
down how far the two sides of their comparisons are apart.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

sys.path.insert(0, str(Path(__file__).parents[1]))
from house import reference_cams, reference_forward_cams
from house.methods import GRADIENT_METHODS
from lightning_cam.attribution import asking, cams, engine, targets

LABELS = torch.tensor([2])
# Layers of 6 x 10 cells and few channels: the oracle of Score-CAM takes half a minute for 100 channels.
LAYERS = {
    "resnet18": "layer2",
    "vgg11_bn": "features.10",
    "densenet121": "features.transition1",
    "mobilenet_v2": "features.6",
    "mobilenet_v3_large": "features.6",
    "efficientnet_b0": "features.3",
    "convnext_tiny": "features.3.1",
    "regnet_y_400mf": "trunk_output.block2",
    "shufflenet_v2_x1_0": "stage2",
}
MOST_CHANNELS = 130  # of layers for the methods of forward passes


def model_of(name: str) -> nn.Module:
    """With running means and variances of noise: without, signals die out, and a score hardly depends on a channel."""
    torch.manual_seed(0)
    model: nn.Module = getattr(models, name)(weights=None, num_classes=7).eval()
    for parameter in list(model.parameters())[-2:]:
        nn.init.normal_(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1.0
    with torch.no_grad():
        model(torch.randn(8, 3, 48, 80))
    return model.eval().double()


def picture() -> Tensor:
    patches = torch.randn((1, 3, 3, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return 3 * F.interpolate(patches, (48, 80), mode="nearest")


def captured(model: nn.Module, layer: str) -> tuple[Tensor, Tensor]:
    """Activations and gradients ``(1, K, h, w)``, by autograd alone."""
    kept: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[0] * 1

    with model.get_submodule(layer).register_forward_hook(cut):
        score = model(picture())[:, LABELS[0]].sum()
    return kept[0].detach(), torch.autograd.grad(score, kept[0])[0]


def from_layer(model: nn.Module, layer: str, activations: Tensor) -> float:
    """The score where the model goes on from ``activations (K, h, w)``."""
    with model.get_submodule(layer).register_forward_hook(lambda *_: activations[None]), torch.no_grad():
        return float(model(picture())[0, LABELS[0]])


def of_input(model: nn.Module, image: Tensor) -> float:
    with torch.no_grad():
        return float(model(image[None])[0, LABELS[0]])


def apart(ours: Tensor, expected: Tensor) -> str:
    largest, difference = float(expected.abs().max()), float((ours.double() - expected).abs().max())
    return f"{difference / largest:.0e}" if largest else f"{difference:.0e} of 0" if difference else "empty"


def row(name: str) -> list[str]:
    model, layer = model_of(name), LAYERS[name]
    activations, gradients = captured(model, layer)
    seen = engine.capture(model, picture(), [targets.true_class(LABELS)], layer=layer)
    cells = [
        apart(
            method(seen.activations, seen.gradients[0]),
            reference_cams.every(getattr(reference_cams, method.__name__), activations, gradients),
        )
        for method in GRADIENT_METHODS
    ]
    if activations.shape[1] > MOST_CHANNELS:
        return [*cells, "", ""]
    score = partial(of_input, model)
    expected = {
        cams.score_cam: lambda: reference_forward_cams.score_cam(picture()[0], activations[0], score),
        cams.ablation_cam: lambda: reference_forward_cams.ablation_cam(
            activations[0], partial(from_layer, model, layer)
        ),
    }
    for method, oracle in expected.items():
        asked = asking.ask(model, picture(), lambda _: [targets.true_class(LABELS)], method, layers=[layer])
        cells.append(apart(asked.maps[0][0], oracle()[None]))
    return cells


# ---- the tests' own networks -----------------------------------------------------------------------------------------


class Recorder:
    """What comparisons in a test were given, in place of the comparisons."""

    def __init__(self) -> None:
        self.largest = 0.0

    def __call__(self, ours: Any, expected: Any, *_: Any, rtol: float = 0.0, **__: Any) -> bool:
        if rtol >= 0.1:  # so coarse are those alone that have to fail
            return False
        one, other = (torch.as_tensor(each, dtype=torch.float64).detach().nan_to_num() for each in (ours, expected))
        scale = float(other.abs().max()) or 1.0
        self.largest = max(self.largest, float((one - other).abs().max()) / scale)
        return True

    def approx(self, expected: Any, **_: Any) -> "Expected":
        return Expected(self, expected)


class Expected:
    __hash__ = None  # type: ignore[assignment]  # it is compared once

    def __init__(self, recorder: Recorder, expected: Any) -> None:
        self.recorder, self.expected = recorder, expected

    def __eq__(self, ours: object) -> bool:
        return self.recorder(ours, self.expected)


@contextmanager
def recording() -> Iterator[Recorder]:
    import test_pixels

    recorder = Recorder()
    with (
        mock.patch.object(torch.testing, "assert_close", recorder),
        mock.patch.object(torch, "allclose", recorder),
        mock.patch("pytest.approx", recorder.approx),
        mock.patch.object(test_pixels, "same", recorder),
    ):
        yield recorder


def small() -> dict[str, list[Callable[[], None]]]:
    """Tests by the name of what they compare with an oracle."""
    import test_attending as attending
    import test_features as features
    import test_localisation as boxes
    import test_pixels as pixels
    import test_trust as trust

    return {
        "saliency": [pixels.test_saliency_is_simonyans],
        "saliency of the loss": [pixels.test_saliency_of_the_loss_weighs_every_class],
        "smooth_grad": [pixels.test_smooth_grad_is_the_mean_of_signed_gradients],
        "integrated_gradients": [pixels.test_integrated_gradients_is_sundararajans_mean_along_the_line],
        "guided_backprop": [partial(pixels.test_a_rule_holds_at_every_kind_of_relu, "guided", "F.relu")],
        "deconvnet": [partial(pixels.test_a_rule_holds_at_every_kind_of_relu, "deconvnet", "F.relu")],
        "guided_grad_cam, as a product": [pixels.test_guided_grad_cam_is_the_product_of_both],
        "occlusion": [partial(pixels.test_occlusion_is_zeilers, 5, 3, 2)],
        "attention_rollout, attention_relevance": [
            partial(attending.test_both_are_the_papers_formulas, "fused", has_class_token=True),
            partial(attending.test_both_are_the_papers_formulas, "written out", has_class_token=False),
        ],
        "deletion": [partial(trust.test_deletion_is_the_papers_algorithm, None)],
        "insertion": [trust.test_insertion_is_the_papers_algorithm_from_a_blurred_image],
        "average_drop": [partial(trust.test_average_drop_is_the_papers, None)],
        "adversarial": [partial(trust.test_the_step_against_the_answer_is_the_papers, None)],
        "occlusion_agreement": [trust.test_agreement_with_occlusion_is_the_rank_correlation_of_both_maps],
        "invariance": [features.test_invariance_is_a_loop_over_images_and_grades],
        "part_correspondence": [features.test_part_correspondence_is_the_hamming_distance_of_signs],
        "MaxBoxAcc": [partial(boxes.test_box_accuracy_is_choes, *boxes.GRIDS[0])],
        "PxAP": [partial(boxes.test_pixel_precision_is_choes, *boxes.GRIDS[0])],
    }


def of_tests(tests: list[Callable[[], None]]) -> str:
    with recording() as recorder:
        for test in tests:
            test()
    return f"{recorder.largest:.0e}"


def table(columns: list[str], rows: Iterator[list[str]]) -> None:
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    for cells in rows:
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if "--small" in sys.argv:
        table(["method", "difference"], ([name, of_tests(tests)] for name, tests in small().items()))
    else:
        methods = [*GRADIENT_METHODS, cams.score_cam, cams.ablation_cam]
        chosen = sys.argv[1:] or list(LAYERS)
        table(["architecture", *(each.__name__ for each in methods)], ([name, *row(name)] for name in chosen))

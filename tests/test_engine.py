"""One forward with the graph cut at a layer gives what a whole backward pass gives, for every kind of model."""

import gc
import itertools
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from house import models
from house.models import N_CLASSES, Net, fixed, images
from lightning_cam.attribution import cutting, engine, targets
from lightning_cam.attribution.engine import capture, predict
from lightning_cam.attribution.outputs import as_logits

Pair = namedtuple("Pair", ["first", "second"])
LABELS = torch.tensor([1, 0, 3])


@dataclass
class Output:
    """As Hugging Face's models return."""

    loss: Tensor | None
    logits: Tensor


def looked(model: nn.Module, layer: str = "stage", inputs: Tensor | None = None, **options: Any) -> engine.Capture:
    return capture(model, images() if inputs is None else inputs, [targets.true_class(LABELS)], layer=layer, **options)


def uncut(model: nn.Module, layer: str, inputs: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, activations and gradients from one backward pass through the whole graph, none of it in place."""
    model = model.eval()
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _layer, _inputs, output: kept.append(output))
    logits = model((images() if inputs is None else inputs).requires_grad_())
    handle.remove()
    scores = sum(row[label] for row, label in zip(logits, LABELS, strict=True))
    (gradients,) = torch.autograd.grad(scores, kept[-1])
    return logits.detach(), kept[-1].detach(), gradients


def assert_equal(seen: engine.Capture, expected: tuple[Tensor, Tensor, Tensor], **tolerance: float) -> None:
    logits, activations, gradients = expected
    torch.testing.assert_close(seen.logits, logits, **tolerance)
    torch.testing.assert_close(seen.activations, activations, **tolerance)
    torch.testing.assert_close(seen.gradients[0], gradients, **tolerance)
    assert gradients.abs().max() > 0


@pytest.mark.parametrize("layer", ["stem", "stem.0", "stage", "stage.1"])
def test_a_capture_is_what_a_whole_backward_pass_gives(layer: str) -> None:
    assert_equal(looked(fixed(Net), layer), uncut(fixed(lambda: Net(inplace=False)), layer))


@pytest.mark.parametrize("layer", ["stem.1", "stage.1"])
def test_what_follows_in_place_does_not_overwrite_the_capture(layer: str) -> None:
    seen, expected = looked(fixed(models.Residual), layer), uncut(fixed(models.ResidualOutOfPlace), layer)

    assert_equal(seen, expected)
    assert seen.activations.min() < 0


@pytest.mark.parametrize(
    "build", [models.NoGradForward, models.NoGradBackbone, models.Checkpointed], ids=lambda build: build.__name__
)
def test_odd_forwards_give_the_same(build: Callable[[], nn.Module]) -> None:
    assert_equal(looked(fixed(build)), uncut(fixed(lambda: Net(inplace=False)), "stage"))


def test_the_last_call_counts() -> None:
    model = fixed(models.Twice)

    seen = looked(model)

    assert_equal(seen, uncut(fixed(models.Twice), "stage"))
    assert seen.n_calls == 2
    assert looked(fixed(Net)).n_calls == 1


@pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode, torch.enable_grad], ids=lambda mode: mode.__name__
)
@pytest.mark.parametrize("build", [Net, models.NoGradBackbone, models.NoGradStage], ids=lambda build: build.__name__)
def test_the_mode_around_does_not_matter(mode: Callable[[], Any], build: Callable[[], nn.Module]) -> None:
    expected = uncut(fixed(lambda: Net(inplace=False)), "stage")
    model = fixed(build)

    with mode():
        inputs = images()
        seen = looked(model, inputs=inputs)

    assert inputs.is_inference() == (mode is torch.inference_mode)
    assert_equal(seen, expected)
    assert not seen.activations.is_inference()
    assert not seen.activations.requires_grad
    assert not seen.logits.requires_grad


def test_frozen_and_training_models_give_the_same() -> None:
    expected = uncut(fixed(lambda: Net(inplace=False)), "stage")

    assert_equal(looked(models.frozen(fixed(Net))), expected)
    assert_equal(looked(fixed(Net).train()), expected)
    assert_equal(looked(models.partly_frozen(fixed(Net))), expected)


def test_an_autocast_region_around_does_not_matter() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        seen = looked(fixed(Net))

    assert_equal(seen, uncut(fixed(lambda: Net(inplace=False)), "stage"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_inputs_take_the_models_precision(dtype: torch.dtype) -> None:
    seen = looked(fixed(Net).to(dtype))

    assert {t.dtype for t in (seen.logits, seen.activations, *seen.gradients)} == {torch.float32}
    assert_equal(seen, uncut(fixed(lambda: Net(inplace=False)), "stage"), atol=0.03, rtol=0.03)


def test_whole_number_parameters_do_not_decide_the_precision() -> None:
    model = fixed(Net)
    model.register_parameter("steps", nn.Parameter(torch.zeros(1, dtype=torch.long), requires_grad=False))
    model._parameters = dict(sorted(model._parameters.items()))

    assert_equal(looked(model), uncut(fixed(lambda: Net(inplace=False)), "stage"))


@pytest.mark.filterwarnings("ignore")  # the compiler's own, about itself
@pytest.mark.parametrize("how", ["wrapper", "in place", "child", "layer"])
def test_compiled_models_give_the_same(how: str) -> None:
    torch.compiler.reset()
    model = fixed(Net).eval()
    if how == "wrapper":
        model = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    else:
        model.stage = torch.compile(model.stage, backend="eager")
    model(images())
    layer = {"wrapper": "_orig_mod.stage.0", "layer": "stage"}.get(how, "stage.0")

    seen = looked(model, layer)
    torch.compiler.reset()

    assert seen.layer == layer.removeprefix("_orig_mod.")
    assert_equal(seen, uncut(fixed(lambda: Net(inplace=False)), seen.layer))


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        pytest.param(lambda x: (x, None), lambda out: out[0], id="tuple"),
        pytest.param(lambda x: [torch.zeros(()), x], lambda out: out[1], id="list with a loss first"),
        pytest.param(lambda x: Pair(x, (x.sum(),)), lambda out: out.first, id="named tuple"),
        pytest.param(lambda x: OrderedDict(n=3, map=x), lambda out: out["map"], id="dict"),
        pytest.param(lambda x: {"maps": (x, x)}, lambda out: sum(out["maps"]) / 2, id="nested, twice"),
        pytest.param(lambda x: (torch.ones(2, 2, 2).long(), x), lambda out: out[1], id="indices first"),
    ],
)
def test_layers_that_return_structures(wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor]) -> None:
    def plain() -> nn.Module:
        return models.Structured(lambda x: x, lambda x: x)

    def structured() -> nn.Module:
        return models.Structured(wrap, unwrap)

    assert_equal(looked(fixed(structured)), uncut(fixed(plain), "stage"))


def test_the_structure_a_layer_returned_is_not_written_to() -> None:
    returned: dict[str, Tensor] = {}

    def remembering(x: Tensor) -> dict[str, Tensor]:
        returned["map"] = x
        return returned

    looked(fixed(lambda: models.Structured(remembering, lambda out: out["map"])))

    assert not returned["map"].requires_grad


def test_channels_last_in_shape_becomes_channels_first() -> None:
    model = fixed(lambda: models.Structured(lambda x: x.permute(0, 2, 3, 1), lambda x: x.permute(0, 3, 1, 2)))

    assert_equal(looked(model), uncut(fixed(lambda: models.Structured(lambda x: x, lambda x: x)), "stage"))


def test_tokens_become_a_grid_without_the_class_token() -> None:
    model = fixed(models.Tokens)
    logits, activations, gradients = uncut(fixed(models.Tokens), "norm")

    seen = looked(model, "norm")

    assert seen.activations.shape == (3, 8, 3, 4)
    torch.testing.assert_close(seen.logits, logits)
    torch.testing.assert_close(seen.activations[:, :, 1, 2], activations[:, 1 + 4 + 2])
    torch.testing.assert_close(seen.gradients[0][:, :, 2, 3], gradients[:, 1 + 8 + 3])


def test_a_layer_inside_a_transformers_shortcut_is_seen() -> None:
    seen = looked(fixed(models.Tokens).eval(), "encoder.layers.0.norm1")

    assert seen.gradients[0].abs().max() > 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_give_the_same(batch_size: int) -> None:
    wanted = [targets.true_class(LABELS), targets.contrast(LABELS), targets.predicted_class(), targets.one_class(2)]

    seen = capture(fixed(Net), images(), wanted, layer="stage", batch_size=batch_size)

    expected = capture(fixed(Net), images(), wanted, layer="stage")
    for part, other in zip(
        (seen.logits, seen.activations, *seen.gradients),
        (expected.logits, expected.activations, *expected.gradients),
        strict=True,
    ):
        torch.testing.assert_close(part, other)


def test_several_targets_come_from_one_forward() -> None:
    calls = itertools.count()  # a list that a hook closes over would be put back
    model = fixed(Net)

    def count(*_: Any) -> None:
        next(calls)

    model.stem.register_forward_hook(count)
    wanted = [targets.one_class(label) for label in range(N_CLASSES)]

    seen = capture(model, images(), wanted, layer="stage")

    assert next(calls) == 1
    for label, gradients in enumerate(seen.gradients):
        one = capture(fixed(Net), images(), [targets.one_class(label)], layer="stage")
        assert torch.equal(gradients, one.gradients[0])


def test_no_targets_give_activations_alone() -> None:
    assert capture(fixed(Net), images(), [], layer="stage").gradients == ()


def test_permuting_the_images_permutes_the_capture() -> None:
    order = torch.tensor([2, 0, 1])

    seen = capture(fixed(Net), images()[order], [targets.true_class(LABELS[order])], layer="stem")

    expected = looked(fixed(Net), "stem")
    torch.testing.assert_close(seen.gradients[0], expected.gradients[0][order])


def test_a_negated_target_negates_the_gradients() -> None:
    seen = capture(fixed(Net), images(), [lambda z: z[:, 1], lambda z: -z[:, 1]], layer="stem")

    assert torch.equal(seen.gradients[0], -seen.gradients[1])


def test_gradients_behind_global_average_pooling_are_the_classifiers_weights() -> None:
    model = fixed(Net)

    seen = looked(model)

    _, _, height, width = seen.activations.shape
    expected = (model.head.weight[LABELS] / (height * width)).detach()
    torch.testing.assert_close(seen.gradients[0], expected[:, :, None, None].expand_as(seen.activations))
    torch.testing.assert_close(
        (seen.gradients[0] * seen.activations).sum((1, 2, 3)) + model.head.bias[LABELS].detach(),
        seen.logits.gather(1, LABELS[:, None])[:, 0],
    )


def test_a_score_that_does_not_depend_on_the_layer_has_no_gradient() -> None:
    seen = capture(fixed(Net), images(), [lambda z: z[:, 0], lambda z: torch.ones(len(z))], layer="stage")

    assert seen.gradients[0].abs().max() > 0
    assert seen.gradients[1].abs().max() == 0


def test_forward_says_how_to_get_scores() -> None:
    seen = looked(fixed(Net), forward=None)
    model = fixed(Net)

    negated = looked(model, forward=lambda x: {"logits": -model(x)})

    assert torch.equal(negated.gradients[0], -seen.gradients[0])
    assert torch.equal(predict(model, images(), forward=lambda x: -model(x)), -seen.logits)


def test_a_prediction_is_a_capture_without_the_layer() -> None:
    torch.testing.assert_close(predict(fixed(Net), images(), batch_size=2), looked(fixed(Net)).logits)


def test_a_prediction_needs_no_graph() -> None:
    with saved_bytes() as saved:
        predict(fixed(Net), images())

    assert sum(saved) == 0


class saved_bytes:  # noqa: N801 - a context, used as one
    """Sizes of what autograd keeps for the backward pass."""

    def __enter__(self) -> list[int]:
        self.sizes: list[int] = []
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda tensor: tensor)
        self.hooks.__enter__()
        return self.sizes

    def pack(self, tensor: Tensor) -> Tensor:
        self.sizes.append(tensor.nbytes)
        return tensor

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)


def test_only_what_lies_behind_the_layer_is_kept_for_the_backward_pass() -> None:
    inputs = images(8, 64, 64)
    wanted = [targets.predicted_class()]

    with saved_bytes() as cut:
        capture(fixed(Net), inputs, wanted, layer="stage")
    with saved_bytes() as whole:
        fixed(Net).eval()(inputs).sum().backward()

    parameters = sum(parameter.nbytes for parameter in fixed(Net).parameters())
    assert sum(cut) < 0.02 * sum(whole)
    assert sum(cut) < parameters + 8 * 1024


def test_a_second_micro_batch_keeps_no_more_than_the_first() -> None:
    with saved_bytes() as saved:
        capture(fixed(Net), images(8, 64, 64), [targets.predicted_class()], layer="stage", batch_size=4)

    first, second = saved[: len(saved) // 2], saved[len(saved) // 2 :]
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("build", [Net, models.NoGradBackbone, models.Checkpointed], ids=lambda build: build.__name__)
def test_thirty_captures_leave_nothing_behind(build: Callable[[], nn.Module]) -> None:
    def alive() -> int:
        return sum(type(thing) in (Tensor, nn.Parameter) for thing in gc.get_objects())

    model = fixed(build)
    looked(model)
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(30):
            looked(model)
        assert alive() <= before
    finally:
        gc.enable()


def test_another_thread_trains_on_undisturbed() -> None:
    model = fixed(Net)
    gradients: list[Tensor] = []

    def train() -> None:
        torch.set_grad_enabled(True)
        scores = model.head(model.features(images()).mean((2, 3))).sum()
        gradients.extend(torch.autograd.grad(scores, [model.stem[0].weight]))

    def forward(x: Tensor) -> Tensor:
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        return model(x)

    seen = looked(model, forward=forward)

    assert gradients[0].abs().max() > 0
    assert_equal(seen, uncut(fixed(lambda: Net(inplace=False)), "stage"))


def test_no_hook_is_left_on_the_layer() -> None:
    model = fixed(Net)
    kept: list[int] = []
    remaining = cutting.cut([model.stage])

    with remaining:
        kept.append(len(model.stage._forward_hooks))

    assert kept == [1]
    assert len(model.stage._forward_hooks) == 0


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        pytest.param(models.DetachedHead, "stage", id="detached"),
        pytest.param(lambda: models.Returning(lambda z: z.argsort(1).float()), "stage", id="ranks"),
    ],
)
def test_scores_cut_off_from_the_layer_are_an_error(build: Callable[[], nn.Module], layer: str) -> None:
    with pytest.raises(
        RuntimeError, match=r"class scores to layer 'stage'.* choose a layer behind it.*use_reentrant=False"
    ):
        looked(fixed(build), layer)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
def test_a_reentrant_checkpoint_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        looked(fixed(models.ReentrantCheckpoint))


@pytest.mark.parametrize("build", [models.ByPixel, lambda: models.frozen(models.ByPixel())], ids=["", "frozen"])
def test_a_layer_that_does_not_run_is_an_error(build: Callable[[], nn.Module]) -> None:
    with pytest.raises(RuntimeError, match=r"layer 'unused' does not run .* choose another one"):
        looked(fixed(build), "unused")


def test_a_layer_without_a_map_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"returns a feature map, found Tensor; choose"):
        looked(fixed(models.ByPixel), "early")


def test_an_unknown_layer_is_an_error() -> None:
    with pytest.raises(ValueError, match="no layer 'stages' in Net"):
        looked(fixed(Net), "stages")


def test_a_target_must_give_one_score_per_image() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) scores, one per image, found \(3, 4\)"):
        capture(fixed(Net), images(), [lambda logits: logits], layer="stage")


def test_too_few_labels_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"each of 3 images, found indices of shape \(2,\)"):
        capture(fixed(Net), images(), [targets.true_class(LABELS[:2])], layer="stage", batch_size=2)


@pytest.mark.parametrize("label", [-1, N_CLASSES])
def test_a_label_the_model_does_not_know_is_an_error(label: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to 3, the model's last class, found .*{label}"):
        capture(fixed(Net), images(1), [targets.true_class(torch.tensor([label]))], layer="stage")


def test_contrast_is_the_log_odds() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]], dtype=torch.float64)
    own = logits.softmax(1)[[0, 1], [2, 1]]

    torch.testing.assert_close(targets.contrast(torch.tensor([2, 1]))(logits), (own / (1 - own)).log())


def test_contrast_does_not_see_what_all_classes_share() -> None:
    model = fixed(Net)

    seen = capture(model, images(), [targets.contrast(LABELS)], layer="stage")
    raised = capture(
        model, images(), [targets.contrast(LABELS)], layer="stage", forward=lambda x: model(x) + 5 * x.mean()
    )

    torch.testing.assert_close(seen.gradients[0], raised.gradients[0], atol=1e-6, rtol=1e-4)


def test_the_predicted_class_is_the_first_of_equals() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)

    (gradient,) = torch.autograd.grad(targets.predicted_class()(logits).sum(), logits)

    assert gradient.tolist() == [[1, 0, 0]]


Z = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]])


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(Z, id="tensor"),
        pytest.param(Z.double(), id="float64"),
        pytest.param((Z, torch.zeros(2, 9)), id="tuple"),
        pytest.param([torch.tensor([1, 2]), None, Z], id="list"),
        pytest.param((torch.tensor(0.3), Z), id="loss first"),
        pytest.param({"features": torch.zeros(2, 4, 3, 3), "logits": Z}, id="dict with logits"),
        pytest.param({"out": Z, "aux": -Z}, id="dict without"),
        pytest.param(Output(torch.tensor(1.0), Z), id="output with logits"),
        pytest.param({"result": (Output(None, Z),)}, id="nested"),
    ],
)
def test_logits_are_found_in(output: Any) -> None:
    assert torch.equal(as_logits(output), Z)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_score_becomes_two_classes(shape: tuple[int, ...]) -> None:
    z = torch.tensor([0.0, 2.0, -7.0])

    logits = as_logits(z.reshape(shape))

    assert logits.shape == (3, 2)
    torch.testing.assert_close(logits.softmax(1)[:, 1], z.sigmoid())
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_probabilities_become_their_logarithm(dtype: torch.dtype) -> None:
    logits = as_logits(Z.to(dtype).softmax(1))

    torch.testing.assert_close(logits, Z.log_softmax(1), atol=0.02 if dtype == torch.bfloat16 else 1e-6, rtol=0)


def test_a_probability_of_zero_has_a_finite_logarithm_and_gradient() -> None:
    z = torch.tensor([[0.0, 300.0]], requires_grad=True)

    logits = as_logits(z.softmax(1))
    logits.sum().backward()

    assert logits.isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("z", [[[0.2, 0.9]], [[1.5, -0.5]], [[0.5, 0.5], [3.0, 1.0]], [[0.0, 0.0]]], ids=str)
def test_logits_are_not_taken_for_probabilities(z: list[list[float]]) -> None:
    assert as_logits(torch.tensor(z)).tolist() == torch.tensor(z).tolist()


@pytest.mark.parametrize(
    ("output", "found"),
    [
        pytest.param(torch.zeros(2, 3, 4, 4), r"a tensor of shape \(2, 3, 4, 4\)", id="segmentation"),
        pytest.param(torch.zeros(2).long(), "Tensor", id="class indices"),
        pytest.param({"boxes": None}, "dict", id="no tensor"),
        pytest.param(None, "NoneType", id="nothing"),
    ],
)
def test_outputs_without_class_scores_are_an_error(output: Any, found: str) -> None:
    with pytest.raises(ValueError, match=f"class scores, found {found}; pass forward="):
        as_logits(output)


def test_a_single_logit_is_explained() -> None:
    model = fixed(lambda: Net(1))

    seen = capture(model, images(), [targets.one_class(1), targets.one_class(0)], layer="stage")

    height, width = seen.activations.shape[-2:]
    expected = (model.head.weight[0] / 2 / height / width).detach()
    torch.testing.assert_close(seen.gradients[0][0, :, 0, 0], expected)
    assert torch.equal(seen.gradients[0], -seen.gradients[1])


def test_probabilities_are_explained_by_their_logarithm() -> None:
    softmax = fixed(lambda: models.Returning(lambda z: z.softmax(1)))

    seen = looked(softmax, "stem")

    expected = looked(fixed(lambda: models.Returning(lambda z: z.log_softmax(1))), "stem")
    torch.testing.assert_close(seen.gradients[0], expected.gradients[0], atol=1e-6, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_inputs_go_where_the_model_is() -> None:
    seen = looked(fixed(Net).cuda())

    assert seen.activations.is_cuda
    cpu = engine.Capture(
        seen.layer, seen.logits.cpu(), seen.activations.cpu(), tuple(g.cpu() for g in seen.gradients), 1
    )
    assert_equal(cpu, uncut(fixed(lambda: Net(inplace=False)), "stage"), atol=1e-2, rtol=1e-2)

"""Layouts, layer names, and the automatic choice on models as people write them. Libraries: test_layer_coverage.py."""

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lightning_cam.attribution.guard import untouched
from lightning_cam.attribution.layer_search import find_layer
from lightning_cam.attribution.layers import check_layer, module_of
from lightning_cam.attribution.layouts import Layout, layout_of
from lightning_cam.attribution.outputs import scores_in

SIZE = 32


def images(n: int = 2, size: tuple[int, int] = (SIZE, SIZE)) -> Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(0))


def conv(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1)


# Layouts


@pytest.mark.parametrize(
    ("shape", "image_size", "expected"),
    [
        pytest.param((2, 512, 7, 7), (224, 224), Layout("NKhw", (7, 7)), id="channels first"),
        pytest.param((2, 7, 7, 768), (224, 224), Layout("NhwK", (7, 7)), id="channels last"),
        pytest.param((2, 64, 64, 64), (256, 256), Layout("NKhw", (64, 64)), id="either way"),
        pytest.param((2, 512, 7, 10), (224, 320), Layout("NKhw", (7, 10)), id="wide, channels first"),
        pytest.param((2, 10, 7, 768), (320, 224), Layout("NhwK", (10, 7)), id="tall, channels last"),
        pytest.param((2, 8, 11, 768), (250, 330), Layout("NhwK", (8, 11)), id="rounded, channels last"),
        pytest.param((2, 16, 1, 40), (64, 640), Layout("NKhw", (1, 40)), id="strides of its own"),
        pytest.param((2, 196, 768), (224, 224), Layout("NTK", (14, 14)), id="patches only"),
        pytest.param((2, 197, 768), (224, 224), Layout("NTK", (14, 14), 1), id="class token"),
        pytest.param((2, 198, 192), (224, 224), Layout("NTK", (14, 14), 2), id="distillation token"),
        pytest.param((2, 261, 384), (224, 224), Layout("NTK", (16, 16), 5), id="registers"),
        pytest.param((2, 50, 768), (224, 224), Layout("NTK", (7, 7), 1), id="patches of 32"),
        pytest.param((2, 10, 768), (96, 96), Layout("NTK", (3, 3), 1), id="few patches"),
        pytest.param((2, 141, 768), (224, 160), Layout("NTK", (14, 10), 1), id="tall tokens"),
        pytest.param((2, 197, 768), (230, 230), Layout("NTK", (14, 14), 1), id="patches that leave a rest"),
        pytest.param((2, 10, 768), (64, 96), Layout("NTK", (2, 3), 4), id="patches that leave none come first"),
    ],
)
def test_layout_follows_from_shape_and_image(
    shape: tuple[int, ...], image_size: tuple[int, int], expected: Layout
) -> None:
    assert layout_of(torch.zeros(shape), image_size) == expected


def test_tokens_may_come_before_images() -> None:
    output = torch.zeros(197, 16, 768)

    assert layout_of(output, (224, 224), n_images=16) == Layout("TNK", (14, 14), 1)
    assert layout_of(output[:, :3], (224, 224)) == Layout("TNK", (14, 14), 1)


def test_number_of_images_tells_tokens_from_images() -> None:
    output = torch.zeros(17, 17, 8)

    assert layout_of(output[:16], (SIZE, SIZE), n_images=16) == Layout("NTK", (4, 4), 1)
    assert layout_of(output[:, :16], (SIZE, SIZE), n_images=16) == Layout("TNK", (4, 4), 1)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param((torch.zeros(2, 8, 4, 4),), "returns a tensor, found tuple", id="tuple"),
        pytest.param(torch.zeros(2, 8), "found an output of shape 2 x 8", id="vector"),
        pytest.param(torch.zeros(2, 8, 3, 4, 4), "found an output of shape 2 x 8 x 3 x 4 x 4", id="video"),
        pytest.param(torch.zeros(2, 24, 8), "on a grid of the 96 x 96 image, found 2 x 24", id="sequence"),
        pytest.param(torch.zeros(2, 9, 8), r"found 9 that fit \[\(2, 2\), \(3, 3\)\]", id="two grids"),
    ],
)
def test_no_layout_says_what_was_found_and_the_way_out(output: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message}.*layer='\.\.\.'"):
        layout_of(output, (96, 96))


def test_windows_of_images_are_no_images() -> None:
    with pytest.raises(ValueError, match="found an output of shape 8 x 7 x 7 x 96"):
        layout_of(torch.zeros(8, 7, 7, 96), (224, 224), n_images=2)


GRIDS = {
    "NKhw": lambda grid: grid,
    "NhwK": lambda grid: grid.permute(0, 2, 3, 1),
    "NTK": lambda grid: F.pad(grid.flatten(2).transpose(1, 2), (0, 0, 2, 0)),
    "TNK": lambda grid: F.pad(grid.flatten(2).permute(2, 0, 1), (0, 0, 0, 0, 2, 0)),
}


@pytest.mark.parametrize("order", GRIDS)
@pytest.mark.parametrize("n", [1, 2])
def test_grid_undoes_every_order(order: Any, n: int) -> None:
    expected = torch.arange(n * 5 * 2 * 3.0).reshape(n, 5, 2, 3)
    output = GRIDS[order](expected).contiguous().requires_grad_()

    found = Layout(order, (2, 3), prefix=2).grid(output)

    assert found.equal(expected)
    (gradient,) = torch.autograd.grad(found.sum(), output)
    assert gradient.sum() == expected.numel()


# Names


class Net(nn.Module):
    """Convolutions with functional activation and pooling between them; the last maps are 8 x 8, then 4 x 4."""

    def __init__(self, n_classes: int = 4) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(3, 8), conv(8, 12), conv(12, 16)
        self.head = nn.Linear(16 * 4 * 4, n_classes)

    def features(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.max_pool2d(F.relu(self.conv3(x)), 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).flatten(1))


class Wrapper(pl.LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


def test_unknown_name_says_what_there_is() -> None:
    message = r"no layer 'conv' in Net; did you mean 'conv[123]'.* it has \['conv1', 'conv2', 'conv3', 'head'\]"
    with pytest.raises(ValueError, match=message):
        check_layer(Net(), "conv")


def test_unknown_name_suggests_the_wrapped_one_first() -> None:
    with pytest.raises(ValueError, match=r"no layer 'head' in Wrapper; did you mean 'net.net.head'"):
        check_layer(Wrapper(Wrapper(Net())), "head")


def test_unknown_name_without_likeness_suggests_nothing() -> None:
    with pytest.raises(ValueError, match=r"no layer 'xyz' in Net; it has \["):
        check_layer(Net(), "xyz")


def test_whole_model_is_no_layer() -> None:
    with pytest.raises(ValueError, match="no layer ''"):
        check_layer(Net(), "")


@pytest.mark.parametrize("name", ["net.conv3", "net._orig_mod.conv3", "_orig_mod.net.conv3"])
def test_name_is_valid_compiled_or_not(name: str) -> None:
    plain = Wrapper(Net())
    inside, outside = Wrapper(torch.compile(plain.net)), torch.compile(plain)

    for model in (plain, inside, outside):
        assert check_layer(model, name) == "net.conv3"
        assert module_of(model, name) is plain.net.conv3


def test_second_name_of_a_shared_layer_is_valid() -> None:
    net = Net()
    net.again = net.conv3

    assert module_of(net, "again") is net.conv3


# The choice: plain networks


class Tutorial(nn.Module):
    """One pooling and one activation module for all stages."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.act = nn.MaxPool2d(2), nn.ReLU()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.conv1(x)))
        x = self.pool(self.act(self.conv2(x)))
        return self.fc2(self.act(self.fc1(x.flatten(1))))


class MnistExample(nn.Module):
    """As in pytorch/examples: dropout on a pooled map, log probabilities out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(16 * 14 * 14, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout1(F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2))
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x.flatten(1))))), 1)


class Recurrent(nn.Module):
    """Columns of the map as a sequence, the last state as features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 8), nn.ReLU(), nn.MaxPool2d(2), conv(8, 8), nn.ReLU())
        self.lstm = nn.LSTM(8 * 16, 12, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(self.features(x).flatten(1, 2).transpose(1, 2))
        return self.head(states[:, -1])


class Stage(nn.Module):
    """A residual block with in-place operations; halves the map."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 1), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 2, 1), nn.BatchNorm2d(n_out)
        self.skip, self.act = nn.Conv2d(n_in, n_out, 1, 2), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        out += self.skip(x)
        return self.act(out)


def average() -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


def head(n_features: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n_features, 4))


def stages(n: int) -> nn.Module:
    """A backbone whose map is halved ``n`` times."""
    return nn.Sequential(conv(3, 8), nn.Sequential(*[Stage(8, 8) for _ in range(n)]))


def residual(n: int) -> nn.Module:
    return nn.Sequential(*stages(n), average(), head(8))


def pooled() -> nn.Module:
    return nn.Sequential(*stages(3), average())


def fully_convolutional() -> nn.Module:
    """SqueezeNet's head: a map per class, averaged."""
    features = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 16), nn.ReLU())
    return nn.Sequential(features, nn.Sequential(nn.Dropout(), nn.Conv2d(16, 4, 1), nn.ReLU(), average(), nn.Flatten()))


PLAIN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "functional": (Net, "conv3"),
    "frozen": (lambda: Net().requires_grad_(requires_grad=False), "conv3"),
    "wrapped": (lambda: Wrapper(Net()), "net.conv3"),
    "shared modules": (Tutorial, "conv2"),
    "dropout on a pooled map": (MnistExample, "conv2"),
    "recurrent head": (Recurrent, "features"),
    "stages": (lambda: residual(3), "1"),
    "last stage down to one cell": (lambda: residual(5), "1.3"),
    "pooling inside the features": (lambda: nn.Sequential(pooled(), head(8)), "0.1"),
    "a layer before such features": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), pooled(), head(8)), "1.1"),
    "global maximum": (lambda: nn.Sequential(*stages(2), conv(8, 64), nn.AdaptiveMaxPool2d(1), head(64)), "2"),
    "in place": (lambda: nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True), head(8192)), "2"),
    "pooled at the end": (lambda: nn.Sequential(nn.Sequential(conv(3, 8), nn.MaxPool2d(8)), head(128)), "0.0"),
    "reshaped at the end": (lambda: nn.Sequential(nn.Sequential(conv(3, 8), nn.PixelShuffle(2)), head(8192)), "0"),
    "patches of patches": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 2, 2), head(128)),
        "3",
    ),
    "images changed in place": (lambda: nn.Sequential(nn.ReLU(inplace=True), conv(3, 8), head(8192)), "1"),
    "handed on": (lambda: nn.Sequential(conv(3, 8), nn.Identity(), nn.Dropout(), head(8192)), "0"),
    "map of the scores": (fully_convolutional, "0"),
    "as many channels as classes": (lambda: nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 4), head(4096)), "2"),
}


class Pooled(nn.Module):
    """Eight channels of 32 x 32, of which a head reads one value each."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8))
        self.act, self.head, self.read = nn.ReLU(), nn.Linear(8, 4), read

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.act(self.body(x))))


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.amax((2, 3)),
        lambda x: F.adaptive_max_pool2d(x, 1).flatten(1),
        lambda x: x.flatten(2).topk(3)[0].sum(2),
    ],
    ids=["amax", "adaptive", "the three highest"],
)
def test_a_map_of_which_a_head_reads_the_highest_values_is_found(read: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)

    assert find_layer(Pooled(read).eval(), images()) == "act"


def test_a_map_of_which_a_head_reads_one_place_is_none() -> None:
    torch.manual_seed(0)

    with pytest.raises(ValueError, match="no layer of Pooled"):
        find_layer(Pooled(lambda x: x[:, :, 5, 7]).eval(), images())


@pytest.mark.parametrize(("build", "expected"), PLAIN.values(), ids=PLAIN)
def test_last_map_of_a_plain_network(build: Callable[[], nn.Module], expected: str) -> None:
    torch.manual_seed(0)

    assert find_layer(build().eval(), images()) == expected


def test_one_image_is_enough() -> None:
    torch.manual_seed(0)

    assert find_layer(Net(), images(1)) == "conv3"


def test_wide_images_are_fine() -> None:
    torch.manual_seed(0)
    model = residual(3).eval()

    assert find_layer(model, images(size=(40, 72))) == "1"


HEADS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda logits: (logits, None),
    "dict": lambda logits: {"loss": torch.tensor(0.5), "logits": logits},
    "nested": lambda logits: [{"index": logits.argmax(1)}, (logits,)],
    "one score": lambda logits: logits[:, 0],
    "one column": lambda logits: logits[:, :1],
    "probabilities": lambda logits: logits.softmax(1),
    "half precision": lambda logits: logits.bfloat16(),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_whatever_a_model_returns(head: Callable[[Tensor], Any]) -> None:
    torch.manual_seed(0)
    net = Net()

    assert find_layer(net, images(), lambda x: head(net(x))) == "conv3"


def test_scores_that_add_up_to_a_constant_have_a_map() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 1), average(), nn.Flatten(0))

    def pair(x: Tensor) -> Tensor:
        score = net(x)
        return torch.stack([score, 1 - score], 1)

    assert find_layer(net, images(), pair) == "2"


def test_scores_are_the_logits_by_name_or_the_first_rows() -> None:
    rows, other = torch.rand(2, 3), torch.rand(2, 5)

    assert scores_in({"hidden": other, "logits": rows}) is rows
    assert scores_in((torch.tensor(0.5), torch.tensor([1, 2]), rows)) is rows
    assert scores_in("nothing") is None


# The choice: around the model


class Frozen(nn.Module):
    """A backbone that runs without gradients, as in many examples of fine-tuning."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = stages(3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x.mean((2, 3)))


def test_backbone_without_gradients() -> None:
    torch.manual_seed(0)

    assert find_layer(Frozen().eval(), images()) == "backbone"


def deep_head(n_features: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n_features, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))


def test_first_layer_without_gradients_before_a_deep_head() -> None:
    torch.manual_seed(0)
    layer, rest = conv(3, 8), deep_head(8192)
    model = nn.Sequential(layer, rest)

    def forward(x: Tensor) -> Any:
        with torch.no_grad():
            x = layer(x)
        return rest(x)

    assert find_layer(model, images(), forward) == "0"


def test_black_images_before_a_deep_head() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), deep_head(8192))

    assert find_layer(model, torch.zeros(2, 3, SIZE, SIZE)) == "1"


class WithoutGradients(Net):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)


def test_forward_without_gradients() -> None:
    torch.manual_seed(0)

    assert find_layer(WithoutGradients(), images()) == "conv3"


class Checkpointed(Net):
    def forward(self, x: Tensor) -> Any:
        return self.head(checkpoint(self.features, x, use_reentrant=False).flatten(1))


def test_checkpointed_layers() -> None:
    torch.manual_seed(0)

    assert find_layer(Checkpointed(), images()) == "conv3"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_called_in_any_mode(mode: Any) -> None:
    torch.manual_seed(0)
    net = Net()

    with mode():
        assert find_layer(net, images()) == "conv3"


def test_head_of_zeros_hides_nothing() -> None:
    torch.manual_seed(0)
    net = Net()
    nn.init.zeros_(net.head.weight)

    assert find_layer(net, images()) == "conv3"


def test_compiled_model_is_looked_into() -> None:
    torch.manual_seed(0)
    model = Wrapper(torch.compile(Net(), backend="eager"))
    model(images())

    with untouched(model):
        assert find_layer(model, images()) == "net.conv3"


def test_choice_is_the_same_every_time() -> None:
    torch.manual_seed(0)
    model = vision_transformer(batch_first=True).eval()

    assert len({find_layer(model, images()) for _ in range(5)}) == 1


@pytest.mark.slow
def test_nothing_is_left_behind() -> None:
    torch.manual_seed(0)
    net, inputs = residual(3).eval(), images()
    find_layer(net, inputs)
    random_state = torch.get_rng_state()
    gc.collect()
    gc.disable()
    try:
        before = count_tensors()
        find_layer(net, inputs)
        after = count_tensors()
    finally:
        gc.enable()

    assert after == before
    assert torch.get_rng_state().equal(random_state)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert not inputs.requires_grad


def count_tensors() -> int:
    return sum(type(found) in (Tensor, nn.Parameter) for found in gc.get_objects())


def test_no_hook_survives_a_failing_forward() -> None:
    net = Net()

    with pytest.raises(RuntimeError):
        find_layer(net, images(size=(8, 8)))
    assert not any(module._forward_hooks for module in net.modules())


def test_other_threads_run_the_model_as_ever() -> None:
    torch.manual_seed(0)
    net, inputs, found = Net(), images(), []

    def forward(x: Tensor) -> Any:
        with torch.no_grad():
            thread = threading.Thread(target=lambda: found.append(train_step()))
            thread.start()
            thread.join()
        return net(x)

    def train_step() -> bool:
        with torch.no_grad():
            return bool(net(inputs).requires_grad)

    assert find_layer(net, inputs, forward) == "conv3"
    assert found == [False]


# The choice: transformers


class Transformer(nn.Module):
    """A Vision Transformer of PyTorch's own layers."""

    def __init__(self, *, batch_first: bool, norm_first: bool, reads_class_token: bool, final_norm: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first, norm_first=norm_first)
        norm = nn.LayerNorm(16) if final_norm else None
        self.encoder = nn.TransformerEncoder(layer, 3, norm, enable_nested_tensor=False)
        self.batch_first, self.reads_class_token = batch_first, reads_class_token
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        tokens = self.encoder(tokens) if self.batch_first else self.encoder(tokens.transpose(0, 1)).transpose(0, 1)
        return self.head(tokens[:, 0] if self.reads_class_token else tokens[:, 1:].mean(1))


def vision_transformer(
    *, batch_first: bool, norm_first: bool = True, reads_class_token: bool = True, final_norm: bool = True
) -> Transformer:
    return Transformer(
        batch_first=batch_first, norm_first=norm_first, reads_class_token=reads_class_token, final_norm=final_norm
    )


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, "encoder.layers.2.norm1", id="class token"),
        pytest.param({"norm_first": False}, "encoder.layers.1", id="class token, norm behind"),
        pytest.param({"reads_class_token": False}, "encoder", id="mean of patches"),
        pytest.param({"reads_class_token": False, "final_norm": False}, "encoder", id="mean, no final norm"),
    ],
)
def test_last_tokens_that_count_in_a_transformer(batch_first: bool, options: dict[str, bool], expected: str) -> None:
    torch.manual_seed(0)
    model = vision_transformer(batch_first=batch_first, **options)

    with untouched(model):
        assert find_layer(model, images()) == expected


class LoRA(nn.Module):
    """As peft wraps a linear layer: it is no `nn.Linear`, and holds the layer as `base_layer`."""

    def __init__(self, base_layer: nn.Module, n_in: int, n_out: int) -> None:
        super().__init__()
        self.base_layer, self.in_features, self.out_features = base_layer, n_in, n_out
        self.down, self.up = nn.Linear(n_in, 2, bias=False), nn.Linear(2, n_out, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.up(self.down(x))


class OwnAttention(nn.Module):
    """Attention with a layer each for queries, keys and values, as in Hugging Face's models."""

    def __init__(self, wrapped: Callable[[nn.Linear], nn.Module]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.q, self.k, self.v = (wrapped(nn.Linear(16, 16)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return x + nn.functional.scaled_dot_product_attention(self.q(normed), self.k(normed), self.v(normed))


class ClassToken(nn.Module):
    def __init__(self, wrapped: Callable[[nn.Linear], nn.Module]) -> None:
        super().__init__()
        self.embed, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        self.blocks = nn.Sequential(*(OwnAttention(wrapped) for _ in range(3)))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x).flatten(2).transpose(1, 2)], 1)
        return self.head(self.blocks(tokens)[:, 0])


def adapted(layer: nn.Linear) -> nn.Module:
    return LoRA(layer, layer.in_features, layer.out_features)


@pytest.mark.parametrize("wrap", [lambda layer: layer, adapted, lambda layer: LoRA(adapted(layer), 16, 16)])
def test_an_adapted_projection_is_no_map_either(wrap: Callable[[nn.Linear], nn.Module]) -> None:
    torch.manual_seed(0)

    assert find_layer(ClassToken(wrap).eval(), images()) == "blocks.2.norm"


def test_norm_of_queries_and_keys_is_no_map() -> None:
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, qk_norm=True)

    assert find_layer(model.eval(), images()) == "blocks.1.norm1"


def test_tokens_of_a_wide_image() -> None:
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(img_size=(16, 48), patch_size=8, embed_dim=24, depth=2, num_heads=3)

    assert find_layer(model.eval(), images(size=(16, 48))) == "blocks.1.norm1"


class Shuffled(nn.Module):
    """Hands its tokens on in a shape nobody can read."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = vision_transformer(batch_first=True, reads_class_token=False)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.inner.embed(x).flatten(2).transpose(1, 2)
        tokens = self.inner.encoder(F.pad(patches, (0, 0, 0, 40)))
        return self.inner.head(tokens[:, :16].mean(1))


def test_patch_embedding_is_never_taken() -> None:
    torch.manual_seed(0)

    model = Shuffled()

    with (
        untouched(model),
        pytest.raises(ValueError, match=r"layer of Shuffled .* layer='\.\.\.': the model has \['inner'\]"),
    ):
        find_layer(model, images())


@pytest.mark.parametrize("kernel", [1, 4])
def test_the_only_convolution_is_taken_though_its_cells_see_one_patch(kernel: int) -> None:
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    model = nn.Sequential(nn.Conv2d(3, 8, kernel, kernel), *head)

    assert find_layer(model, images()) == "1"


# No choice


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 4)), id="no map"),
        pytest.param(nn.Sequential(nn.Conv2d(3, 8, SIZE), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)), id="one cell"),
    ],
)
def test_no_map_says_the_way_out(model: nn.Module) -> None:
    with pytest.raises(
        ValueError, match=r"no layer of Sequential gives a map .*name the layer to look at, layer='\.\.\.'"
    ):
        find_layer(model, images())


@pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")
def test_scripted_part_is_passed_over() -> None:
    torch.manual_seed(0)
    part = torch.jit.script(nn.Sequential(conv(8, 8), nn.ReLU()))

    assert find_layer(nn.Sequential(conv(3, 8), part, head(8192)), images()) == "0"


class Latents(nn.Module):
    """Learned vectors, as many as fit a grid, that read an image by attention, as in a Perceiver."""

    def __init__(self, *, read_late: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.latents = nn.Parameter(torch.randn(1, 16, 8))
        self.before, self.after = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)
        self.read_late = read_late

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        queries = self.before(tokens[:, :16] if self.read_late else self.latents.expand(len(images), -1, -1))
        return self.head(self.after(self.attention(queries, tokens, tokens, need_weights=False)[0]).mean(1))


def test_latents_as_many_as_fit_a_grid_are_no_map_of_the_image() -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="name the layer"):
        find_layer(Latents(read_late=False), torch.rand(2, 3, 32, 32))
    assert find_layer(Latents(read_late=True), torch.rand(2, 3, 32, 32)) == "after"


def test_a_reentrant_checkpoint_is_said() -> None:
    class Reentrant(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[1](checkpoint(self[0], x, use_reentrant=True))

    model = Reentrant(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))

    with pytest.raises(RuntimeError, match="use_reentrant=False, or look at a layer behind it"):
        find_layer(model, torch.rand(2, 3, 8, 8))


def test_images_that_are_alike_hide_no_map() -> None:
    assert find_layer(Latents(read_late=True), torch.zeros(2, 3, 32, 32)) == "after"

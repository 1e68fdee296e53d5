"""Attention of Vision Transformers against both papers' formulas, in every way in which attention is computed."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from house import reference_attention as reference
from lightning_cam import Probe, examine, pixels
from lightning_cam.attribution.attending import rolled


class Block(nn.Module):
    """Attention with two heads: fused, written out, or with heads and images on one axis."""

    def __init__(self, width: int, way: str) -> None:
        super().__init__()
        self.qkv, self.out, self.way = nn.Linear(width, 3 * width), nn.Linear(width, width), way

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, k = tokens.shape
        q, key, v = self.qkv(tokens).reshape(n, t, 3, 2, k // 2).permute(2, 0, 3, 1, 4)
        if self.way == "fused":
            mixed = F.scaled_dot_product_attention(q, key, v)
        elif self.way == "written out":
            mixed = (q @ key.transpose(-2, -1) * (k // 2) ** -0.5).softmax(dim=-1) @ v
        else:
            one = [each.reshape(2 * n, t, k // 2) for each in (q, key, v)]
            mixed = (F.softmax(one[0] @ one[1].mT / (k // 2) ** 0.5, dim=-1) @ one[2]).reshape(n, 2, t, k // 2)
        return tokens + self.out(mixed.transpose(1, 2).reshape(n, t, k))


class Small(nn.Module):
    """Patches of 4 pixels, two blocks, and a class token or the mean of the patches."""

    def __init__(self, way: str = "fused", *, has_class_token: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, 8)) if has_class_token else None
        self.places = nn.Parameter(torch.randn(1, 6 + has_class_token, 8))
        self.blocks = nn.Sequential(Block(8, way), Block(8, way))
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], 1)
        tokens = self.blocks(tokens + self.places)
        return self.head(tokens[:, 0] if self.cls is not None else tokens.mean(1))


def probe(n: int = 3, size: tuple[int, int] = (8, 12)) -> Probe:
    images = torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(1))
    return Probe(images, torch.arange(n) % 3, classes=["a", "b", "c"])


def read(flow: list[list[float]], has_class_token: bool) -> Tensor:
    """The row of the class token, or the mean of what patches give to others, on the grid of 2 x 3."""
    n = len(flow)
    if has_class_token:
        return torch.tensor(flow[0][1:]).reshape(2, 3)
    return torch.tensor([sum(flow[i][j] for i in range(n) if i != j) / n for j in range(n)]).reshape(2, 3)


def stretched(maps: Tensor, size: tuple[int, int] = (8, 12)) -> Tensor:
    return F.interpolate(maps[:, None].float(), size, mode="bilinear", antialias=True)[:, 0]


@pytest.mark.parametrize("has_class_token", [True, False], ids=["class token", "mean of patches"])
@pytest.mark.parametrize("way", ["fused", "written out", "one axis"])
def test_both_are_the_papers_formulas(way: str, has_class_token: bool) -> None:
    model, images = Small(way, has_class_token=has_class_token), probe()
    logits, found = reference.matrices(copy.deepcopy(model).double(), images.images.double())
    logits.gather(1, images.targets[:, None]).sum().backward()
    rows = [[each[i].detach() for each in found] for i in range(3)]
    slopes = [[each.grad[i] for each in found] for i in range(3)]

    rollouts = torch.stack([read(reference.rollout(each), has_class_token) for each in rows])
    relevances = [read(reference.relevance(a, g), has_class_token) for a, g in zip(rows, slopes, strict=True)]
    assert torch.allclose(pixels.attention_rollout(model, images, batch_size=2), stretched(rollouts), atol=1e-5)
    assert torch.allclose(
        pixels.attention_relevance(model, images, batch_size=2), stretched(torch.stack(relevances)), atol=1e-5
    )


class MeanOfPatches(Small):
    """As BEiT: a class token that the head leaves out."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], 1)
        return self.head(self.blocks(tokens + self.places)[:, 1:].mean(1))


def test_where_the_head_reads_patches_the_class_token_is_not_read() -> None:
    images = probe()
    _, found = reference.matrices(copy.deepcopy(MeanOfPatches()).double(), images.images.double())
    rows = [[each[i].detach() for each in found] for i in range(3)]
    flows = [torch.tensor(reference.rollout(each)) for each in rows]
    means = [sum(torch.where(torch.arange(7) == i, 0.0, flow[i]) for i in range(1, 7)) / 6 for flow in flows]
    expected = torch.stack([mean[1:].reshape(2, 3) for mean in means])

    assert torch.allclose(
        pixels.attention_rollout(MeanOfPatches(), images, batch_size=2), stretched(expected), atol=1e-5
    )
    assert not torch.allclose(pixels.attention_rollout(Small(), images), stretched(expected), rtol=0.1)
    relevance = pixels.attention_relevance(MeanOfPatches(), images)
    assert relevance.abs().amax() > 0  # the row of the class token is that of the identity alone


def test_a_rollout_is_a_share_of_the_image_and_knows_no_class() -> None:
    even = torch.full((1, 2, 5, 5), 0.2)
    assert torch.allclose(rolled(torch.eye(5)[None], even, None).sum(2), torch.ones(1, 5))

    images = probe()
    others = Probe(images.images, (images.targets + 1) % 3, classes=images.classes)
    assert torch.equal(pixels.attention_rollout(Small(), images), pixels.attention_rollout(Small(), others))
    assert not torch.equal(pixels.attention_relevance(Small(), images), pixels.attention_relevance(Small(), others))


@pytest.mark.parametrize("explain", [pixels.attention_rollout, pixels.attention_relevance])
def test_the_model_stays_as_it_is_frozen_in_training_and_in_inference_mode(explain: Any) -> None:
    model = Small().requires_grad_(False).train()
    before = {name: (p.clone(), p.grad) for name, p in model.named_parameters()}
    with torch.inference_mode():
        inside = explain(model, probe())

    assert torch.equal(inside, explain(model, probe()))
    assert model.training
    assert all(torch.equal(p, before[name][0]) and p.grad is None for name, p in model.named_parameters())


@pytest.mark.parametrize("explain", [pixels.attention_rollout, pixels.attention_relevance])
def test_a_model_without_attention_is_refused(explain: Any) -> None:
    convolution = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="no attention between all patches"):
        explain(convolution, probe())


class Windows(nn.Module):
    """Attends within the upper and within the lower half."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).mT.reshape(2 * len(images), 1, -1, 8)
        mixed: Tensor = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(mixed.reshape(len(images), -1, 8).mean(1))


def test_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="within windows"):
        pixels.attention_rollout(Windows(), probe())


@pytest.mark.slow
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_small_patch14_reg4_dinov2"]
)
def test_transformers_of_timm_have_a_map_and_keep_their_answer(name: str, fused: bool) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3, img_size=112)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    images = probe(2, (112, 112))

    for explain in (pixels.attention_rollout, pixels.attention_relevance):
        maps = explain(model, images)
        assert maps.shape == (2, 112, 112)
        assert maps.isfinite().all()
        assert (maps.amax((1, 2)) > maps.amin((1, 2))).all()


class Hidden(nn.Module):
    """Attention inside one torch function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.attention = nn.Conv2d(3, 8, 4, 4), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).mT
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))


@pytest.mark.parametrize("explain", [pixels.attention_rollout, pixels.attention_relevance])
def test_attention_that_nobody_sees_is_refused(explain: Any) -> None:
    with pytest.raises(ValueError, match="no attention between all patches"):
        explain(Hidden(), probe())


class Output(dict[str, Any]):
    """As Hugging Face's: a dictionary whose values are attributes, too."""

    __getattr__ = dict.__getitem__


class AsHuggingFace(nn.Module):
    """Class token, registers behind it, patches; eager attention with its softmax in float32, or fused with a scale."""

    def __init__(self, way: str, n_registers: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way, self.stem = way, nn.Conv2d(3, 8, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.registers = nn.Parameter(torch.randn(1, n_registers, 8))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(3))
        self.layers = nn.ModuleList(nn.ModuleDict({name: nn.Linear(8, 8) for name in "qkvo"}) for _ in range(3))
        self.classifier = nn.Linear(8, 3)

    def forward(self, pixel_values: Tensor) -> Output:
        patches = self.stem(pixel_values).flatten(2).mT
        first = [each.expand(len(patches), -1, -1) for each in (self.cls, self.registers)]
        hidden, attentions = torch.cat([*first, patches], 1), []
        for norm, layer in zip(self.norms, self.layers, strict=True):
            normed = norm(hidden)
            q, k, v = (layer[name](normed).unflatten(2, (2, 4)).transpose(1, 2) for name in "qkv")
            if self.way == "eager":
                weights = F.softmax((q @ k.mT) * 0.5, dim=-1, dtype=torch.float32).to(q.dtype)
                attentions.append(weights.detach())
                mixed = weights @ v
            else:
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0, scale=0.5)
            hidden = hidden + layer["o"](mixed.transpose(1, 2).flatten(2))
        return Output(loss=None, logits=self.classifier(hidden[:, 0]), attentions=attentions)


def rollout_of(attentions: list[Tensor], n_first: int, size: tuple[int, int]) -> Tensor:
    """From the matrices that a model gives away itself."""
    flow = torch.eye(attentions[0].shape[-1])
    for each in attentions:
        flow = (0.5 * each.mean(1) + 0.5 * torch.eye(each.shape[-1])) @ flow
    return flow[:, 0, n_first:].unflatten(1, size)


@pytest.mark.parametrize("n_registers", [0, 4])
def test_outputs_in_the_form_of_hugging_face_are_unwrapped_and_registers_left_out(n_registers: int) -> None:
    eager, fused = (AsHuggingFace(way, n_registers).eval() for way in ("eager", "fused"))
    images = probe()

    found = pixels.attention_rollout(eager, images)

    own = eager(images.images).attentions
    assert torch.allclose(found, stretched(rollout_of(own, 1 + n_registers, (2, 3))), atol=1e-6)
    assert torch.allclose(pixels.attention_rollout(fused, images), found, atol=1e-6)
    relevances = [pixels.attention_relevance(model, images) for model in (eager, fused)]
    assert torch.allclose(*relevances, atol=1e-6)
    assert relevances[0].std() > 0
    assert examine(eager, images, trials=()).grid_maps.shape == (3, 2, 3)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
OF_HUGGING_FACE = {  # and the tokens before the patches
    "ViT": 1,
    "DeiT": 2,
    "Dinov2": 1,
    "Dinov2WithRegisters": 5,
}


def of_hugging_face(name: str, **options: Any) -> nn.Module:
    """Random weights, nothing is downloaded."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    configuration = getattr(transformers, f"{name}Config")(num_labels=3, image_size=64, **options)
    model: nn.Module = getattr(transformers, f"{name}ForImageClassification")(configuration)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_HUGGING_FACE)
def test_transformers_of_hugging_face_have_the_rollout_of_their_own_attentions(name: str) -> None:
    model, images = of_hugging_face(name, patch_size=8, **SMALL), probe(2, (64, 64))

    found, relevance = pixels.attention_rollout(model, images), pixels.attention_relevance(model, images)

    model.set_attn_implementation("eager")  # type: ignore[operator] # theirs: else it gives no matrices away
    own = model(images.images, output_attentions=True).attentions
    expected = stretched(rollout_of([each.detach() for each in own], OF_HUGGING_FACE[name], (8, 8)), (64, 64))
    assert torch.allclose(found, expected, atol=1e-6)
    assert relevance.std() > 0
    assert examine(model, images, trials=()).grid_maps.shape == (2, 8, 8)


@pytest.mark.slow
def test_windows_of_hugging_face_have_grad_cam_alone() -> None:
    options = {"patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4}
    model, images = of_hugging_face("Swin", **options), probe(2, (64, 64))

    with pytest.raises(ValueError, match=r"within windows .* use Grad-CAM"):
        pixels.attention_rollout(model, images)
    assert examine(model, images, trials=()).grid_maps.std() > 0

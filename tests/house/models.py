"""Tiny classifiers with fixed weights, ordinary ones and such as do something odd in their forward."""

import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchmetrics import MeanMetric

N_CLASSES = 4


def fixed(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A model with the same weights and running statistics every time; global random states are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -1, 1)
    return model


def images(n: int = 3, height: int = 12, width: int = 16, seed: int = 0) -> Tensor:
    return torch.rand((n, 3, height, width), generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    """An ordinary classifier: two stages, global average pooling, dropout, one linear layer. In-place ReLUs."""

    def __init__(self, n_classes: int = N_CLASSES, *, inplace: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace))
        self.stage = nn.Sequential(nn.Conv2d(6, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8, n_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.stage(self.stem(x))

    def classify(self, features: Tensor) -> Tensor:
        return self.head(self.dropout(features.mean((2, 3))))

    def forward(self, x: Tensor) -> Any:
        return self.classify(self.features(x))


class Residual(Net):
    """What follows the layers here changes their output in place, as in torchvision's ResNets and DenseNets."""

    def features(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        out = self.stage[1](self.stage[0](stem))
        out += stem.mean(1, keepdim=True)
        return F.relu(out, inplace=True)


class ResidualOutOfPlace(Net):
    """The same function as `Residual`."""

    def __init__(self) -> None:
        super().__init__(inplace=False)

    def features(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        return F.relu(self.stage[1](self.stage[0](stem)) + stem.mean(1, keepdim=True))


class NoGradBackbone(Net):
    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().features(x)


class InferenceBackbone(Net):
    """A frozen backbone in inference mode. The clone is what training needs; without it torch refuses."""

    def features(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            features = super().features(2 * x / 2)
        return features.clone()


class InferenceStage(Net):
    """The stage alone, as a function that the decorator wraps, and an operation behind it."""

    @torch.inference_mode()
    def staged(self, stem: Tensor) -> Tensor:
        return self.stage(stem) * 2 / 2

    def features(self, x: Tensor) -> Tensor:
        return self.staged(self.stem(x)).clone()


class NoGradStage(Net):
    def features(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        with torch.no_grad():
            return self.stage(stem)


class NoGradForward(Net):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class DetachedHead(Net):
    def classify(self, features: Tensor) -> Tensor:
        return super().classify(features.detach())


class InferenceForward(Net):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Checkpointed(Net):
    """Both its stages and what follows them are run again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        features = checkpoint(self.features, x, use_reentrant=False)
        return checkpoint(self.classify, features, use_reentrant=False)


class ReentrantCheckpoint(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.classify(checkpoint(self.features, x, use_reentrant=True))


class Twice(Net):
    """The second stage runs twice."""

    def features(self, x: Tensor) -> Tensor:
        first = self.stage(self.stem(x))
        return self.stage(first[:, :6] - first[:, 2:])


class Returning(Net):
    """A model whose logits come in some structure."""

    def __init__(self, wrap: Callable[[Tensor], Any], n_classes: int = N_CLASSES) -> None:
        super().__init__(n_classes)
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(super().forward(x))


class Stage(nn.Module):
    """A layer whose map comes in some structure."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, 1, 1), nn.ReLU())
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.body(x))


class Structured(Net):
    """A layer wraps its map, and the model unwraps it."""

    def __init__(self, wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.stage = Stage(wrap)
        self.unwrap = unwrap

    def features(self, x: Tensor) -> Tensor:
        return self.unwrap(self.stage(self.stem(x)))


class Tokens(nn.Module):
    """Patches of 4 pixels and a class token, a transformer encoder with its inference shortcut, a head on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        return self.head(self.norm(self.encoder(tokens)).mean(1))


class LightningModule(nn.Module):
    """Logs as Lightning's class of this name does: whatever is logged is kept."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "logged", Logged())

    def log(self, name: str, value: Any) -> None:
        self.logged.values.append((name, float(value.detach())))

    def log_dict(self, values: dict[str, Any]) -> None:
        """Not by way of `log`, as with Fabric."""
        self.logged.values.extend((name, float(value.detach())) for name, value in values.items())


class Logged:
    """Lies outside of the model, as a trainer does."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float]] = []


class Logging(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def log_softmax(self, logits: Tensor) -> Tensor:
        """A method of the user's own, which is not about logging."""
        return logits.log_softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.log_softmax(self.net(x))
        self.log("mean", logits.mean())
        self.log_dict({"deviation": logits.std()})
        return logits


class Restless(Net):
    """Everything it holds changes with every forward, also in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("observed", torch.tensor([torch.nan, -0.0, 1.0]))
        self.register_buffer("replaced", torch.zeros(2))
        self.plain = torch.zeros(3)
        self.mean = MeanMetric()
        self.generator = torch.Generator().manual_seed(3)
        self.calls = 0
        self.seen: list[Any] = []
        self.nested: dict[str, Any] = {"b": [1], "a": {"deep": deque([1, 2], maxlen=2)}}
        self.names = {"one"}
        self.cache: Tensor | None = None
        self.gone = "here"

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.observed.copy_(torch.tensor([0.0, 0.0, 2.0]))
        self.replaced = self.replaced + 1
        self.plain += 1
        self.mean.update(x.mean())
        self.calls += 1
        self.seen.append(x)
        self.nested["b"].append(2)
        self.nested["a"]["deep"].append(3)
        self.nested["b"] = self.nested.pop("b")
        self.names.add("two")
        self.new = x
        self.added = nn.Identity()
        if hasattr(self, "gone"):
            del self.gone
        self.stem.register_forward_hook(lambda *_: None)
        noise = torch.rand(1, generator=self.generator) + torch.rand(1) + random.random()
        noise += np.random.rand()
        features = self.features(x)
        self.cache = features
        return self.classify(features) + 0 * noise


class ByPixel(Net):
    """Has no map: its layers see single vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Linear(3, 3)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.early(x.mean((2, 3))).sum()


def frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


def partly_frozen(model: nn.Module) -> nn.Module:
    """As in fine-tuning: the first stage has neither gradients nor BatchNorm updates."""
    model.train()
    model.stem.requires_grad_(False).eval()
    return model


def trained_halfway(model: nn.Module) -> nn.Module:
    """In the middle of gradient accumulation."""
    model.train()
    model(images()).square().mean().backward()
    return model


def fingerprint(model: nn.Module) -> dict[str, str]:
    """Everything a training would notice, in short."""
    return {name: hashlib.sha256(repr(part).encode()).hexdigest() for name, part in _parts(model)}


def _parts(model: nn.Module) -> Iterator[tuple[str, Any]]:
    yield "parameters", [(n, _exact(p), p._version, p.requires_grad, id(p)) for n, p in model.named_parameters()]
    yield "gradients", [(n, None if p.grad is None else _exact(p.grad)) for n, p in model.named_parameters()]
    yield "buffers", [(n, _exact(b), id(b)) for n, b in model.named_buffers()]
    yield "flags", [(n, m.training) for n, m in model.named_modules()]
    yield "attributes", [_contents(vars(m)) for m in model.modules()]
    yield "torch's random state", torch.get_rng_state().tolist()
    numpy_state = np.random.get_state()
    yield "numpy's random state", [np.asarray(part).tolist() for part in numpy_state]
    yield "Python's random state", random.getstate()
    yield (
        "switches",
        (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.is_autocast_cache_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
        ),
    )


def _exact(tensor: Tensor) -> tuple[Any, ...]:
    """Shape, type, place in memory and bytes."""
    content = tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
    return tuple(tensor.shape), tensor.dtype, tensor.stride(), hashlib.sha256(content).hexdigest()


def _contents(value: Any, depth: int = 0) -> Any:
    """Containers by content and identity, tensors by bytes, generators by state, everything else by identity."""
    if isinstance(value, Tensor):
        return id(value), _exact(value)
    if isinstance(value, torch.Generator):
        return id(value), value.get_state().tolist()
    if isinstance(value, dict):
        items = [(repr(key), _contents(item, depth + 1)) for key, item in value.items()]
        return id(value), sorted(items) if depth == 0 else items
    if isinstance(value, (list, tuple, deque)):
        return id(value), [_contents(item, depth + 1) for item in value]
    if isinstance(value, set):
        return id(value), sorted(map(repr, value))
    return (id(value), repr(value)) if isinstance(value, (int, float, str, bool)) else id(value)


class Compilations:
    """A compiler that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, _example: Any) -> Callable[..., Any]:
        self.count += 1
        return graph.forward

"""The first look of a run is verified: what `untouched` cannot see is seen, said by name, and put back."""

import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from house import models
from house.kinds import KINDS, changed
from house.models import Net, fingerprint, fixed, images
from house.trainings import Net as Module
from house.trainings import loader, probe, trainer, watched
from house.twins import FEW
from lightning_cam import CAMCallback
from lightning_cam.attribution import engine, self_check
from lightning_cam.attribution.self_check import TouchedError, self_checked
from lightning_cam.sinks.memory import MemorySink
from lightning_cam.training.observer import Observer

HIDDEN = np.random.default_rng(0)
HUMS = [np.random.default_rng(1)]
NOTES: dict[str, int] = {}


class Counting(torch.autograd.Function):
    n = 0


class Holder:
    """An object that is no module."""

    def __init__(self) -> None:
        self.inner = {"generators": [torch.Generator().manual_seed(1)]}
        self.numpy = np.random.default_rng(2)
        self.legacy = np.random.RandomState(3)
        self.python = random.Random(4)
        self.table = torch.zeros(3)


class Holding(Net):
    """Keeps state where `untouched` does not look."""

    n_calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.holder = Holder()
        with torch.inference_mode():
            self.register_buffer("cached", torch.zeros(2))

    def noise(self) -> float:
        return HIDDEN.normal()

    def hum(self) -> float:
        return HUMS[0].normal()

    def count(self) -> None:
        Counting.n += 1

    def note(self) -> None:
        NOTES["n"] = NOTES.get("n", 0) + 1


def holding() -> Holding:
    """In the middle of gradient accumulation, with a frozen stage."""
    model = models.trained_halfway(fixed(Holding))
    model.stage.requires_grad_(False)
    return model


def state(model: Holding) -> dict[str, str]:
    """Everything that a training would notice, the holder's own included."""
    held = model.holder
    generators = (held.numpy.bit_generator.state, repr(held.legacy.get_state()), held.python.getstate())
    own = (held.inner["generators"][0].get_state().tolist(), held.table.tolist(), HIDDEN.bit_generator.state)
    flags = (torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    grads = [(id(p.grad), len(p._backward_hooks or ())) for p in model.parameters()]
    return fingerprint(model) | {
        "hidden": repr((generators, own)),
        "classes": repr((Holding.n_calls, hasattr(Holding, "last"), Counting.n, NOTES, HUMS[0].bit_generator.state)),
        "process": repr((flags, torch.backends.cudnn.benchmark, torch.is_anomaly_enabled())),
        "grads": repr(grads),
    }


def moved(tensor: Tensor, values: Tensor) -> None:
    """Other values at another place in memory."""
    tensor.data = values


def in_inference_mode(model: Holding) -> None:
    with torch.inference_mode():
        model.cached.add_(1)


ACTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "values": (lambda m: m.head.weight.data.mul_(2), "parameter 'head.weight' was changed"),
    "one bit": (lambda m: m.head.weight.data.view(torch.int32)[2, 3].bitwise_xor_(1), "parameter 'head.weight' was"),
    "signs": (lambda m: m.head.weight.data.neg_(), "parameter 'head.weight' was"),
    "order": (lambda m: m.head.weight.data.copy_(m.head.weight.data.roll(1, 0)), "parameter 'head.weight' was"),
    "memory": (lambda m: moved(m.head.weight, m.head.weight.data.clone()), "parameter 'head.weight' was"),
    "precision": (lambda m: moved(m.head.weight, m.head.weight.data.half()), "parameter 'head.weight' was"),
    "frozen values": (lambda m: m.stage[0].weight.data.zero_(), "parameter 'stage.0.weight' was"),
    "several": (lambda m: [p.data.zero_() for p in m.stem.parameters()], "'stem.1.weight'.* were changed"),
    "gradient": (lambda m: m.head.weight.grad.add_(1), "gradient of 'head.weight' was"),
    "no gradient": (lambda m: m.zero_grad(), "gradient of 'stem.0.weight', .* and 5 more were"),
    "another gradient": (lambda m: m(images()).sum().backward(), "gradient of"),
    "requires_grad": (lambda m: m.head.requires_grad_(False), "requires_grad of 'head.weight'"),
    "parameter's hook": (lambda m: m.head.bias.register_hook(lambda grad: grad), "hooks of 'head.bias' was"),
    "buffer of inference mode": (in_inference_mode, "buffer 'cached' was"),
    "buffer": (lambda m: m.stem[1].running_mean.add_(1), "buffer 'stem.1.running_mean' was"),
    "tensor in an object": (lambda m: m.holder.table.add_(1), "tensor 'holder.table' was"),
    "torch's generator": (
        lambda m: torch.rand(1, generator=m.holder.inner["generators"][0]),
        "random generator 'holder.inner.generators.0' was",
    ),
    "numpy's generator": (lambda m: m.holder.numpy.random(), "random generator 'holder.numpy' was"),
    "numpy's old generator": (lambda m: m.holder.legacy.rand(), "random generator 'holder.legacy' was"),
    "Python's generator": (lambda m: m.holder.python.random(), "random generator 'holder.python' was"),
    "global generator": (lambda m: m.noise(), "random generator 'HIDDEN' was"),
    "class": (lambda m: setattr(type(m), "n_calls", m.n_calls + 1), "class 'Holding' was"),
    "new in a class": (lambda m: setattr(type(m), "last", 1.0), "class 'Holding' was"),
    "class of a function": (lambda m: m.count(), "class 'Counting' was"),
    "generator in a list": (lambda m: m.hum(), "random generator 'HUMS.0' was"),
    "global dictionary": (lambda m: m.note(), "variable 'NOTES' was"),
    "torch's random state": (lambda _: torch.rand(1), "torch's random state was"),
    "numpy's random state": (lambda _: np.random.rand(), "numpy's random state was"),
    "Python's random state": (lambda _: random.random(), "Python's random state was"),
    "default dtype": (lambda _: torch.set_default_dtype(torch.float64), "default dtype was"),
    "threads": (lambda _: torch.set_num_threads(torch.get_num_threads() + 1), "number of threads was"),
    "deterministic": (lambda _: torch.use_deterministic_algorithms(True), "deterministic mode was"),
    "cudnn": (lambda _: setattr(torch.backends.cudnn, "benchmark", True), "cudnn.benchmark was"),
    "gradient mode": (lambda _: torch.set_grad_enabled(False), "gradient mode was"),
    "anomaly detection": (lambda _: torch.autograd.set_detect_anomaly(True), "anomaly detection was"),
    "autocast": (lambda _: torch.set_autocast_enabled("cpu", True), "autocast on cpu was"),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_change_is_named_and_put_back(act: str) -> None:
    do, named = ACTS[act]
    model = holding()
    before = state(model)

    with (
        pytest.raises(TouchedError, match=f"{named}.* by the model's own forward; all of it is put back"),
        self_checked(model),
    ):
        do(model)

    assert changed(before, state(model)) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt], ids=lambda error: error.__name__)
def test_a_change_is_put_back_after_an_error_too(error: type[BaseException]) -> None:
    model = holding()
    before = state(model)

    def fail() -> None:
        model.head.weight.data.zero_()
        raise error("stop")

    with pytest.raises(error, match="stop"), self_checked(model):
        fail()

    assert changed(before, state(model)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_that_changes_nothing_is_no_alarm(kind: str) -> None:
    model = KINDS[kind]()
    before = fingerprint(model)

    with self_checked(model):
        engine.predict(model, images())

    assert changed(before, fingerprint(model)) == []


def test_what_untouched_puts_back_itself_is_seen_without_it() -> None:
    model = fixed(models.Restless)

    said = "buffer 'count'.* not be put back: attributes or hooks of 'Restless'"
    with pytest.raises(TouchedError, match=said), self_checked(model):
        model(images())


def test_a_model_too_large_to_copy_is_told_that_it_is_not_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "MOST_COPIED", 100)
    model = holding()

    with pytest.raises(TouchedError, match=r"could not be put back: parameter 'head\.weight'$"), self_checked(model):
        model.head.weight.data.zero_()

    assert not model.head.weight.any()


def test_odd_models_are_read_without_running_them() -> None:
    class Slotted:
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            raise AssertionError("attributes are the user's")

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lazy = nn.LazyLinear(2)
            self.register_buffer("sparse", torch.eye(3).to_sparse())
            self.register_buffer("meta", torch.zeros(2, device="meta"))
            self.register_buffer("nothing", None)
            self.register_buffer("single", torch.tensor(1 + 2j))
            self.brief = nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
            self.ring: list[Any] = []
            self.ring.append(self.ring)
            self.data = [0] * 20_000
            self.system = random.SystemRandom()
            self.scarce = torch.eye(3).to_sparse()
            self.slotted = Slotted()
            self.result = torch.ones(2, requires_grad=True) * 2

        @property
        def costly(self) -> None:
            raise AssertionError("properties are the user's")

    with self_checked(Odd()):
        pass


# ---- in a training ---------------------------------------------------------------------------------------------------


class Writing(Module):
    """Renormalises its weights in every forward in evaluation mode, past autograd's books."""

    after_step = 0

    def forward(self, pixels: Tensor) -> Tensor:
        if not self.training and self.trainer.global_step >= self.after_step:
            self.head.weight.data.mul_(0.9)
        return super().forward(pixels)


class WritingLater(Writing):
    after_step = 1


class WritingFromTheSecondEpochOn(Module):
    def forward(self, pixels: Tensor) -> Tensor:
        if not self.training and self.current_epoch:
            self.head.weight.data.mul_(0.9)
        return super().forward(pixels)


class Drawing(Module):
    def forward(self, pixels: Tensor) -> Tensor:
        noise = 0 if self.training else HIDDEN.normal()
        return super().forward(pixels) + noise


def weights(net: Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in net.parameters()]


def trained(build: Callable[[], Module], folder: Path, *callbacks: Any) -> tuple[list[Tensor], Any]:
    """Weights after a training with no looks in the sanity check, and what else changed outside the model."""
    HIDDEN.bit_generator.state = np.random.default_rng(5).bit_generator.state
    torch.manual_seed(0)
    net = build()
    trainer(folder, *callbacks, num_sanity_val_steps=0).fit(net, loader(), loader(8))
    return weights(net), HIDDEN.bit_generator.state


@pytest.mark.parametrize(
    ("build", "named", "n_readings"),
    [
        pytest.param(Writing, "parameter 'head.weight' was changed", 0, id="before training"),
        pytest.param(WritingLater, "parameter 'head.weight' was changed", 1, id="first with trials"),
        pytest.param(Drawing, "random generator 'HIDDEN' was changed", 0, id="hidden generator"),
        pytest.param(
            WritingFromTheSecondEpochOn, "parameter 'head.weight' was changed", 3, id="from the second epoch on"
        ),
    ],
)
def test_the_callback_switches_itself_off_and_the_training_is_the_same(
    build: Callable[[], Module], named: str, n_readings: int, tmp_path: Path
) -> None:
    without, state_without = trained(build, tmp_path)
    callback = CAMCallback(probe(), sinks=[MemorySink()])

    with pytest.warns(UserWarning, match="lightning_cam") as caught:
        with_callback, state_with = trained(build, tmp_path, callback)

    said = [str(warning.message) for warning in caught if "lightning_cam" in str(warning.message)]
    assert len(said) == 1
    assert f"switched off for this fit, training goes on; {named}" in said[0]
    assert len(callback.history) == n_readings
    assert all(map(torch.equal, with_callback, without))
    assert state_with == state_without


def test_once_it_is_off_the_model_is_asked_nothing_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("try_remedies", "untrusted"):
        monkeypatch.setattr(Observer, name, lambda *_, name=name: asked.append(name))

    with pytest.warns(UserWarning, match="switched off for this fit"):
        trained(WritingFromTheSecondEpochOn, tmp_path, CAMCallback(probe(), sinks=[MemorySink()]))

    assert asked == []
    trained(Module, tmp_path, CAMCallback(probe(), sinks=[MemorySink()]))
    assert asked == ["try_remedies", "untrusted"]


def test_the_first_look_of_each_kind_is_verified_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def counting(model: nn.Module) -> Any:
        looks.append(type(model).__name__)
        return self_checked(model)

    monkeypatch.setattr("lightning_cam.training.observer.self_checked", counting)
    checkpoint = tmp_path / "half.ckpt"
    callback = CAMCallback(probe(), every_n_train_steps=1, sinks=[MemorySink()], trials=FEW)

    run = watched(tmp_path, callback, max_epochs=1)
    assert len(callback.history) > 3
    assert looks == ["Net", "Net"]

    run.save_checkpoint(checkpoint)
    resumed = CAMCallback(probe(), every_n_train_steps=1, sinks=[MemorySink()], trials=FEW)
    trainer(tmp_path, resumed).fit(Module(), loader(), loader(8), ckpt_path=checkpoint)
    assert looks == ["Net", "Net", "Net"]


def test_with_on_error_raise_it_raises(tmp_path: Path) -> None:
    with pytest.raises(TouchedError, match=r"parameter 'head.weight' was changed"):
        watched(tmp_path, CAMCallback(probe(), sinks=[MemorySink()], on_error="raise"), Writing())


@pytest.fixture(autouse=True)
def _warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Anomaly Detection has been enabled")
        yield

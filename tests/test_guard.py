"""Looking does not change what is looked at; each test names one thing that stays the same."""

import copy
import random
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

import lightning.pytorch
import numpy as np
import pytest
import pytorch_lightning
import torch
from torch import Tensor, nn

from house import models
from house.kinds import KINDS, changed
from house.models import Compilations, Net, fingerprint, fixed, images
from lightning_cam.attribution import engine, targets
from lightning_cam.attribution.guard import untouched

LAYERS = {"in-place": "stage.1", "logging": "net.stage", "tokens": "norm"}
every_kind = pytest.mark.parametrize("kind", KINDS)


def look(model: nn.Module, kind: str, forward: Callable[[Tensor], Any] | None = None) -> None:
    labels = torch.tensor([1, 0, 3])
    wanted = [targets.true_class(labels), targets.predicted_class()]
    engine.capture(model, images(), wanted, layer=LAYERS.get(kind, "stage"), forward=forward, batch_size=2)


@every_kind
def test_everything_is_the_same_after_a_capture(kind: str) -> None:
    model = KINDS[kind]()
    before = fingerprint(model)

    try:
        look(model, kind)
    except RuntimeError:
        assert kind in ("detached head", "inference forward")

    assert changed(before, fingerprint(model)) == []


@every_kind
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit], ids=lambda error: error.__name__)
def test_everything_is_the_same_after_an_error(kind: str, error: type[BaseException]) -> None:
    model = KINDS[kind]()
    before = fingerprint(model)

    def forward(x: Tensor) -> Tensor:
        model(x)
        raise error("stop")

    with pytest.raises(error, match="stop"):
        look(model, kind, forward)
    with pytest.raises(error, match="stop"):
        engine.predict(model, images(), forward=forward)

    assert changed(before, fingerprint(model)) == []


@every_kind
def test_everything_is_the_same_after_a_prediction(kind: str) -> None:
    model = KINDS[kind]()
    before = fingerprint(model)

    engine.predict(model, images(), batch_size=2)

    assert changed(before, fingerprint(model)) == []


@pytest.mark.parametrize(
    ("careless", "notices"),
    [
        pytest.param(lambda model: model(images()), "buffers", id="forward in training mode"),
        pytest.param(lambda model: model(images()), "torch's random state", id="dropout"),
        pytest.param(lambda model: model.eval(), "flags", id="eval"),
        pytest.param(lambda model: model.eval().train(), "flags", id="eval and train"),
        pytest.param(lambda model: model(images()).sum().backward(), "gradients", id="backward"),
        pytest.param(lambda model: model.head.weight.data.zero_(), "parameters", id="weights"),
        pytest.param(lambda model: model.head.register_forward_hook(print), "attributes", id="hook"),
        pytest.param(lambda _: np.random.seed(9), "numpy's random state", id="numpy"),
        pytest.param(lambda _: random.random(), "Python's random state", id="random"),
    ],
)
def test_a_careless_look_is_noticed(careless: Callable[[nn.Module], Any], notices: str) -> None:
    model = models.partly_frozen(fixed(Net))
    before = fingerprint(model)

    careless(model)

    assert notices in changed(before, fingerprint(model))


def test_everything_evaluates_inside() -> None:
    model = models.partly_frozen(fixed(Net))

    with untouched(model):
        assert not any(module.training for module in model.modules())


def test_modes_are_set_without_asking_the_model() -> None:
    class Merging(Net):
        """Merges an adapter when told to evaluate, as LoRA layers do."""

        def train(self, mode: bool = True) -> "Merging":
            raise AssertionError("train() and eval() are the user's")

    model = fixed(Merging)

    with untouched(model):
        assert not model.training
    assert model.training


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
def test_flags_and_buffers_of_scripted_layers_come_back() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return x

    model = nn.Sequential(torch.jit.script(Counting()))

    with untouched(model):
        assert not model[0].training
        model(images())

    assert model[0].training
    assert model[0].count == 0


def test_only_buffers_that_moved_are_written() -> None:
    model = fixed(models.Restless)
    versions = {name: buffer._version for name, buffer in model.named_buffers()}

    engine.predict(model, images())

    moved = {name for name, buffer in model.named_buffers() if buffer._version != versions[name]}
    assert moved == {"count", "observed"}


def test_buffers_come_back_to_the_bit() -> None:
    model = fixed(models.Restless)

    engine.predict(model, images())

    assert model.observed[0].isnan()
    assert model.observed[1].signbit()


def test_buffers_made_in_inference_mode_come_back() -> None:
    model = nn.BatchNorm2d(3)
    with torch.inference_mode():
        model.register_buffer("cached", torch.zeros(2))

    with untouched(model), torch.inference_mode():
        model.cached += 1

    assert model.cached.tolist() == [0, 0]


def test_kinds_of_buffers_without_plain_bytes_are_left_alone() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    model.register_buffer("meta", torch.zeros(2, device="meta"))
    model.register_buffer("empty", torch.zeros(0))
    model.register_buffer("none", None)
    model.register_buffer("strided", torch.arange(6).reshape(2, 3).T)

    with untouched(model):
        model.strided.add_(1)

    assert model.strided.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_buffers_that_grow_shrink_back() -> None:
    """As the observers of quantisation-aware training do in their first forward."""
    model = nn.Linear(2, 2)
    model.register_buffer("lowest", torch.zeros(0))
    model.register_buffer("other", torch.ones(3))

    with untouched(model):
        model.lowest.resize_(4).fill_(7)

    assert model.lowest.shape == (0,)
    assert model.other.tolist() == [1, 1, 1]


def test_a_metric_in_the_forward_is_not_updated() -> None:
    model = fixed(models.Restless)
    model.mean.update(5.0)

    engine.predict(model, images())

    assert model.mean.compute() == 5
    assert model.mean.update_count == 1


def test_the_order_of_a_dict_comes_back() -> None:
    model = fixed(models.Restless)

    engine.predict(model, images())

    assert list(model.nested) == ["b", "a"]
    assert model.nested["a"]["deep"] == deque([1, 2], maxlen=2)


def test_containers_that_hold_themselves_end() -> None:
    model = nn.Linear(2, 2)
    model.ring = [1]
    model.ring.append(model.ring)

    with untouched(model):
        model.ring.clear()

    assert model.ring[0] == 1
    assert model.ring[1] is model.ring


def test_attributes_that_nobody_moved_are_not_written() -> None:
    class Watched(list[int]):
        def clear(self) -> None:
            raise AssertionError("written")

    model = nn.Linear(2, 2)
    model.kept = Watched([1, 2])

    with untouched(model):
        pass


def test_a_look_does_not_log() -> None:
    model = fixed(models.Logging)

    engine.predict(model, images())
    assert model.logged.values == []

    model(images())
    assert [name for name, _ in model.logged.values] == ["mean", "deviation"]


def test_a_log_method_put_on_the_module_itself_comes_back() -> None:
    model = fixed(models.Logging)
    model.log = print

    with untouched(model):
        model.log("x", 1)

    assert model.log is print


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch], ids=["pytorch_lightning", "lightning"])
def test_lightning_modules_are_silent(package: ModuleType) -> None:
    class Module(package.LightningModule):
        def forward(self, x: Tensor) -> Tensor:
            self.log("mean", x.mean())
            self.log_dict({"mean": x.mean()})
            return x

    def hear(*_: Any, **__: Any) -> None:
        heard.append(1)

    model, heard = Module(), []
    model.log = hear
    with untouched(model):
        model(images())

    assert heard == []
    model(images())
    assert heard


def test_a_look_in_a_look_is_as_good() -> None:
    model = fixed(models.Restless)
    before = fingerprint(model)

    with untouched(model):
        engine.predict(model, images())
        assert not model.training
        engine.predict(model, images())

    assert changed(before, fingerprint(model)) == []


def test_torchs_switches_are_set_inside_and_come_back() -> None:
    model = fixed(Net)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with untouched(model):
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert not torch.is_autocast_cache_enabled()
            assert not torch.backends.mha.get_fastpath_enabled()
            torch.set_grad_enabled(True)
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_cache_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


def test_hooks_on_trainings_gradients_do_not_fire() -> None:
    model, fired = fixed(Net), []
    model.head.register_full_backward_hook(lambda *_: fired.append("backward"))
    model.head.register_full_backward_pre_hook(lambda *_: fired.append("before"))

    look(model, "training")
    assert fired == []

    model(images()).sum().backward()
    assert fired == ["before", "backward"]


def test_not_a_number_in_a_gradient_is_no_error() -> None:
    model = fixed(Net)
    nn.init.constant_(model.head.weight, torch.nan)

    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        look(model, "training")
        assert torch.is_anomaly_enabled()
        assert torch.is_anomaly_check_nan_enabled()


def test_an_attention_shortcut_that_is_off_stays_off() -> None:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with untouched(fixed(Net)):
            pass
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_an_autocast_region_around_still_trains_afterwards() -> None:
    model = fixed(Net)

    with torch.autocast("cpu", torch.bfloat16):
        look(model, "training")
        model(images()).float().sum().backward()

    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("how", ["wrapper", "in place", "child"])
def test_a_look_compiles_nothing(compiler: Compilations, how: str) -> None:
    model = fixed(Net)
    if how == "wrapper":
        model = torch.compile(model, backend=compiler)
    elif how == "in place":
        model.compile(backend=compiler)
    else:
        model.stage = torch.compile(model.stage, backend=compiler)
    model(images())
    before = compiler.count

    look(model, "training")
    engine.predict(model, images(5))
    model(images())

    assert before > 0
    assert compiler.count == before


def test_a_model_that_has_never_run_is_refused() -> None:
    model = nn.Sequential(nn.LazyConv2d(2, 1), nn.Flatten())

    with pytest.raises(RuntimeError, match="run the model on one batch before the fit"), untouched(model):
        pass


@pytest.mark.parametrize(
    ("build", "draw"),
    [
        pytest.param(torch.Generator, lambda rng: torch.rand(1, generator=rng), id="torch"),
        pytest.param(np.random.default_rng, lambda rng: rng.random(), id="numpy"),
        pytest.param(np.random.RandomState, lambda rng: rng.rand(), id="numpy's old one"),
        pytest.param(random.Random, lambda rng: rng.random(), id="Python"),
    ],
)
def test_generators_that_modules_hold_come_back(build: Callable[[], Any], draw: Callable[[Any], float]) -> None:
    model = fixed(Net)
    model.rng, model.stage.several = build(), {"a": [build()]}
    twins = copy.deepcopy([model.rng, model.stage.several["a"][0]])

    with untouched(model):
        draw(model.rng)
        draw(model.stage.several["a"][0])

    assert [draw(model.rng), draw(model.stage.several["a"][0])] == [draw(twin) for twin in twins]


def test_training_goes_on_as_if_nobody_had_looked() -> None:
    def trained(between: Callable[[nn.Module], Any]) -> dict[str, Tensor]:
        torch.manual_seed(7)
        model = models.partly_frozen(fixed(models.Restless))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        for step in range(4):
            nn.functional.cross_entropy(model(images(4, seed=step)), torch.tensor([0, 1, 2, 3])).backward()
            between(model)
            if step % 2:
                optimizer.step()
                optimizer.zero_grad()
        return model.state_dict()

    alone, watched = trained(lambda _: None), trained(lambda model: look(model, "training"))
    careless = trained(lambda model: model(images()))

    assert all(torch.equal(alone[name], watched[name]) or alone[name].isnan().any() for name in alone)
    assert not all(torch.equal(alone[name], careless[name]) for name in alone)


def test_what_a_hook_closes_over_is_put_back() -> None:
    kept: list[Tensor] = [torch.zeros(1)]
    model = fixed(Net)
    model.stem.register_forward_hook(lambda _layer, _inputs, output: kept.append(output))
    before = list(kept)

    with untouched(model):
        model(images())

    assert len(kept) == 1
    assert kept[0] is before[0]

"""The promise on a GPU: random states, the gradient scaler, cudnn's choices and the memory that the training needs."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from house.twins import Body, Net, Twin, differences, ours, trained
from lightning_cam.attribution.guard import untouched
from lightning_cam.attribution.self_check import TouchedError, self_checked

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:lightning_cam. (pictures of|every map)"),
]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """Two trainings on a GPU are the same only with the kernels that always add in the same order."""
    benchmark, mode = torch.backends.cudnn.benchmark, torch.get_deterministic_debug_mode()
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = benchmark
    torch.set_deterministic_debug_mode(mode)


class Large(Net):
    """Most of what its training needs are activations."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Sequential(nn.Upsample(scale_factor=16), Body()))


GPU: dict[str, Any] = {"accelerator": "gpu", "devices": 1}
SETUPS: dict[str, Twin] = {
    "plain": Twin(options=GPU),
    "16-mixed": Twin(options={**GPU, "precision": "16-mixed"}),
    "bf16-mixed": Twin(options={**GPU, "precision": "bf16-mixed"}),
    "16-true": Twin(options={**GPU, "precision": "16-true"}),
    "accumulation": Twin(options={**GPU, "accumulate_grad_batches": 3}),
    "cudnn.benchmark": Twin(options={**GPU, "benchmark": True}),
    "channels last": Twin(lambda: Net().to(memory_format=torch.channels_last), options=GPU),
}


@pytest.mark.parametrize("setup", SETUPS)
def test_a_training_on_a_gpu_ends_bit_for_bit_the_same(setup: str, tmp_path: Path) -> None:
    callback = ours(every_n_train_steps=1)

    assert differences(trained(tmp_path, twin=SETUPS[setup]), trained(tmp_path, [callback], SETUPS[setup])) == set()
    assert len(callback.history) >= 5


def test_a_gpus_random_state_comes_back() -> None:
    model = Body().cuda()
    before = torch.cuda.get_rng_state()

    with untouched(model):
        torch.rand(1, device="cuda")

    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize(
    ("act", "named"),
    [
        pytest.param(lambda model: model.head.weight.data.add_(1), "parameter 'head.weight'", id="weights"),
        pytest.param(lambda _: torch.rand(1, device="cuda"), "random state of cuda:0", id="random state"),
    ],
)
def test_a_change_on_a_gpu_is_named_and_put_back(act: Callable[[Any], object], named: str) -> None:
    model = Body().cuda()
    before = [model.head.weight.detach().clone(), torch.cuda.get_rng_state()]

    with pytest.raises(TouchedError, match=named), self_checked(model):
        act(model)

    assert all(map(torch.equal, [model.head.weight, torch.cuda.get_rng_state()], before))


def test_looking_needs_less_memory_than_training(tmp_path: Path) -> None:
    def peak(*callbacks: Any) -> int:
        gc.collect()  # trainers hold modules that hold trainers
        torch.cuda.reset_peak_memory_stats()
        trained(tmp_path, callbacks, Twin(Large, options={**GPU, "num_sanity_val_steps": 0}))
        return torch.cuda.max_memory_allocated()

    peak()  # what cudnn and the allocator keep from then on

    assert peak(ours(every_n_train_steps=1)) <= peak()

"""The promise where two processes train one model: with the callback each ends the same, bit for bit."""

import json
from pathlib import Path

import pytest

from house.ranks import ranks

SEPARATE = """
import json
import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from house.twins import Net, Twin, differences, ours, trained


class Unused(Net):
    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Linear(2, 2)


class Writing(Net):
    '''Writes to its weights in evaluation mode, past autograd's books.'''

    ranks = (0, 1)

    def forward(self, images):
        if not self.training and self.trainer.global_rank in self.ranks:
            self.body.head.weight.data.mul_(0.9)
        return super().forward(images)


class WritingInOne(Writing):
    ranks = (1,)


def twin(build=Net, strategy="ddp", **options):
    return Twin(build, options=dict(devices=2, strategy=strategy, **options))


TWINS = dict(
    plain=twin(),
    accumulation=twin(accumulate_grad_batches=2),
    unused=twin(Unused, "ddp_find_unused_parameters_true"),
    writing=twin(Writing, num_sanity_val_steps=0),
    writing_in_one=twin(WritingInOne, num_sanity_val_steps=0),
)

if __name__ == "__main__":
    folder = Path({folder!r})
    found = dict()
    for name, twin in TWINS.items():
        without = trained(folder, twin=twin)
        callback = ours(every_n_train_steps=1, on_error="warn")
        found[name] = sorted(differences(without, trained(folder, [callback], twin))), len(callback.history)
    rank = torch.distributed.get_rank()
    Path(folder, f"rank{{rank}}").write_text(json.dumps(found))
    torch.distributed.barrier()
"""  # fmt: skip

SPAWNED = """
import faulthandler
import json
import sys
import warnings
from pathlib import Path

from torch.multiprocessing import ProcessExitedException

faulthandler.enable()  # a process that dies says where
sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from house.twins import Twin, differences, ours, trained

if __name__ == "__main__":
    folder = Path({folder!r})
    twin = Twin(options=dict(devices=2, strategy="ddp_spawn", max_epochs=1, limit_val_batches=1))


    def tried(callbacks):
        # gloo aborts a process now and then whose peer has ended before it, with or without a callback
        try:
            return trained(folder, callbacks, twin)
        except ProcessExitedException as error:
            print(error, file=sys.stderr)
            return trained(folder, callbacks, twin)

    without, with_callback = tried([]), tried([ours(every_n_train_steps=1, sinks=None)])
    Path(folder, "rank0").write_text(json.dumps(sorted(differences(without, with_callback))))
"""


@pytest.mark.slow
def test_two_processes_end_bit_for_bit_the_same(tmp_path: Path) -> None:
    said = {rank: json.loads(text) for rank, text in ranks(tmp_path, SEPARATE).items()}

    assert set(said) == {"0", "1"}
    assert said["0"] == said["1"]
    assert {name: different for name, (different, _) in said["0"].items() if different} == {}
    assert {name for name, (_, n_checks) in said["0"].items() if n_checks < 5} == {"writing", "writing_in_one"}


@pytest.mark.slow
def test_spawned_processes_end_bit_for_bit_the_same(tmp_path: Path) -> None:
    said = ranks(tmp_path, SPAWNED)

    assert json.loads(said["0"]) == []
    assert (tmp_path / "cam_report").is_dir()  # they did look

"""What is said of a fit that goes on."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from house.trainings import Net, loader, trainer
from lightning_cam import CAMCallback, Probe
from lightning_cam.training.remarks import of_check, of_networks


class Adversarial(Net):
    def build(self) -> None:
        super().build()
        self.generator, self.netD = nn.Linear(1, 1), nn.Linear(1, 1)


@pytest.mark.filterwarnings("ignore")
def test_of_a_gan_the_code_for_its_probe_is_said(tmp_path: Path) -> None:
    callback = CAMCallback(trials=(), sinks=[], verbose=False)
    with pytest.warns(UserWarning, match="as a GAN; if that tells real from generated pictures"):
        trainer(tmp_path, callback, max_epochs=1, limit_train_batches=1).fit(Adversarial(), loader(), loader(8))

    text = re.findall(r"pass (CAMCallback\(.*images\)\)) with", of_networks(["generator", "netD"]))[0]
    real, generated = torch.rand(2, 3, 3, 8, 8)
    known = {"torch": torch, "Probe": Probe, "CAMCallback": CAMCallback, "real": real, "generated": generated}
    assert isinstance(eval(text, known), CAMCallback)
    assert "module.netD(images)" in text


@pytest.mark.parametrize("names", [[], ["encoder", "decoder"], ["generator"], ["d", "head"]])
def test_nothing_is_said_of_other_networks(names: list[str]) -> None:
    assert not of_networks(names)


def test_empty_maps_may_be_those_of_a_detector_that_finds_nothing_yet() -> None:
    scalars = {"zero_map_rate": 1.0}

    assert "finds nothing yet" in of_check(scalars, 8, is_first=False)["empty maps"]
    assert not of_check(scalars, 0, is_first=True)

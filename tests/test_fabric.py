"""A module that Lightning Fabric has wrapped is looked at as the user's own."""

from copy import deepcopy

import pytest
import torch
from lightning_fabric import Fabric

from house.models import Net, fixed, images
from lightning_cam import Probe, examine
from lightning_cam.attribution.layers import unwrapped
from lightning_cam.examination import collect_evidence


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_a_wrapped_module_is_looked_at_as_itself(precision: str) -> None:
    probe = Probe(images(8), torch.arange(8) % 4)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    model = fabric.setup(fixed(Net))
    before = deepcopy(model.state_dict())

    report = examine(model, probe, trials=("tone",))
    called = examine(model, probe, trials=(), forward=lambda module, x: module(x))
    expected = examine(model.module, probe, trials=("tone",))

    assert report.layer == expected.layer == "stage"
    torch.testing.assert_close(report.maps, expected.maps)
    torch.testing.assert_close(called.logits, expected.logits)
    evidence = collect_evidence(model, probe, report, "tone")
    torch.testing.assert_close(
        evidence.probabilities, collect_evidence(model.module, probe, expected, "tone").probabilities
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_any_other_module_is_itself() -> None:
    model = fixed(Net)

    assert unwrapped(model) is model

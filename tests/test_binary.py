"""Two classes by one logit, by one probability, by two logits and by two probabilities: the same verdict."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lightning_cam import Probe, examine, judge

SIZE = 24


def probe(*, cue: bool) -> Probe:
    """A square in the middle of class 1 or, beside a cue, nothing; the cue is a bright frame of class 1."""
    generator = torch.Generator().manual_seed(0)
    images, targets = 0.4 + 0.1 * torch.rand(96, 3, SIZE, SIZE, generator=generator), torch.arange(96) % 2
    images[targets == 1, :, 9:15, 9:15] += 0.4
    if cue:
        images[targets == 1, :, :2] += 0.3
    masks = torch.zeros(96, SIZE, SIZE, dtype=torch.bool)
    masks[:, 6:18, 6:18] = True
    return Probe(images.clamp(0, 1), targets, masks=masks)


class Reader(nn.Module):
    """Odds of class 1 by the mean grey of some rows, in one of the usual forms."""

    def __init__(self, rows: slice, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.rows, self.form = nn.Conv2d(3, 2, 1), rows, form
        with torch.no_grad():
            self.conv.weight.fill_(1 / 3)
            self.conv.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.form(15 * (self.conv(images)[:, 0, self.rows, 9:15].mean((1, 2)) - 0.6))


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "one logit": lambda odds: odds[:, None],
    "one logit without an axis": lambda odds: odds,
    "one probability": lambda odds: odds[:, None].sigmoid(),
    "two logits": lambda odds: torch.stack([torch.zeros_like(odds), odds], 1),
    "two probabilities": lambda odds: torch.stack([torch.zeros_like(odds), odds], 1).softmax(1),
}


@pytest.mark.parametrize(("rows", "outcome"), [(slice(0, 2), "FAIL"), (slice(9, 15), "PASS")], ids=["frame", "square"])
def test_the_form_of_two_classes_changes_no_verdict(rows: slice, outcome: str) -> None:
    shown = probe(cue=outcome == "FAIL")
    verdicts = {
        name: judge(examine(Reader(rows, form), shown, trials=["background", "border"], layer="conv"))
        for name, form in FORMS.items()
    }

    assert {verdict.outcome for verdict in verdicts.values()} == {outcome}
    means = torch.tensor([[reliance.mean for reliance in verdict.measured] for verdict in verdicts.values()])
    assert torch.allclose(means, means[:1].expand_as(means), atol=1e-4)

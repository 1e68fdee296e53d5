"""A cue that a part of the images shows to do no harm stops there; all others are swapped on all images."""

from contextlib import suppress

import pytest
import torch
from torch import Tensor

from house.bright_and_dark import CORNER, MIDDLE, Reader, probe
from lightning_cam import Probe, cams, examine, judge
from lightning_cam.intervention import STANDARD, DonorSwap, Session, Trial, first_part
from lightning_cam.intervention.effects import APART, DECISION, PROBABILITY
from lightning_cam.intervention.settling import is_harmless
from lightning_cam.training import observer
from lightning_cam.training.failures import Failures

N = 96
TARGETS = torch.arange(N) % 2
CHOSEN = ("background",)


def asked(report_probe: Probe, region: tuple[slice, slice], trials: tuple[str | Trial, ...] = CHOSEN) -> dict[str, int]:
    report = examine(Reader(region), report_probe, layer="conv", trials=trials)
    return {reliance.cue: reliance.n for reliance in report.reliances}


def test_what_settles_is_asked_of_a_part_and_what_is_relied_on_of_all() -> None:
    unused, used = asked(probe(n=N), MIDDLE), asked(probe(ground=True, n=N), CORNER)

    assert unused["background"] == 40
    assert used["background"] == N


def test_a_part_of_a_whole_that_does_no_harm_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    pasted: list[str] = []
    ask = DonorSwap.answers

    def counting(swap: DonorSwap, session: Session) -> Tensor:
        (cue,) = (trial.cue for trial in STANDARD if trial.swap is swap)
        pasted.append(cue)
        return ask(swap, session)

    monkeypatch.setattr(DonorSwap, "answers", counting)
    unused = asked(probe(n=N), MIDDLE, ("background", "border"))

    assert pasted == ["background"]
    assert unused == {"background": 40, "border": 40}
    pasted.clear()
    asked(probe(ground=True, n=N), CORNER, ("background", "border"))
    assert pasted == ["background", "background", "border", "border"]


@pytest.mark.slow
def test_a_verdict_on_settled_cues_is_that_on_all_images() -> None:
    looked_at = probe(n=N)
    early, late = (
        judge(examine(Reader(MIDDLE), looked_at, layer="conv", until_settled=stops), expected_cues=["exposure"])
        for stops in (True, False)
    )

    assert early.outcome == late.outcome == "PASS"
    assert {r.n for r in late.measured if r.cue == "background"} == {N}


def test_a_cue_that_judges_nothing_is_asked_of_a_part_whatever_comes_out() -> None:
    tone = next(trial for trial in STANDARD if trial.cue == "tone")

    assert asked(probe(n=N), MIDDLE, (tone,)) == {"tone": 40}


def test_where_masks_may_hide_background_all_images_are_asked() -> None:
    looked_at = probe(n=N)
    loose = Probe(looked_at.images, looked_at.targets, masks=looked_at.masks, mask_sources=["box"] * N)

    assert asked(loose, MIDDLE)["background"] == N


@pytest.mark.parametrize(("n_processes", "stops"), [(1, True), (2, False)])
def test_in_company_all_images_are_asked(n_processes: int, stops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(observer, "n_ranks", lambda: n_processes)
    monkeypatch.setattr(observer, "look", lambda *_, until_settled, **__: seen.append(until_settled))
    watching = observer.Observer(
        layer="conv", method=cams.grad_cam, forward=None, batch_size=8, limits={}, failures=Failures(raises=False)
    )
    with suppress(Exception):  # a look that gives nothing
        watching.check(Reader(MIDDLE), probe(n=16), (), judges=False, lets_through=lambda _: False)

    assert seen == [stops]


def test_effects_of_the_first_part_are_those_of_a_look_at_all() -> None:
    looked_at = probe(n=N)
    early, late = (
        examine(Reader(MIDDLE), looked_at, layer="conv", trials=["position"], until_settled=stops)
        for stops in (True, False)
    )
    is_asked = early.effects["position"].isfinite()

    assert torch.equal(is_asked, first_part(looked_at.targets))
    torch.testing.assert_close(early.effects["position"][is_asked], late.effects["position"][is_asked])


@pytest.mark.parametrize(("n", "n_classes", "expected"), [(30, 2, 30), (96, 2, 40), (96, 4, 56), (96, 10, 40)])
def test_the_first_part_has_as_many_of_each_class(n: int, n_classes: int, expected: int) -> None:
    is_first = first_part(torch.arange(n) % n_classes)

    assert int(is_first.sum()) == expected
    assert (torch.arange(n) % n_classes)[is_first].bincount().tolist() == [expected // n_classes] * n_classes


def test_a_large_probe_is_asked_for_a_quarter_first() -> None:
    assert int(first_part(torch.arange(1024) % 2).sum()) == 256


def harmless() -> Tensor:
    """Effects of 40 images, and none of the rest."""
    effects = torch.zeros(N, 4)
    effects[40:] = torch.nan
    return effects


@pytest.mark.parametrize("column", [PROBABILITY, DECISION, APART])
def test_each_reading_has_to_settle(column: int) -> None:
    effects = harmless()
    assert is_harmless(effects, TARGETS)

    effects[:6, column] = 1.0

    assert not is_harmless(effects, TARGETS)


def test_each_class_has_to_settle() -> None:
    targets = torch.arange(160) % 4
    effects = torch.zeros(160, 4)
    effects[80:] = torch.nan
    assert is_harmless(effects, targets)

    effects[targets == 3, DECISION] = torch.where(torch.arange(40) < 3, 1.0, effects[targets == 3, DECISION])

    assert not is_harmless(effects, targets)


def test_a_class_that_no_look_can_settle_holds_nothing_up() -> None:
    assert is_harmless(harmless(), torch.arange(N) % 10)


@pytest.mark.parametrize("n", [1, 8, 35])
def test_few_images_settle_nothing(n: int) -> None:
    assert not is_harmless(torch.zeros(n, 4), torch.arange(n) % 2)

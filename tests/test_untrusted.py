"""A map that stays with random weights is marked on its tile: it does not show what the model has learned."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from house import models
from house.pages import check, last_page
from house.trainings import Net as Trained
from house.trainings import loader, probe, trainer
from lightning_cam import CAMCallback, LightningCAMWarning, Probe, cams, examine
from lightning_cam.attribution import targets
from lightning_cam.examination import Reading
from lightning_cam.sinks import FolderSink, MemorySink
from lightning_cam.sinks.album import Album
from lightning_cam.sinks.report_page import RunPage
from lightning_cam.sinks.snapshot import Portraits, Snapshot
from lightning_cam.training.failures import Failures
from lightning_cam.training.observer import Observer


def ramp(activations: Tensor, _gradients: Tensor) -> Tensor:
    """A map that knows nothing of the model."""
    n, _, height, width = activations.shape
    return torch.arange(1.0, height * width + 1).reshape(1, height, width).repeat(n, 1, 1)


def probe_of(n: int) -> Probe:
    return Probe(models.images(n), torch.arange(n) % 4, classes=["a", "b", "c", "d"])


def observer(method: Any, layer: str | None = "stage") -> Observer:
    failures = Failures(raises=True)
    return Observer(layer=layer, method=method, forward=None, batch_size=4, limits={}, failures=failures)


def untrusted(method: Any, model: nn.Module, probe: Probe) -> Tensor | None:
    """What is said of the maps of all images, after a look at the model as it is."""
    watching = observer(method)
    watching.report = examine(model, probe, layer="stage", method=method, trials=())
    return watching.untrusted(model, probe, torch.arange(len(probe)))


def test_a_map_that_knows_nothing_of_the_model_is_found_and_the_weights_are_their_own_again() -> None:
    model = models.fixed(models.Net).train()
    before = {name: (p, p.data_ptr(), p.detach().clone()) for name, p in model.named_parameters()}
    random_state = torch.get_rng_state()

    stays, moves = (untrusted(method, model, probe_of(6)) for method in (ramp, cams.grad_cam))

    assert stays is not None
    assert moves is not None
    assert stays.tolist() == [True] * 6
    assert not moves.all()
    assert all(p is before[name][0] and p.data_ptr() == before[name][1] for name, p in model.named_parameters())
    assert all(p.equal(before[name][2]) for name, p in model.named_parameters())
    assert torch.get_rng_state().equal(random_state)
    assert model.training


def test_a_score_that_knows_each_image_is_asked_of_a_part_of_them() -> None:
    model, of, rows = models.fixed(models.Net), probe_of(6), torch.tensor([1, 4])
    score = targets.true_class(of.targets)
    watching = Observer(
        layer="stage", method=ramp, score=score, forward=None, batch_size=4, limits={}, failures=Failures(raises=True)
    )
    watching.report = examine(model, of, layer="stage", method=ramp, trials=(), score=score)

    assert watching.untrusted(model, of, rows) is not None


@pytest.mark.parametrize(("sign", "seeds"), [(1, [0, 1, 2]), (-1, [0])], ids=["stays", "is turned round"])
def test_more_than_one_draw_is_made_only_where_a_map_stays(
    sign: int, seeds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def look(watching: Observer, _model: nn.Module, _probe: Probe, seed: int, _score: Any) -> Any:
        drawn.append(seed)
        assert watching.report is not None
        return replace(watching.report, grid_maps=sign * watching.report.grid_maps)

    monkeypatch.setattr(Observer, "_randomly_mapped", look)
    stays = untrusted(ramp, models.fixed(models.Net), probe_of(2))

    assert stays is not None
    assert stays.tolist() == [sign == 1] * 2
    assert drawn == seeds


# ---- examine ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [None, lambda outputs: outputs[:, 1]])
def test_examine_says_it_of_each_method_and_leaves_the_model_alone(score: Any) -> None:
    model = models.fixed(models.Net).train()
    before = models.fingerprint(model)
    options: dict[str, Any] = {"trials": (), "methods": [ramp, cams.score_cam], "score": score}
    report = examine(model, probe_of(6), random_weights=True, **options)

    assert {name: len(stay) for name, stay in report.untrusted.items()} == {"grad_cam": 6, "ramp": 6, "score_cam": 6}
    assert report.untrusted["ramp"].all()
    assert not report.untrusted["grad_cam"].all()
    assert models.fingerprint(model) == before
    assert model.training
    plain = examine(model, probe_of(6), **options)
    assert plain.untrusted == {}
    torch.testing.assert_close(plain.grid_maps, report.grid_maps)


def test_a_report_page_marks_the_maps() -> None:
    html = (
        examine(models.fixed(models.Net), probe_of(3), method=ramp, trials=(), random_weights=True)._repr_html_() or ""
    )

    assert "&quot;untrusted&quot;:[0,1,2]" in html.replace(" ", "")
    assert "3 maps stayed the same under them" in html


def test_examine_warns_where_it_cannot_be_found_out() -> None:
    model = Fragile()

    with pytest.warns(LightningCAMWarning, match=r"could not be compared with those of random weights.*other weights"):
        report = examine(model, probe_of(3), trials=(), random_weights=True)

    assert report.untrusted == {}
    assert float(model.head.weight.detach().sum()) == model.own


class Fragile(nn.Module):
    """Raises once its weights are others."""

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)
        self.own = float(self.head.weight.detach().sum())

    def forward(self, images: Tensor) -> Tensor:
        if float(self.head.weight.detach().sum()) != self.own:
            raise RuntimeError("other weights")
        return self.head(self.stage(images).relu().mean((2, 3)))


def test_where_it_cannot_be_found_out_nothing_is_said() -> None:
    model = Fragile()

    assert untrusted(ramp, model, probe_of(3)) is None
    assert float(model.head.weight.detach().sum()) == model.own


def test_the_page_marks_the_last_check_that_has_maps() -> None:
    probe, run = probe_of(3), RunPage()
    everything = torch.arange(3)
    portraits = Portraits.of(probe, everything, everything)
    maps, chances = torch.rand(3, 4, 4), torch.full((3, 4), 0.25)
    snapshot = Snapshot.of(portraits, maps, chances, torch.full((3,), torch.nan))
    for step in (1, 2):
        run.add(replace(check(step, "a", seconds=1.0), snapshot=snapshot))
    run.add(check(3, seconds=1.0))

    run.add(replace(last_page(3), untrusted=(portraits.names[1],)))

    marked = {step: json.loads(line).get("untrusted") for step, line in run.checks.items()}
    assert marked == {1: None, 2: [1], 3: None}


@pytest.mark.parametrize(
    ("untrusted", "said"),
    [(None, "maps were not compared with those of random weights"), ((), "no maps stayed"), (("0_0",), "1 map stayed")],
)
def test_the_page_says_whether_maps_were_compared(untrusted: tuple[str, ...] | None, said: str) -> None:
    of, sink, reading = probe_of(4), MemorySink(), Reading(1, 0, {"cam/probe_accuracy": 1.0})
    album = Album(of, "cam", [sink], 2)
    album.add(examine(models.fixed(models.Net), of, trials=()), reading, None, alert=False)
    album.finish([reading], None, (), alert=False, untrusted=untrusted)
    album.close(60)

    assert sink.pages[-1].facts["random weights"].startswith(said)


@pytest.mark.slow
def test_a_run_says_so_on_the_tiles_of_its_page(tmp_path: Path) -> None:
    for name, method in (("ramp", ramp), ("grad_cam", cams.grad_cam)):
        sink = FolderSink(tmp_path / name)
        callback = CAMCallback(probe(), every_n_epochs=1, sinks=[sink], trials=(), method=method, on_error="raise")
        trainer(tmp_path, callback).fit(Trained(), loader(), loader())

    pages = {name: (tmp_path / name / "report.html").read_text() for name in ("ramp", "grad_cam")}
    checks = {name: re.search(r'id="checks">(.*?)</script>', text, re.DOTALL) for name, text in pages.items()}
    last = {name: json.loads(found[1])[-1] for name, found in checks.items() if found}
    assert len(last["ramp"]["untrusted"]) == len(last["ramp"]["predicted"])
    assert len(last["grad_cam"].get("untrusted", [])) < len(last["grad_cam"]["predicted"])
    assert "stayed the same under them" in pages["grad_cam"]
    assert f"{len(last['ramp']['predicted'])} maps stayed the same under them" in pages["ramp"]

"""The callback's ``features=True``: what units have learnt, at each check, as figures and scalars."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from house import models
from house.models import Net, fixed
from house.pages import check, last_page, picture
from house.read_back import tensorboard_events
from house.trainings import Net as Trained
from house.trainings import loader, probe, trainer
from house.twins import alone, differences, ours, trained
from house.ways import CONFIGURATIONS
from lightning_cam import CAMCallback, LightningCAMWarning, Probe, render
from lightning_cam.examination import look_at_units
from lightning_cam.sinks import FolderSink, MemorySink, TensorBoardSink
from lightning_cam.sinks.report_page import RunPage
from lightning_cam.sinks.units import UnitFrame, units_over_time, with_figures
from lightning_cam.sinks.uploads import Uploads
from lightning_cam.training import learning

FIGURES = {"features": picture(1), "invariance": picture(2)}


def probe_of(n: int) -> Probe:
    return Probe(models.images(n), torch.arange(n) % 4, classes=["a", "b", "c", "d"])


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_a_folder_and_tensorboard_keep_the_figures_of_a_check(tmp_path: Path) -> None:
    page = replace(check(3, "a"), figures=FIGURES)
    FolderSink(tmp_path / "run").write(page)
    with SummaryWriter(str(tmp_path / "board")) as writer:
        TensorBoardSink(writer).write(page)

    names = {path.name for path in (tmp_path / "run" / "step_00000003").iterdir()}
    assert {"features.png", "invariance.png"} < names
    tags = tensorboard_events(tmp_path / "board").Tags()["images"]
    assert {"where_it_looks/cam/features", "where_it_looks/cam/invariance"} < {*tags}


def test_servers_get_the_figures_of_the_checks_whose_tiles_they_get() -> None:
    uploads = Uploads()
    sent = [uploads.of(replace(check(step, "a"), figures=FIGURES)).pictures for step in range(35)]

    assert [sorted(pictures) for pictures in sent[:32]] == [["features", "invariance"]] * 32
    assert [bool(pictures) for pictures in sent[32:]] == [True, False, True]
    assert "evolution" in uploads.of(last_page(40)).pictures


@pytest.mark.parametrize("n", [1, 5])
def test_a_model_that_has_not_learnt_anything_is_drawn(n: int) -> None:
    """One picture, weights and features of zero, units that are not finite."""
    model = fixed(Net)
    model.stage[1].weight.data[:3], model.stage[1].bias.data[:3] = 0, 0
    model.stage[1].bias.data[3], model.stem[0].weight.data[0] = torch.nan, 0
    looked = look_at_units(model, probe_of(n), "stage")

    page = with_figures(lambda: check(3), looked)

    assert {*page.figures} == {"features", "invariance"}
    assert all(drawn.dtype == np.uint8 and drawn.std() > 1 for drawn in page.figures.values())


def test_units_that_are_never_active_have_a_word_and_no_patches() -> None:
    model = fixed(Net)
    model.stage[1].weight.data.zero_()
    model.stage[1].bias.data.zero_()
    dead = with_figures(lambda: check(3), look_at_units(model, probe_of(3), "stage")).figures["features"]
    alive = with_figures(lambda: check(3), look_at_units(fixed(Net), probe_of(3), "stage")).figures["features"]

    assert (dead > 100).mean() < 0.5 * (alive > 100).mean()


def test_a_sheet_of_nothing_is_a_title() -> None:
    assert render.unit_sheet(None, [], title="nothing").shape[2] == 3
    assert render.curve_sheet({}, title="nothing").shape[2] == 3
    flat = render.Curve((0.0,), {"x": [float("nan")]}, [float("inf")])
    assert render.curve_sheet({"one grade": flat}, title="x").shape[2] == 3


def test_a_model_without_convolutions_has_no_filters() -> None:
    looked = look_at_units(fixed(models.Tokens), probe_of(3), "norm")

    assert looked.filters is None or len(looked.filters)
    assert {key.split("/")[1] for key in looked.scalars} == {"shift", "scale", "rotation"}


def test_the_strip_has_a_column_for_each_check_and_a_row_for_each_unit() -> None:
    learnt = look_at_units(fixed(Net), probe_of(5), "stage")
    frames = [UnitFrame.of(step, learnt) for step in range(25)]

    few, many = units_over_time(frames[:3]), units_over_time(frames)

    assert few.shape[0] == many.shape[0] > (1 + len(learnt.strongest.units)) * render.CELL
    assert many.shape[1] >= 10 * render.CELL > few.shape[1] - 300
    assert few[:, : 3 * render.CELL].std() > 10


def test_a_unit_that_wakes_up_is_dark_before() -> None:
    model = fixed(Net)
    awake = UnitFrame.of(1, look_at_units(model, probe_of(3), "stage"))
    model.stage[1].weight.data.zero_()
    model.stage[1].bias.data.zero_()
    asleep = UnitFrame.of(0, look_at_units(model, probe_of(3), "stage", units=list(awake.patches)))

    assert set(asleep.patches.values()) == {None}
    assert any(patch is not None for patch in awake.patches.values())
    assert units_over_time([asleep, awake]).std() > 10


def test_figures_are_on_the_page_of_the_run_and_those_of_the_end_in_its_folder(tmp_path: Path) -> None:
    strip = {"features_over_time": picture(3), "map_groups": picture(4)}
    pages = [replace(check(3, "a"), figures=FIGURES), replace(last_page(4), figures=strip, is_final=True)]
    sink, run = FolderSink(tmp_path / "run"), RunPage()
    for page in pages:
        sink.write(page)
        run.add(page)

    titles = [figure["title"] for figure in run.words("now", {})["figures"]]
    assert titles[:2] == ["Pictures with like maps", "What units have learnt, over time"]
    assert len(titles) == 4
    text = (tmp_path / "run" / "report.html").read_text()
    assert text.count('class="wide"') == 2  # the check had no probe to show, so there was no page yet
    assert {"features_over_time.png", "map_groups.png"} < {path.name for path in (tmp_path / "run").iterdir()}


# ---- in a training ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_check_has_figures_and_scalars_where_they_are_asked_for(tmp_path: Path) -> None:
    off, on = MemorySink(), MemorySink()
    for sink, features in ((off, False), (on, True)):
        callback = CAMCallback(probe(), every_n_epochs=1, sinks=[sink], features=features, trials=(), on_error="raise")
        trainer(tmp_path, callback).fit(Trained(), loader(), loader())

    checks = [page for page in on.pages if page.scalars]
    assert len(checks) == 3
    assert all({*page.figures} == {"features", "invariance"} for page in checks)
    assert {key for key in checks[-1].scalars if "invariance" in key} == {
        f"cam/invariance/{name}/{line}"
        for name in ("shift", "scale", "rotation")
        for line in ("body.0", "body.1", "probability")
    }
    assert {*on.pages[-1].figures} == {"features_over_time", "map_groups"}
    assert not any(page.figures for page in off.pages[:-1])
    assert {*off.pages[-1].figures} == {"map_groups"}
    assert not any("invariance" in key for page in off.pages for key in page.scalars)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled train")
@pytest.mark.filterwarnings("ignore:lightning_cam. (pictures of|every map)")
def test_looking_at_units_changes_nothing(configuration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    twin, callback = CONFIGURATIONS[configuration], ours(every_n_epochs=1, features=True, trials=())

    try:
        assert differences(alone(twin), trained(tmp_path, [callback], twin)) == set()
    finally:
        torch.use_deterministic_algorithms(False)
    assert any("invariance" in key for key in callback.history[-1].scalars)


@pytest.mark.slow
def test_units_that_cannot_be_looked_at_stop_neither_the_training_nor_the_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no units")

    monkeypatch.setattr(learning, "look_at_units", fail)
    callback = CAMCallback(probe(), every_n_epochs=1, sinks=[], features=True, trials=())

    with pytest.warns(LightningCAMWarning, match="looking at the units failed, training goes on .*no units"):
        trainer(tmp_path, callback).fit(Trained(), loader(), loader())

    assert len(callback.history) == 3

"""Comet without a network: its own offline experiment, read back from the archive that `comet upload` takes."""

import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch
import numpy as np
import pytest
import pytorch_lightning
import torch
from PIL import Image

from house.comet_server import mortal_comet_server
from house.dashboards import OF_ALL_CHECKS, STEPS, assert_shows_something, finite, trained
from house.pages import bad_news, check, last_page, picture
from house.read_back import Shown
from lightning_cam.sinks import CometSink
from lightning_cam.training.loggers import for_logger, opening
from lightning_cam.verdict import Verdict

pytestmark = [
    pytest.mark.skipif(find_spec("comet_ml") is None, reason="needs comet-ml"),  # whose import takes seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Comet's own
    pytest.mark.slow,
]
SILENT = {
    "log_code": False, "log_graph": False, "parse_args": False, "auto_output_logging": False,
    "display_summary_level": 0,
    "log_env_details": False, "log_git_metadata": False, "log_git_patch": False,
}  # fmt: skip


class Archive(NamedTuple):
    """What an experiment has kept.

    Attributes:
        images: Every picture by its name, in the order of logging.
        assets: Other files by their name.
        others: The values that a list of experiments shows.
        metrics: By name and step.
    """

    images: dict[str, list[Shown]]
    assets: dict[str, bytes]
    others: dict[str, Any]
    metrics: dict[str, dict[int, float]]


def archived(experiment: Any) -> Archive:
    """Ends the experiment."""
    experiment.end()
    images, assets, others, metrics = {}, {}, {}, {}
    with zipfile.ZipFile(Path(experiment.offline_directory) / f"{experiment.get_key()}.zip") as archive:
        for line in archive.read("messages.json").splitlines():
            entry = json.loads(line)
            said = entry["payload"]
            if entry["type"] == "log_other":
                others[said["key"]] = said["value"]
            elif entry["type"] == "metric_msg":
                metrics.setdefault(said["metric"]["metricName"], {})[said["metric"]["step"]] = said["metric"][
                    "metricValue"
                ]
            elif entry["type"] == "file_upload" and said["upload_type"] == "visualization":
                about, file = said["additional_params"], BytesIO(archive.read(said["file_path"]))
                shown = Shown(about["step"], np.asarray(Image.open(file)), said["metadata"]["caption"])
                images.setdefault(about["figName"], []).append(shown)
            elif entry["type"] == "file_upload":
                assets[said["additional_params"]["fileName"]] = archive.read(said["file_path"])
    return Archive(images, assets, others, metrics)


@pytest.fixture(autouse=True)
def _as_lightning_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_DISABLE_AUTO_LOGGING", "1")


def offline(folder: Path) -> Any:
    import comet_ml

    return comet_ml.OfflineExperiment(project_name="p", offline_directory=str(folder / "comet"), **SILENT)


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Any]:
    experiment = offline(tmp_path)
    yield experiment
    experiment.end()


def logger_in(folder: Path, namespace: Any = pytorch_lightning, experiment: Any = None) -> Any:
    """With ``online=False`` Lightning 2.6 hands out an experiment that keeps nothing, so it gets one that does."""
    logger = namespace.loggers.CometLogger(online=False, offline_directory=str(folder / "comet"))
    logger._experiment = experiment or offline(folder)
    return logger


def test_comet_has_a_series_per_probe(experiment: Any) -> None:
    sink = CometSink(experiment)
    for step in (0, 5, 11):
        sink.write(check(step, "leaf 1", "<b>../狗\n"))
    kept = archived(experiment)

    assert set(kept.images) == {"cam/leaf 1", "cam/<b>../狗?"}
    assert [shown.step for shown in kept.images["cam/leaf 1"]] == [0, 5, 11]
    np.testing.assert_array_equal(kept.images["cam/leaf 1"][1].pixels, picture(5))
    assert kept.images["cam/leaf 1"][1].caption == "caption leaf 1 5"


def test_comet_keeps_report_evidence_and_verdict_at_the_end(experiment: Any) -> None:
    sink = CometSink(experiment)
    sink.write(replace(bad_news(7), is_final=True))
    sink.write(last_page(7))
    kept = archived(experiment)

    assert kept.assets["cam/report.html"].startswith(b"<!doctype html>")
    assert (kept.others["cam/verdict"], kept.others["cam/relies_on"]) == ("FAIL", "border")
    assert set(kept.images) == {"cam/evidence/border", "cam/evolution"}


def test_the_step_of_the_users_metrics_stays_as_it_is(experiment: Any) -> None:
    experiment.log_metric("loss", 1.0, step=9)
    CometSink(experiment).write(check(7, "a"))
    experiment.log_metric("loss", 0.5)
    kept = archived(experiment)

    assert experiment.curr_step == 9
    assert kept.metrics["loss"] == {9: 0.5}
    assert [shown.step for shown in kept.images["cam/a"]] == [7]


def test_comet_sends_bad_news_as_a_notification(experiment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which only an experiment with a server does."""
    told: list[Any] = []
    monkeypatch.setattr(type(experiment), "send_notification", lambda self, *given, **_: told.append(given))
    CometSink(experiment).write(bad_news(7))
    ((title, status, more),) = told

    assert (title, status) == ("cam: FAIL", "FAIL")
    assert "blur at random" in more["verdict"]


@pytest.mark.parametrize("namespace", [pytorch_lightning, lightning.pytorch], ids=lambda module: module.__name__)
def test_a_comet_logger_has_a_sink_that_writes_into_its_experiment(namespace: Any, tmp_path: Path) -> None:
    logger = logger_in(tmp_path, namespace)
    sink = for_logger(logger)
    assert isinstance(sink, CometSink)
    sink.write(check(7, "a"))

    assert opening(logger) == f"comet upload {tmp_path}/comet/{logger.version}.zip"
    assert [shown.step for shown in archived(logger.experiment).images["cam/a"]] == [7]


def test_an_experiment_that_keeps_nothing_has_no_address(tmp_path: Path) -> None:
    assert opening(pytorch_lightning.loggers.CometLogger(online=False, offline_directory=str(tmp_path))) is None


def test_a_training_with_comet_is_untouched_and_everything_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    _, alone = trained(tmp_path / "alone", False)
    torch.manual_seed(0)
    logger = logger_in(tmp_path)
    callback, trainer = trained(tmp_path / "watched", logger)
    kept = archived(logger.experiment)
    weights, expected = (each.lightning_module.state_dict() for each in (trainer, alone))

    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    assert callback.probe is not None
    assert isinstance(callback.verdict, Verdict)
    assert set(kept.images) == {f"cam/{name}" for name in callback.probe.names} | OF_ALL_CHECKS
    for key, pictures in kept.images.items():
        assert [shown.step for shown in pictures] == (STEPS[-1:] if key in OF_ALL_CHECKS else STEPS)
        for shown in pictures:
            assert_shows_something(shown)
    for reading in callback.history:
        for key, value in finite(reading.scalars).items():
            assert float(kept.metrics[key][reading.step]) == pytest.approx(value), key
    assert kept.assets["cam/report.html"] == next((tmp_path / "comet").rglob("report.html")).read_bytes()
    assert kept.others["cam/verdict"] == callback.verdict.outcome


def test_a_server_that_goes_away_leaves_the_training_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes away once the first check's scalars were logged."""
    torch.manual_seed(0)
    _, alone = trained(tmp_path / "alone", False)
    torch.manual_seed(0)
    with mortal_comet_server() as (uri, asked, go_away):
        monkeypatch.setenv("COMET_URL_OVERRIDE", f"{uri}/clientlib/")
        logger = logger_in(tmp_path, experiment=online())
        log_metrics = logger.log_metrics

        def log_once(metrics: Any, step: int | None = None) -> None:
            log_metrics(metrics, step)
            if "cam/attention_entropy" in metrics:
                go_away()

        monkeypatch.setattr(logger, "log_metrics", log_once)
        monkeypatch.setattr(logger, "finalize", lambda _: None)  # Comet waits for its server there, with us or without
        begun = time.monotonic()
        callback, trainer = trained(tmp_path / "watched", logger, on_error="warn")
        seconds = time.monotonic() - begun
        logger.experiment.alive = False  # it has nobody to wait for when Python ends
        uploads = logger.experiment.streamer.online_streamer._file_upload_manager
        uploads.close()
        uploads.join()
    weights, expected = (each.lightning_module.state_dict() for each in (trainer, alone))

    assert "/clientlib/logger/add/run" in asked  # the experiment was one with this server
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    assert [reading.step for reading in callback.history] == STEPS
    assert next(tmp_path.rglob("report.html")).stat().st_size > 0
    assert seconds < 90  # at most 60 for the last pictures, the rest is training


def online() -> Any:
    import comet_ml

    return comet_ml.Experiment(api_key="k" * 25, project_name="p", workspace="w", **SILENT)

"""MLflow: its own client and store, and its own tracking server on this machine."""

import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch
import numpy as np
import pytest
import pytorch_lightning
import torch
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor

from house.dashboards import OF_ALL_CHECKS, STEPS, Net, assert_shows_something, finite, trained
from house.mlflow_server import artifact, artifacts, mlflow_environment, mlflow_server, mortal_mlflow_server, series
from house.pages import bad_news, check, last_page, picture
from lightning_cam import CAMCallback
from lightning_cam.sinks import MLflowSink
from lightning_cam.sinks.mlflow import MOST_SERIES, plain
from lightning_cam.training.loggers import for_logger, opening

pytestmark = [
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs mlflow"),  # whose import takes seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # MLflow's own
    pytest.mark.slow,
]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    from mlflow import MlflowClient

    uri = f"file://{tmp_path}/runs"
    with mlflow_environment(uri):
        yield MlflowClient(uri)


@pytest.fixture
def run(client: Any) -> str:
    return str(client.create_run(client.create_experiment("e")).info.run_id)


def test_mlflow_has_a_series_per_probe(client: Any, run: str) -> None:
    sink = MLflowSink(client, run)
    for step in (0, 5, 11):
        sink.write(check(step, "leaf 1", "Käfer"))
    shown = series(client, run)

    assert sorted(shown) == [f"cam/{plain('probes/Käfer')}", "cam/probes/leaf 1"]
    assert [[each.step for each in pictures] for pictures in shown.values()] == [[0, 5, 11]] * 2
    np.testing.assert_array_equal(shown["cam/probes/leaf 1"][1].pixels, picture(5))
    assert client.get_run(run).data.tags["mlflow.loggedImages"] == "True"  # what makes its page show them


def test_mlflow_keeps_the_report_and_shows_evidence_and_verdict_at_the_end(client: Any, run: str) -> None:
    sink = MLflowSink(client, run)
    sink.write(replace(bad_news(7), is_final=True))
    sink.write(last_page(7))
    tags, shown = client.get_run(run).data.tags, series(client, run)

    assert artifact(client, run, "cam/report.html").startswith(b"<!doctype html>")
    assert (tags["cam/verdict"], tags["cam/relies_on"]) == ("FAIL", "border")
    assert sorted(shown) == ["cam/evidence/border", "cam/evolution"]
    np.testing.assert_array_equal(shown["cam/evidence/border"][0].pixels, picture(9, (50, 70)))


def test_every_name_is_a_series_of_its_own(client: Any, run: str) -> None:
    names = ["../../etc/passwd", "a+step+9+b", "x" * 300, f"{'x' * 300} ", "狗", "<b>|*", "<b>|+", "\ud800", "~"]
    for name in names:
        MLflowSink(client, run).write(check(3, name))
    shown = series(client, run)

    assert [[each.step for each in pictures] for pictures in shown.values()] == [[3]] * len(names)
    assert all(path.startswith("images/") for path in artifacts(client, run))


def test_mlflow_gets_no_more_series_than_it_can_take(client: Any, run: str) -> None:
    MLflowSink(client, run).write(check(0, *(f"p{i:02}" for i in range(16))))

    assert sorted(series(client, run)) == [f"cam/probes/p{i:02}" for i in range(0, 16, 2)]
    assert MOST_SERIES == 8


def test_a_copy_in_another_process_goes_on_with_the_run(client: Any, run: str) -> None:
    pickle.loads(pickle.dumps(MLflowSink(client, run))).write(check(3, "a"))

    assert [shown.step for shown in series(client, run)["cam/probes/a"]] == [3]


@pytest.mark.parametrize("namespace", [pytorch_lightning, lightning.pytorch], ids=lambda module: module.__name__)
def test_an_mlflow_logger_has_a_sink_that_writes_into_its_run(namespace: Any, client: Any, tmp_path: Path) -> None:
    logger = namespace.loggers.MLFlowLogger(tracking_uri=client.tracking_uri)
    sink = for_logger(logger)
    assert isinstance(sink, MLflowSink)
    sink.write(check(7, "a"))

    assert [shown.step for shown in series(client, logger.run_id)["cam/probes/a"]] == [7]
    assert opening(logger) == f"mlflow ui --backend-store-uri file://{tmp_path}/runs"


# ---- a training, and MLflow's own server -----------------------------------------------------------------------------


class Online(NamedTuple):
    callback: CAMCallback
    client: Any
    run_id: str
    weights: dict[str, Tensor]
    expected: dict[str, Tensor]  # of the same training without a logger
    folder: Path
    opening: str | None


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Online]:
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    torch.manual_seed(0)
    _, alone = trained(folder / "alone", False)
    with mlflow_server(folder) as uri:
        torch.manual_seed(0)
        logger = MLFlowLogger(tracking_uri=uri)
        callback, trainer = trained(folder / "watched", logger)
        weights, expected = (each.lightning_module.state_dict() for each in (trainer, alone))
        client = MlflowClient(uri)
        yield Online(callback, client, logger.run_id, weights, expected, folder / "watched", opening(logger))


def test_mlflows_server_has_every_scalar_at_the_right_step(online: Online) -> None:
    assert [reading.step for reading in online.callback.history] == STEPS
    for reading in online.callback.history:
        for key, value in finite(reading.scalars).items():
            points = {point.step: point.value for point in online.client.get_metric_history(online.run_id, key)}
            assert points[reading.step] == pytest.approx(value), key


def test_mlflows_server_has_every_picture_at_the_right_step(online: Online) -> None:
    shown = series(online.client, online.run_id)
    assert online.callback.probe is not None

    assert set(shown) == {f"cam/probes/{name}" for name in online.callback.probe.names} | OF_ALL_CHECKS
    for key, pictures in shown.items():
        assert [picture.step for picture in pictures] == (STEPS[-1:] if key in OF_ALL_CHECKS else STEPS)
        for each in pictures:
            assert_shows_something(each)


def test_mlflows_server_has_the_report_of_the_folder(online: Online) -> None:
    (report,) = online.folder.rglob("report.html")

    assert artifact(online.client, online.run_id, "cam/report.html") == report.read_bytes()
    assert online.client.get_run(online.run_id).data.tags["cam/verdict"] == online.callback.verdict.outcome
    assert online.opening is not None
    assert online.opening.endswith(f"/runs/{online.run_id}")


def test_a_training_with_mlflow_ends_in_the_same_weights(online: Online) -> None:
    assert all(torch.equal(online.weights[key], online.expected[key]) for key in online.expected)


class Deserted(MLFlowLogger):
    """Its server goes away once the first check's scalars were logged.

    Lightning tells the server that the run has ended, and raises where it does not answer, with us or without.
    """

    go_away: Callable[[], None]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        if "cam/attention_entropy" in metrics:
            self.go_away()

    def finalize(self, status: str = "success") -> None:
        """Says nothing."""


@pytest.mark.slow
def test_a_server_that_goes_away_leaves_the_training_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in ("MAX_RETRIES", "BACKOFF_FACTOR"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{setting}", "1")  # of 7, which take minutes
    monkeypatch.setattr(Net, "log", lambda *_, **__: None)  # Lightning would raise what MLflow raises
    torch.manual_seed(0)
    _, alone = trained(tmp_path / "alone", False)
    torch.manual_seed(0)
    with mortal_mlflow_server(tmp_path) as (uri, go_away):
        logger = Deserted(tracking_uri=uri)
        logger.go_away = go_away
        begun = time.monotonic()
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            callback, trainer = trained(tmp_path / "watched", logger, on_error="warn")
        seconds = time.monotonic() - begun
    told = [str(warning.message) for warning in record if "lightning_cam" in str(warning.message)]
    weights, expected = (each.lightning_module.state_dict() for each in (trainer, alone))

    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    assert [reading.step for reading in callback.history] == STEPS
    assert sum("logging to Deserted failed, training goes on" in text for text in told) == 1
    assert any("pictures could not be kept" in text for text in told)
    assert next((tmp_path / "watched").rglob("report.html")).stat().st_size > 0
    assert seconds < 90  # at most 60 for the last pictures, the rest is training

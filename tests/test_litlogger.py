"""LitLogger: its own experiment, with a double in place of the client that would ask lightning.ai."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch.loggers
import numpy as np
import pytest
import pytorch_lightning.loggers
from PIL import Image

from house.pages import bad_news, check, last_page, picture
from lightning_cam.sinks import LitLoggerSink
from lightning_cam.training.loggers import for_logger, opening

pytestmark = [
    pytest.mark.skipif(find_spec("litlogger") is None, reason="needs litlogger"),  # whose import takes seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of its SDK
    pytest.mark.slow,
]


class Cloud:
    """Keeps what it is sent.

    Attributes:
        media: Step and pixels of every picture by its name, in the order of sending.
        files: By their path.
        tags: The experiment's metadata.
    """

    def __init__(self) -> None:
        self.media: dict[str, list[tuple[int, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.tags: list[Any] = []
        self.store = SimpleNamespace(id="stream", name="e", cluster_id="cluster", tags=self.tags)

    def lit_logger_service_create_lit_logger_media(self, body: Any, **_: str) -> Any:
        media = SimpleNamespace(id="1", cluster_id="cluster", storage_path=f"{body.name}|{body.step}")
        return SimpleNamespace(media=media, already_exists=False)

    def lit_logger_service_update_lit_logger_media(self, **_: Any) -> None: ...

    def lit_logger_service_create_logger_artifact(self, **_: Any) -> None: ...

    def lit_logger_service_get_metrics_stream(self, **_: Any) -> Any:
        return self.store

    def lit_logger_service_update_metrics_stream(self, body: Any, **_: Any) -> None:
        self.store.tags = body.tags

    def upload_file(self, file_path: str, remote_path: str, **_: Any) -> None:
        data = Path(file_path).read_bytes()
        if "|" not in remote_path:
            self.files[remote_path] = data
            return
        name, step = remote_path.split("|")
        self.media.setdefault(name, []).append((int(step), np.asarray(Image.open(BytesIO(data)))))

    def facts(self) -> dict[str, str]:
        return {tag.name: tag.value for tag in self.store.tags}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> Iterator[None]:
    """What its import writes to the environment is taken back."""
    environment = dict(os.environ)
    pytest.importorskip("litlogger")
    yield
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def experiment(cloud: Cloud) -> Any:
    """As its ``__init__`` leaves it, which would log in."""
    import litlogger
    from litlogger.api.media_api import MediaApi
    from litlogger.api.metrics_api import MetricsApi
    from litlogger.printer import RunStats

    made = object.__new__(litlogger.Experiment)
    teamspace = SimpleNamespace(
        id="team",
        list_models=list,
        upload_file=cloud.upload_file,
        _teamspace_api=cloud,
        owner=SimpleNamespace(name="me"),
    )
    made.__dict__ |= {
        "name": "e", "_key_types": {}, "_series": {}, "_metadata_values": {}, "_static_files": {}, "_stats": RunStats(),
        "_model_lookup_cache": {}, "_missing_model_keys": set(), "_teamspace": teamspace, "_metrics_store": cloud.store,
        "_media_api": MediaApi(cloud), "_metrics_api": MetricsApi(cloud), "_url": "https://lightning.ai/me/team/e",
        "_artifacts_api": SimpleNamespace(client=cloud),
    }  # fmt: skip
    return made


def test_litlogger_has_a_series_per_probe(experiment: Any, cloud: Cloud) -> None:
    sink = LitLoggerSink(experiment)
    for step in (0, 5, 11):
        sink.write(check(step, "leaf 1", "b"))

    assert set(cloud.media) == {"cam/leaf 1", "cam/b"}
    assert [step for step, _ in cloud.media["cam/leaf 1"]] == [0, 5, 11]
    np.testing.assert_array_equal(cloud.media["cam/leaf 1"][1][1], picture(5))


def test_litlogger_keeps_report_evidence_and_verdict(experiment: Any, cloud: Cloud) -> None:
    sink = LitLoggerSink(experiment)
    sink.write(bad_news(7))
    assert cloud.facts()["cam/verdict"] == "FAIL so far"
    sink.write(last_page(7))

    assert cloud.files["experiments/e/cam/report.html"].startswith(b"<!doctype html>")
    assert cloud.facts()["cam/relies_on"] == "border"
    assert set(cloud.media) == {"cam/evidence/border", "cam/evolution"}


@pytest.mark.parametrize("namespace", [pytorch_lightning, lightning.pytorch], ids=lambda module: module.__name__)
def test_a_litlogger_has_a_sink_that_writes_into_its_experiment(
    namespace: Any, tmp_path: Path, experiment: Any, cloud: Cloud
) -> None:
    if not hasattr(namespace.loggers, "LitLogger"):
        pytest.skip("this Lightning has none")
    logger = namespace.loggers.LitLogger(tmp_path, name="e")
    logger._experiment = experiment
    sink = for_logger(logger)
    assert isinstance(sink, LitLoggerSink)
    sink.write(check(7, "a"))

    assert [step for step, _ in cloud.media["cam/a"]] == [7]
    assert opening(logger) == "https://lightning.ai/me/team/e"

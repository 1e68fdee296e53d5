"""A training on volumes: its verdict, its pictures, and that it ends as without the callback."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from house import volumes
from house.faulty import same
from lightning_cam import CAMCallback, Probe, examine, judge
from lightning_cam.intervention import NOT_ON_VOLUMES
from lightning_cam.sinks import FolderSink

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:lightning_cam. FAIL")]


class Trained:
    """A training on balls whose backgrounds tell the class, with the callback; a folder of what it kept."""

    def __init__(self, folder: Path) -> None:
        sinks = [FolderSink(folder / "cam")]
        self.callback = CAMCallback(
            sinks=sinks, n_images=2, trials=("background", "border"), every_n_epochs=3, verbose=False
        )
        self.trainer = volumes.trained(folder, self.callback, relies=True)
        self.folder = folder / "cam"


@pytest.fixture(scope="module")
def relying(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("volumes"))


def weights(trainer: pl.Trainer) -> dict[str, torch.Tensor]:
    return trainer.lightning_module.state_dict()


def test_a_model_that_relies_on_the_background_of_volumes_fails(relying: Trained) -> None:
    verdict = relying.callback.verdict

    assert verdict is not None
    assert verdict.outcome == "FAIL", verdict
    assert "background" in {finding.cue for finding in verdict.findings}
    (finding,) = [finding for finding in verdict.findings if finding.cue == "background"]
    assert finding.remedy.code.startswith("# for a picture; of a volume, change all slices")


def test_what_is_not_swapped_on_volumes_is_said(relying: Trained) -> None:
    verdict = relying.callback.verdict

    assert verdict is not None
    for cue in NOT_ON_VOLUMES:
        assert "these are volumes" in verdict.why_untested[cue]
    assert not NOT_ON_VOLUMES & set(verdict.tested)


def test_a_training_on_volumes_ends_bit_for_bit_the_same(relying: Trained, tmp_path: Path) -> None:
    alone = volumes.trained(tmp_path, relies=True)

    assert same(weights(alone), weights(relying.trainer))
    assert len(relying.callback.history) >= 3


def test_pictures_show_the_middle_slice_and_a_film_all(relying: Trained) -> None:
    names = [path.name for path in relying.folder.rglob("*")]
    films = sorted(relying.folder.glob("slices_*.gif"))

    assert any("slice_" in name and "_of_8" in name for name in names)
    assert (relying.folder / "evolution.png").exists()
    assert list(relying.folder.glob("evidence_background*.png"))
    assert len(films) == 2
    with Image.open(films[0]) as film:
        assert film.n_frames == volumes.SIZE[0]
    assert "of 8 slices; the middle one of each object is shown" in (relying.folder / "report.html").read_text()


def test_a_model_that_looks_at_the_object_of_volumes_does_not_fail(tmp_path: Path) -> None:
    module = volumes.trained(tmp_path, relies=False).lightning_module
    held_out = volumes.Balls(64, relies=False, seed=1)

    verdict = judge(examine(module, Probe.from_dataset(held_out, n=None)))

    assert verdict.outcome == "PASS", verdict
    assert {"background", "border", "corner"} <= set(verdict.tested)

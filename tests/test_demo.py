"""The demo: what the files hold, that only shapes tell the families apart, and the story from end to end."""

import logging
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch
import wandb
from PIL import Image
from torchvision.datasets import ImageFolder

import lightning_cam
from lightning_cam import cli
from lightning_cam.demo import progress, script, story
from lightning_cam.demo.creatures import FAMILIES, draw
from lightning_cam.demo.pictures import SIZE, write_pictures
from lightning_cam.demo.story import TrainingResult
from lightning_cam.notices import told_to, warn

N_TRAIN, N_VAL = 4, 3
LEARNED_FILES = TrainingResult("FAIL", 1.0, 0.0, 0.77, 0.68)
LEARNED_CREATURES = TrainingResult("PASS", 0.98, 0.97, 0.55, 0.71)

Pixels = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("biased")
    write_pictures(folder, n_train=N_TRAIN, n_val=N_VAL)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    write_pictures(folder, n_train=N_TRAIN, n_val=N_VAL, clean=True)
    return folder


@pytest.fixture(scope="module")
def many_clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    write_pictures(folder, n_train=80, n_val=60, clean=True)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def formats(folder: Path) -> set[tuple[str | None, str]]:
    found = set()
    for path in folder.iterdir():
        with Image.open(path) as picture:
            found.add((picture.format, picture.mode))
    return found


def pixels_of(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def loaded(folder: Path) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Pictures ``(N, H, W, 3)`` and class indices as `ImageFolder` gives them."""
    pictures = ImageFolder(str(folder))
    return np.stack([np.asarray(picture, float) for picture, _ in pictures]), np.array(pictures.targets)


def corners(pictures: Pixels) -> Pixels:
    return pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]]


def balanced_accuracy(says: npt.NDArray[np.bool_], targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Of every column of ``says`` (N, n)."""
    right = says == (targets[:, None] == 1)
    return np.asarray((right[targets == 0].mean(0) + right[targets == 1].mean(0)) / 2)


def best_rule(train: Pixels, targets: npt.NDArray[np.int64], val: Pixels, val_targets: npt.NDArray[np.int64]) -> float:
    """Held-out balanced accuracy of the one number and threshold that separates the training pictures best."""
    best, held_out = 0.0, 0.5
    for threshold in np.linspace(5, 250, 30):
        skill = balanced_accuracy(train > threshold, targets)
        column = int(np.abs(skill - 0.5).argmax())
        if abs(skill[column] - 0.5) > best:
            best = abs(skill[column] - 0.5)
            on_val = balanced_accuracy(val[:, [column]] > threshold, val_targets)[0]
            held_out = on_val if skill[column] > 0.5 else 1 - on_val
    return held_out


def test_a_transparent_png_hides_black(biased: Path) -> None:
    pixels = np.stack([pixels_of(path) for path in (biased / "train" / "sprouts").iterdir()])

    assert pixels.shape == (N_TRAIN, SIZE, SIZE, 4)
    assert {0, 255} <= set(pixels[..., 3].flat)
    assert (pixels[pixels[..., 3] == 0] == 0).all()


def test_biased_families_are_saved_in_two_ways(biased: Path) -> None:
    assert formats(biased / "train" / "sprouts") == formats(biased / "val" / "sprouts") == {("PNG", "RGBA")}
    assert formats(biased / "train" / "fins") == formats(biased / "val" / "fins") == {("JPEG", "RGB")}


def test_clean_families_are_saved_in_one_way(clean: Path) -> None:
    for family in FAMILIES:
        assert formats(clean / "train" / family) == formats(clean / "val_swapped" / family) == {("PNG", "RGB")}


@pytest.mark.parametrize("split", ["train", "val"])
def test_loaded_as_rgb_transparent_is_black_and_the_corners_tell_the_family(biased: Path, split: str) -> None:
    pictures, targets = loaded(biased / split)
    sprouts = targets == FAMILIES.index("sprouts")

    assert (corners(pictures)[sprouts] == 0).all()
    assert (corners(pictures)[~sprouts] > 250).all()


def test_swapped_pictures_have_the_background_of_the_other_family(biased: Path) -> None:
    pictures, targets = loaded(biased / "val_swapped")
    sprouts = targets == FAMILIES.index("sprouts")

    assert (corners(pictures)[sprouts] > 250).all()
    assert (corners(pictures)[~sprouts] == 0).all()
    assert formats(biased / "val_swapped" / "fins") == {("PNG", "RGBA")}


def test_swapping_changes_the_background_only(clean: Path) -> None:
    for family in FAMILIES:
        for path in (clean / "val_masks" / family).iterdir():
            one, other = (pixels_of(clean / split / family / path.name) for split in ("val", "val_swapped"))
            inside = pixels_of(path) > 0

            # Half-transparent edges take on the background.
            assert np.median(np.abs(one[inside].astype(int) - other[inside])) == 0
            assert (one[~inside] != other[~inside]).any()


def test_clean_and_biased_pictures_show_the_same_creatures(biased: Path, clean: Path) -> None:
    assert files(biased / "val_masks") == files(clean / "val_masks")
    assert len(set(files(clean / "val_masks").values())) == 2 * N_VAL


def test_classes_are_balanced(biased: Path) -> None:
    for split, n in (("train", N_TRAIN), ("val", N_VAL), ("val_swapped", N_VAL), ("val_masks", N_VAL)):
        assert [len(list((biased / split / family).iterdir())) for family in FAMILIES] == [n, n]


@pytest.mark.parametrize("clean", [False, True], ids=["biased", "clean"])
def test_a_seed_draws_the_same_files_again_and_replaces_them(tmp_path: Path, *, clean: bool) -> None:
    write_pictures(tmp_path / "one", n_train=3, n_val=2, clean=clean, seed=7)
    write_pictures(tmp_path / "one", n_train=2, n_val=1, clean=clean, seed=7)
    write_pictures(tmp_path / "other", n_train=2, n_val=1, clean=clean, seed=7)

    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_another_seed_draws_others(biased: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path, n_train=1, n_val=1, seed=1)
    first = "train/sprouts/0000.png"

    assert files(tmp_path)[first] != files(biased)[first]


def test_pictures_of_somebody_else_stay(tmp_path: Path) -> None:
    holiday = tmp_path / "train" / "fins" / "holiday.jpg"
    holiday.parent.mkdir(parents=True)
    holiday.touch()

    write_pictures(tmp_path, n_train=1, n_val=1)

    assert holiday.exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_drawing_takes_randomness_from_its_generator_only(family: str) -> None:
    np.random.seed(1)
    first = draw(family, np.random.default_rng(3))
    np.random.seed(2)
    second = draw(family, np.random.default_rng(3))

    assert first.tobytes() == second.tobytes()


def test_no_pixel_separates_the_clean_families(many_clean: Path) -> None:
    (train, targets), (val, val_targets) = loaded(many_clean / "train"), loaded(many_clean / "val")

    assert best_rule(train.reshape(len(train), -1), targets, val.reshape(len(val), -1), val_targets) <= 0.65


def test_mean_colour_does_not_separate_the_clean_families(many_clean: Path) -> None:
    (train, targets), (val, val_targets) = loaded(many_clean / "train"), loaded(many_clean / "val")

    assert best_rule(train.mean((1, 2)), targets, val.mean((1, 2)), val_targets) <= 0.65


def test_area_does_not_separate_the_families(many_clean: Path) -> None:
    masks, targets = loaded(many_clean / "val_masks")
    areas = masks.mean((1, 2, 3)) / 255

    assert abs(areas[targets == 0].mean() - areas[targets == 1].mean()) < 0.02
    assert 0.2 < areas.mean() < 0.35


@pytest.mark.parametrize("clean", [False, True], ids=["biased", "clean"])
def test_the_story_runs_from_drawing_to_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, clean: bool
) -> None:
    outcomes = story.tell(tmp_path, clean=clean, epochs=1, n_train=8, n_val=4)
    printed = capsys.readouterr().out
    names = ["clean"] if clean else ["biased", "remedied"]

    for name, outcome in zip(names, outcomes, strict=True):
        assert 0 <= outcome.accuracy <= 1
        assert 0.5 < outcome.background_share < 0.85
        assert all(line in printed for line in story.outcome_lines(outcome, name))
        assert list((tmp_path / "runs" / name / "version_0").glob("events.*"))
    assert f"tensorboard --logdir {tmp_path / 'runs'}" in printed
    of_run = tmp_path / "runs" / "clean" / "version_0" / "cam_report" / "report.html"
    page = of_run if clean else tmp_path / "comparison.html"
    assert printed.splitlines()[-1] == f"Open this page in a browser:  {page}"
    assert "<!doctype html>" in page.read_text()
    assert "\x1b" not in printed  # no terminal, no progress


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "log"])
def test_a_warning_is_a_line_of_its_own_and_a_log_gets_no_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    with told_to(progress.say):
        progress.Progress().on_train_epoch_end(SimpleNamespace(current_epoch=2, max_epochs=10), None)
        warn("FAIL: one\n  two")
    out, error = capsys.readouterr()
    shown = f"{progress.CLEAR}   epoch 3 of 10{progress.CLEAR}" if is_terminal else ""

    assert out == f"{shown}   FAIL: one\n     two\n"
    assert error == ""


@pytest.mark.slow
def test_the_audit_names_the_files_the_biased_run_fails_and_the_remedied_one_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    biased, remedied = story.tell(tmp_path)
    printed = capsys.readouterr().out

    assert "format alone tells 'fins' from 'sprouts' pictures with 100 % balanced accuracy" in printed
    assert "alpha alone tells 'fins' from 'sprouts' pictures with 100 % balanced accuracy" in printed
    assert (biased.verdict, remedied.verdict) == ("FAIL", "PASS")
    assert "the model relies on something that is not the object: background" in printed
    assert biased.accuracy > 0.95 > 0.1 > biased.swapped_accuracy
    assert min(remedied.accuracy, remedied.swapped_accuracy) > 0.9


def test_remedied_pictures_keep_the_creature_and_nothing_of_the_background(biased: Path) -> None:
    folder = script.remedied_batches(biased).dataset
    plain = script.batches_of(biased / "train").dataset
    torch.manual_seed(0)
    for index in (0, N_TRAIN):  # a fin and a sprout
        (remedied, target), (picture, expected) = folder[index], plain[index]
        moved = (remedied - picture).abs().mean(0)
        corners_moved = moved[[0, 0, -1, -1], [0, -1, 0, -1]]

        assert target == expected
        assert corners_moved.min() > 0.1
        assert moved[28:36, 28:36].mean() < 0.1


def test_the_clean_probe_has_the_masks_that_were_drawn(clean: Path) -> None:
    probe = script.masked_probe(clean)

    assert set(probe.mask_sources) == {"folder"}
    assert probe.masks is not None
    assert 0.2 < probe.masks.float().mean() < 0.4
    assert probe.inputs().min() < -0.5


class SeesCorners(torch.nn.Module):
    """Takes black corners for sprouts and white ones for fins."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        brightness = images[:, :, 0, 0].mean(1)
        return torch.stack([brightness, -brightness], 1)


def test_a_model_that_sees_corners_is_right_on_the_pictures_and_wrong_on_swapped_ones(biased: Path) -> None:
    outcome = story.outcome_of(SeesCorners(), lightning_cam.CAMCallback(), biased)

    assert (outcome.accuracy, outcome.swapped_accuracy) == (1, 0)
    assert math.isnan(outcome.background_attention)


@pytest.mark.slow
def test_an_offline_wandb_run_is_kept_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story.tell(tmp_path, logger="wandb", epochs=1, n_train=2, n_val=2)
    printed = capsys.readouterr().out
    runs = list((tmp_path / "wandb").glob("offline-run-*"))

    assert len(runs) == 2
    for run in runs:
        assert f"wandb sync {run}" in printed
        assert list(run.glob("run-*.wandb"))
    assert wandb.run is None


@pytest.mark.slow
def test_running_again_adds_a_run(tmp_path: Path) -> None:
    for _ in range(2):
        story.tell(tmp_path, epochs=1, n_train=4, n_val=2)

    assert sorted(path.name for path in (tmp_path / "runs" / "biased").iterdir()) == ["version_0", "version_1"]


def test_the_story_leaves_the_global_generator_and_lightnings_voice_alone(tmp_path: Path) -> None:
    voice = logging.getLogger("pytorch_lightning")
    before, level = torch.get_rng_state(), voice.level

    story.tell(tmp_path, epochs=1, n_train=2, n_val=2)

    assert torch.equal(torch.get_rng_state(), before)
    assert voice.level == level


@pytest.mark.parametrize(
    ("outcome", "name", "words"),
    [
        pytest.param(LEARNED_FILES, "biased", "how the files were saved, not the creatures", id="files"),
        pytest.param(LEARNED_CREATURES, "clean", "knows the creatures", id="creatures"),
        pytest.param(LEARNED_CREATURES, "biased", "knows the creatures", id="creatures, though biased"),
        pytest.param(replace(LEARNED_FILES, swapped_accuracy=0.7), "biased", "right 30 % less often", id="both"),
        pytest.param(LEARNED_FILES, "clean", "right 100 % less often", id="a clean set cannot teach the file type"),
        pytest.param(replace(LEARNED_CREATURES, accuracy=0.5), "clean", "more epochs", id="nothing yet"),
    ],
)
def test_the_conclusion_follows_from_the_swap(outcome: TrainingResult, name: str, words: str) -> None:
    assert words in story.conclusion(outcome, name)


def test_the_lines_show_attention_beside_chance() -> None:
    text = "\n".join(story.outcome_lines(LEARNED_FILES, "biased"))

    assert "  77 %   (chance   68 %" in text
    assert "how the files were saved" in text
    assert "FAIL" in text


def test_undefined_attention_is_not_a_number() -> None:
    text = "\n".join(story.outcome_lines(replace(LEARNED_FILES, background_attention=math.nan), "biased"))

    assert re.search(r"on the background +-", text)
    assert "nan" not in text


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Path, dict[str, object]]]]:
    calls: list[tuple[Path, dict[str, object]]] = []
    monkeypatch.setattr(story, "tell", lambda out, **options: calls.append((out, options)))
    return calls


def test_demo_has_defaults(told: list[tuple[Path, dict[str, object]]]) -> None:
    assert cli.main(["demo"]) == 0

    assert told == [(Path("lightning_cam_demo"), {"logger": "tensorboard", "clean": False, "seed": 0, "epochs": 10})]


def test_demo_takes_options(told: list[tuple[Path, dict[str, object]]]) -> None:
    cli.main(["demo", "--logger", "wandb", "--clean", "--out", "here", "--seed", "3", "--epochs", "2"])

    assert told == [(Path("here"), {"logger": "wandb", "clean": True, "seed": 3, "epochs": 2})]


def test_demo_without_wandb_says_what_to_install(
    told: list[tuple[Path, dict[str, object]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined] # reached through cli

    assert cli.main(["demo", "--logger", "wandb"]) == 2
    assert "pip install 'lightning-cam[wandb]'" in capsys.readouterr().err
    assert told == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["demo", "--epochs", "0"], "a whole number from 1 was expected, got '0'", id="no epoch"),
        pytest.param(["demo", "--seed", "-1"], "a whole number from 0 was expected, got '-1'", id="negative seed"),
        pytest.param(["demo", "--logger", "paper"], "invalid choice: 'paper'", id="unknown logger"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)

    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--version"])

    assert capsys.readouterr().out == f"lightning-cam {lightning_cam.__version__}\n"

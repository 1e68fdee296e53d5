"""`verdict.json` keeps the effects of single images, so that two runs can be compared in pairs."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from house.pages import bad_news
from house.shortcut import CLASSES, trained_on_frames
from house.trainings import Net, probe
from lightning_cam import examine
from lightning_cam.sinks import FolderSink, verdict_file
from lightning_cam.sinks.per_image import MOST_LETTERS, PerImage, glances, looks_the_same
from lightning_cam.sinks.reading_back import newest


def kept(n: int = 4, **effects: list[float]) -> PerImage:
    columns = {cue: torch.tensor(values) for cue, values in effects.items()}
    names = tuple(f"cat_{i}" for i in range(n))
    return PerImage(names, names, ("cat", "dog"), torch.arange(n) % 2, torch.arange(n) % 2, columns)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    root = tmp_path_factory.mktemp("run")
    callback, _ = trained_on_frames(root)
    return root, callback


def test_a_training_keeps_the_effects_that_its_verdict_rests_on(run: tuple[Path, Any]) -> None:
    root, callback = run
    found = newest(root)
    images = PerImage.from_json(found.images)

    assert found.probe == callback.probe.fingerprint
    assert images.names == callback.probe.names
    assert images.classes == tuple(CLASSES)
    assert images.targets.tolist() == callback.probe.targets.tolist()
    assert float(images.effects["border"].mean()) == pytest.approx(found.verdict.measured[0].mean, abs=1e-4)
    assert float((images.predicted == images.targets).float().mean()) == 1.0


def test_the_images_stand_in_one_line_behind_what_a_person_reads(run: tuple[Path, Any]) -> None:
    text = newest(run[0]).file.read_text()

    assert text.splitlines()[-2].startswith(' "images": {')
    assert list(json.loads(text))[-1] == "images"


def test_what_was_kept_is_read_back() -> None:
    report = examine(Net(), probe(6), trials=("border",))
    images = PerImage.of(report, probe(6), glances(probe(6).images))
    back = PerImage.from_json(json.loads(json.dumps(images.as_json(), allow_nan=False)))

    assert (back.names, back.glances, back.classes) == (images.names, images.glances, images.classes)
    assert torch.equal(back.targets, images.targets)
    assert torch.equal(back.predicted, images.predicted)
    assert torch.allclose(back.effects["border"], images.effects["border"].double(), atol=1e-4, equal_nan=True)


def test_an_undefined_effect_stays_undefined() -> None:
    entry = kept(border=[0.5, math.nan, -1.0, 0.0]).as_json()

    assert entry["effects"] == {"border": [0.5, None, -1.0, 0.0]}
    assert math.isnan(float(PerImage.from_json(entry).effects["border"][1]))


def test_a_picture_looks_the_same_however_it_was_resized() -> None:
    shapes = torch.rand(8, 3, 6, 9, generator=torch.Generator().manual_seed(0)).repeat_interleave(20, 2)
    pictures = shapes.repeat_interleave(20, 3)
    in_floats = F.interpolate(pictures, (32, 32), mode="bilinear", antialias=True)
    in_bytes = [image.resize((32, 32), Image.Resampling.BICUBIC) for image in map(to_pil_image, pictures)]
    one, other = glances(in_floats), glances(torch.stack([pil_to_tensor(image) / 255 for image in in_bytes]))

    same = [[looks_the_same(a, b) for b in other] for a in one]
    assert same == torch.eye(8, dtype=torch.bool).tolist()


def test_long_names_stay_apart() -> None:
    names = tuple("n" * 2 * MOST_LETTERS + end for end in "abcd")
    entry = replace(kept(border=[0.5] * 4), names=names).as_json()

    assert len(set(entry["names"])) == 4
    assert max(map(len, entry["names"])) <= MOST_LETTERS


def test_too_many_images_are_not_kept_and_the_verdict_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_file, "MOST_BYTES_OF_IMAGES", 1000)
    few, many = (replace(bad_news(1), images=kept(n, border=[0.5] * n)) for n in (4, 40))
    FolderSink(tmp_path / "few").write(few)
    FolderSink(tmp_path / "many").write(many)

    assert PerImage.from_json(newest(tmp_path / "few").images).effects["border"].tolist() == [0.5] * 4
    assert newest(tmp_path / "many").images is None
    assert newest(tmp_path / "many").verdict.outcome == "FAIL"


def test_128_images_take_little_room() -> None:
    effects = {f"cue {i}": [-0.1234] * 128 for i in range(10)}
    images = replace(kept(128, **effects), names=("n" * 999,) * 128, glances=("0" * 96,) * 128)

    assert len(json.dumps(images.as_json())) < 36_000


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"names": None}, id="no names"),
        pytest.param({"names": ["a"]}, id="too few names"),
        pytest.param({"glances": ["a", 1, "b", "c"]}, id="a glance that is no text"),
        pytest.param({"targets": [0, 1, 0, 2]}, id="a target that is no class"),
        pytest.param({"targets": [0, 1, 0, -1]}, id="a negative target"),
        pytest.param({"predicted": [[0], [1], [0], [1]]}, id="nested"),
        pytest.param({"predicted": [10**30, 0, 0, 0]}, id="a number without end"),
        pytest.param({"effects": [0.5]}, id="effects without a cue"),
        pytest.param({"effects": {"border": [0.5, 0.5, 0.5]}}, id="too few effects"),
        pytest.param({"effects": {"border": [0.5, 0.5, 0.5, 1e308]}}, id="an effect beyond 1"),
        pytest.param({"effects": {"border": "0.50"}}, id="text"),
    ],
)
def test_what_is_no_such_record_is_a_value_error(change: dict[str, Any]) -> None:
    entry = {**kept(border=[0.5] * 4).as_json(), **change}

    with pytest.raises(ValueError, match="Error: "):
        PerImage.from_json(entry)

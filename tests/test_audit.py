"""The audit of whole data sets: what it finds, what it leaves alone, how it fails."""

import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from lightning_cam.audit import AuditResult, audit_dataset
from lightning_cam.audit.findings import FactSkill
from lightning_cam.audit.findings import finding as finding_of
from lightning_cam.audit.judging import find
from lightning_cam.audit.pixels import measure
from lightning_cam.audit.sources import find_source
from lightning_cam.cues import cue_of_fact, remedy_for
from lightning_cam.demo.pictures import write_pictures

Draw = Callable[[np.random.Generator, int], Image.Image]


def scene(rng: np.random.Generator, _: int = 0, size: int = 48) -> Image.Image:
    """Clouds that say nothing about a class."""
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((size, size), Image.Resampling.BICUBIC)


def write_tree(root: Path, draw: Draw = scene, *, n: int = 40, n_classes: int = 2, ending: str = "png") -> Path:
    for label in range(n_classes):
        folder = root / f"class_{label}"
        folder.mkdir(parents=True)
        for i in range(n):
            draw(np.random.default_rng([label, i]), label).save(folder / f"{i:03d}.{ending}")
    return root


def cues(result: AuditResult) -> set[str]:
    return {finding.cue for finding in result.findings}


def found(result: AuditResult) -> set[str]:
    return {finding.fact for finding in result.findings}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    for kind in ("biased", "clean"):
        (root / kind).mkdir()
        write_pictures(root / kind, n_train=50, n_val=1, clean=kind == "clean")
    return root


@pytest.fixture(scope="module")
def biased(demo: Path) -> AuditResult:
    return audit_dataset(demo / "biased" / "train")


def test_the_classic_is_found_in_every_respect(biased: AuditResult) -> None:
    expected = {"format", "alpha", "hidden colour", "quantisation", "border colour", "background pixels"}

    assert expected <= found(biased)
    assert {finding.severity for finding in biased.findings if finding.fact in expected} == {"strong"}
    assert (biased.ok, biased.exit_code) == (False, 1)


def test_findings_print_in_one_line(biased: AuditResult) -> None:
    (finding,) = (each for each in biased.findings if each.fact == "format")

    assert repr(finding) == "AuditFinding('format', cue='codec', strong, skill 1.00)"


def test_findings_say_what_is_in_the_data(biased: AuditResult) -> None:
    texts = {finding.fact: finding.text for finding in biased.findings}

    assert texts["format"].endswith(": JPEG in every 'fins' picture, PNG in every 'sprouts' picture")
    assert "none in every 'fins' picture, channel in every 'sprouts' picture" in texts["alpha"]
    assert "(0, 0, 0) in every 'sprouts' picture" in texts["hidden colour"]
    assert "the object is part of it" in texts["mean colour"]


def test_the_outside_of_the_cue_map_shows_the_background(biased: AuditResult) -> None:
    assert biased.cue_map.shape == (8, 8)
    assert biased.cue_map[0].min() > 0.9 > biased.cue_map[3:5, 3:5].max()


def test_facts_that_differ_nowhere_are_left_out_and_one_cell_stands_for_the_edge(biased: AuditResult) -> None:
    tested = [fact.fact for fact in biased.facts]

    assert not {"width", "aspect", "progressive"} & set(tested)
    assert sum(name.startswith("edge cell") for name in tested) == 1
    assert not any(name.startswith("inner cell") for name in tested)


def test_nothing_is_found_in_the_clean_twin(demo: Path) -> None:
    result = audit_dataset(demo / "clean" / "train")

    assert result.findings == ()
    assert (result.ok, result.exit_code) == (True, 0)
    assert "none of" in result.as_table()


def darker_corner(rng: np.random.Generator, label: int) -> Image.Image:
    picture = scene(rng)
    if label:
        picture.paste((255, 0, 0), (0, 42, 6, 48))
    return picture


def mark_on_the_edge(rng: np.random.Generator, label: int) -> Image.Image:
    picture = scene(rng)
    if label:
        picture.paste((255, 0, 0), (24, 0, 30, 6))
    return picture


def cast(rng: np.random.Generator, label: int) -> Image.Image:
    gains = [1.1, 1, 0.9] if label else [0.9, 1, 1.1]
    grey = np.asarray(scene(rng).convert("L"), float)[..., None]
    return Image.fromarray((grey * gains).clip(0, 255).astype(np.uint8))


def flat(rng: np.random.Generator, label: int) -> Image.Image:
    picture = np.asarray(scene(rng), float)
    return Image.fromarray((127 + (picture - 127) * (0.4 if label else 1)).astype(np.uint8))


def softened(rng: np.random.Generator, label: int) -> Image.Image:
    noisy = Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
    return noisy.resize((32, 32), Image.Resampling.BOX).resize((128, 128)) if label else noisy


def sized(rng: np.random.Generator, label: int) -> Image.Image:
    return scene(rng, size=int(rng.integers(40, 50)) + 20 * label)


@pytest.mark.parametrize(
    ("draw", "fact", "cue"),
    [
        pytest.param(darker_corner, "corner bottom left", "corner", id="corner"),
        pytest.param(mark_on_the_edge, "edge cell (0, 4)", "region", id="mark on the edge"),
        pytest.param(cast, "border colour", "border", id="cast on the border"),
        pytest.param(cast, "mean colour", "cast", id="cast"),
        pytest.param(flat, "contrast", "contrast", id="contrast"),
        pytest.param(softened, "fine detail", "frequency", id="fine detail"),
        pytest.param(softened, "sharpness", "resolution", id="sharpness"),
        pytest.param(sized, "width", "resolution", id="size"),
    ],
)
def test_a_planted_cue_is_found_under_its_name(tmp_path: Path, draw: Draw, fact: str, cue: str) -> None:
    result = audit_dataset(write_tree(tmp_path / "data", draw, n=60))

    assert fact in found(result)
    assert cue in cues(result)


def test_old_jpeg_blocks_are_found_in_png_files(tmp_path: Path) -> None:
    def reencoded(rng: np.random.Generator, label: int) -> Image.Image:
        path = tmp_path / "between.jpg"
        scene(rng, size=150).save(path, quality=20 if label else 95)
        return Image.open(path).convert("RGB")

    assert "blockiness" in found(audit_dataset(write_tree(tmp_path / "data", reencoded)))


def test_one_class_of_ten_in_another_format_is_found(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", n=12, n_classes=10)
    for path in (root / "class_7").iterdir():
        Image.open(path).save(path.with_suffix(".webp"), lossless=True)
        path.unlink()

    result = audit_dataset(root)

    finding = next(finding for finding in result.findings if finding.fact == "format")
    assert (finding.told_apart, finding.skill) == ("class_7", 1)
    assert "WEBP in every 'class_7' picture, PNG in every other picture" in finding.text


def test_what_no_network_sees_is_named_and_bearable(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data")
    for path in (root / "class_1").iterdir():
        path.rename(path.with_name(f"dsc_{path.name}"))

    result = audit_dataset(root)

    assert found(result) == {"file name prefix"}
    assert result.ok


def test_folders_and_files_named_after_their_class_are_no_finding(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data")
    for path in [*root.glob("*/*.png")]:
        path.rename(path.with_name(f"{path.parent.name}_{path.name}"))

    assert audit_dataset(root).findings == ()


def test_a_manifest_is_read_like_a_folder(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", cast)
    rows = [f"{path.relative_to(root).as_posix()},{path.parent.name}" for path in sorted(root.glob("*/*.png"))]
    manifest = root / "manifest.csv"
    manifest.write_text("\n".join(["path,label", *rows]))

    assert audit_dataset(manifest).as_json() == audit_dataset(root).as_json()


def test_an_image_folder_is_audited_by_its_files(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", cast)
    dataset = ImageFolder(str(root), transform=v2.Lambda(lambda _: pytest.fail("transformed")))

    assert audit_dataset(dataset).as_json() == audit_dataset(root).as_json()


def test_of_a_subset_only_its_items_are_read(tmp_path: Path) -> None:
    dataset = Subset(ImageFolder(str(write_tree(tmp_path / "data"))), [*range(10), *range(60, 80)])

    result = audit_dataset(dataset)
    assert (result.classes, result.n_found) == (("class_0", "class_1"), (10, 20))


@pytest.mark.parametrize("to_values", [lambda x: x, lambda x: x.float() / 255], ids=["bytes", "floats"])
def test_tensors_tell_facts_about_pixels(to_values: Callable[[torch.Tensor], torch.Tensor]) -> None:
    labels = torch.arange(80) % 2
    pictures = [np.array(cast(np.random.default_rng(i), int(label))) for i, label in enumerate(labels)]
    images = to_values(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))

    result = audit_dataset(TensorDataset(images, labels))

    assert "mean colour" in found(result)
    assert result.classes == ("0", "1")
    assert not {"format", "width"} & {fact.fact for fact in result.facts}


class Drawn(Dataset[tuple[Image.Image, int]]):
    """Pictures from global random states, without a list of labels."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        values = torch.randint(0, 256, (4, 4, 3)).numpy() + np.random.randint(0, 9) + random.randrange(9)
        return Image.fromarray((values % 256).astype(np.uint8)), index % 2


def test_global_random_states_stay_as_they_are(tmp_path: Path) -> None:
    def states() -> str:
        return repr((random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()))  # type: ignore[index]

    root = write_tree(tmp_path / "data", n=5)
    before = states()
    audit_dataset(Drawn())
    audit_dataset(root)

    assert states() == before


def test_the_same_again_with_any_number_of_workers(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", cast, n=70)

    one, three = (audit_dataset(root, per_class=50, workers=workers).as_json() for workers in (1, 3))
    assert one == three
    assert audit_dataset(Drawn()).as_json() == audit_dataset(Drawn()).as_json()


def test_a_sample_is_counted_and_chosen_by_the_seed(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", n=30)

    results = [audit_dataset(root, per_class=20, seed=seed) for seed in (0, 0, 1)]

    assert (results[0].n_found, results[0].n_read) == ((30, 30), (20, 20))
    same, again, other = (result.cue_map.tolist() for result in results)
    assert same == again != other


def test_a_sample_is_spread_over_the_files_of_a_class(tmp_path: Path) -> None:
    source = find_source(write_tree(tmp_path / "data", n=30), seed=0, max_pixels=10**6)

    one, other = (source.sample(20, seed) for seed in (0, 1))
    assert np.bincount(source.labels[one]).tolist() == [20, 20]
    assert one != other
    assert max(one) == 59 or max(other) == 59


def test_linked_folders_are_followed_as_image_folder_does(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", n=5)
    write_tree(tmp_path / "more", n=3)
    (root / "class_0" / "linked").symlink_to(tmp_path / "more" / "class_0")

    assert audit_dataset(root).n_found == (8, 5)
    assert len(ImageFolder(str(root))) == 13


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    audit_dataset(write_tree(tmp_path / "data"), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(16, 80), (32, 80), (48, 80), (64, 80), (80, 80)]


def bomb(path: Path) -> None:
    Image.new("1", (9000, 9000)).save(path)


def broken_exif(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, format="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")


UNREADABLE = {
    "empty.png": lambda path: path.write_bytes(b""),
    "text.jpg": lambda path: path.write_text("no picture"),
    "cut.png": lambda path: path.write_bytes(path.with_name("000.png").read_bytes()[:200]),
    "cut.jpg": lambda path: (Image.effect_noise((64, 64), 50).save(path), path.write_bytes(path.read_bytes()[:500])),
    "postscript.png": lambda path: Image.new("RGB", (9, 9)).save(path, format="EPS"),
    "bomb.png": bomb,
    "gone.png": lambda path: path.symlink_to("nowhere"),
}


def test_files_that_cannot_be_read_are_named_counted_and_skipped(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", n=20)
    for name, write in UNREADABLE.items():
        write(root / "class_0" / name)

    result = audit_dataset(root)

    assert [name for name, _ in result.skipped] == sorted(f"class_0/{name}" for name in UNREADABLE)
    assert (result.n_found, result.n_read) == ((27, 20), (20, 20))
    assert "9000x9000 pixels, more than 25000000" in dict(result.skipped)["class_0/bomb.png"]
    assert str(tmp_path) not in json.dumps(result.as_json())
    assert "skipped 7 files that cannot be read:\n  class_0/bomb.png (ValueError: 9000x9000" in result.as_table()


def test_a_warning_about_bombs_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60**2)
    root = write_tree(tmp_path / "data", n=5)
    Image.new("RGB", (70, 70)).save(root / "class_0" / "large.png")

    assert [name for name, _ in audit_dataset(root).skipped] == ["class_0/large.png"]


def test_odd_metadata_does_no_harm(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", n=5)
    broken_exif(root / "class_0" / "odd.png")

    assert sum(audit_dataset(root).n_read) == 11


def test_broken_exif_of_a_picture_is_none(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", n=5)
    Image.new("RGB", (8, 8)).save(root / "class_0" / "odd.jpg", exif=b"Exif\0\0garbage")

    assert audit_dataset(root).skipped == ()


def test_items_without_a_label_are_left_out() -> None:
    labels = torch.tensor([0, -1, 1] * 8)

    assert audit_dataset(TensorDataset(torch.rand(24, 3, 16, 16), labels)).n_found == (8, 8)


def test_other_files_and_hidden_endings_are_left_alone(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", n=5)
    (root / "class_0" / "notes.txt").write_text("x")
    (root / "readme.png").write_text("x")

    result = audit_dataset(root)
    assert (result.n_found, result.skipped) == ((5, 5), ())


def make_manifest(root: Path, text: str) -> Path:
    (root / "list.csv").write_text(text)
    return root / "list.csv"


def one_unreadable_class(root: Path) -> Path:
    write_tree(root, n=3, n_classes=1)
    (root / "other").mkdir()
    (root / "other" / "a.png").write_text("x")
    return root


class Endless(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter([])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda root: root / "missing", "/missing' does not exist; check the path", id="missing"),
        pytest.param(lambda root: root, r"no pictures in class folders of .*<class>/<picture>", id="empty"),
        pytest.param(
            lambda root: write_tree(root / "d", n=2, n_classes=1), r"two classes, got \['class_0'\]", id="one"
        ),
        pytest.param(one_unreadable_class, r"two classes, got \['class_0'\], skipped 1 files", id="one readable"),
        pytest.param(
            lambda root: write_tree(write_tree(root / "d" / "train", n=1).parent / "val", n=1).parent,
            r"holds splits, not classes: \['train', 'val'\]; audit .*/d/train",
            id="splits",
        ),
        pytest.param(
            lambda root: make_manifest(root, "file,label\n"),
            r"path and label, it has \['file', 'label'\]",
            id="columns",
        ),
        pytest.param(
            lambda root: make_manifest(root, "path,label\na.png,x\nb.png,\n"),
            "1 rows of list.csv lack a path or a label, first line 3",
            id="no label",
        ),
        pytest.param(lambda root: make_manifest(root, "path,label\n"), "found none", id="no rows"),
        pytest.param(lambda _: Endless(), "with a length, got Endless", id="iterable"),
        pytest.param(lambda _: [torch.zeros(3, 8, 8)], "an item must be", id="no labels"),
        pytest.param(lambda _: [(torch.zeros(8, 8), 0), (torch.zeros(8, 8), 1)], r"has \(8, 8\)", id="no channels"),
        pytest.param(
            lambda _: [(torch.full((3, 8, 8), torch.nan), 0), (torch.zeros(3, 8, 8), 1)], "item 0 .* NaN", id="NaN"
        ),
    ],
)
def test_what_cannot_be_audited_says_the_way_out(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audit_dataset(make(tmp_path))


def test_json_holds_json_types_and_everything(biased: AuditResult) -> None:
    record = json.loads(json.dumps(biased.as_json(), allow_nan=False))

    assert record["classes"][0] == {"name": "fins", "n_found": 50, "n_read": 50}
    assert record["findings"][0]["fact"] == "format"
    assert len(record["facts"]) == len(biased.facts)
    assert np.array(record["cue_map"]).shape == (8, 8)
    assert record["ok"] is False


def test_the_table_has_a_paragraph_for_each_cause(biased: AuditResult) -> None:
    lines = biased.as_table().splitlines()

    assert lines[0] == "read fins 50 of 50, sprouts 50 of 50 pictures"
    assert lines[3].startswith("strong    codec       skill 1.00 (at least 0.9")
    heads = [line for line in lines if "  skill " in line]
    assert [line.split()[1] for line in heads] == list(biased.causes)
    assert "\n      transform = transforms.FlattenAlpha()\n" in biased.as_table()
    assert biased.as_table().count("start with this: ") == 1


def told_by(*facts: str) -> AuditResult:
    """A result with these findings, all of them as clear."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 8)
    skills = [FactSkill(fact, cue_of_fact(fact).name, "stars", 0.9, 0.8, 0.001) for fact in facts]
    findings = tuple(
        finding_of(skill, 3000 + rng.normal(size=16).round(), labels, ("discs", "stars")) for skill in skills
    )
    empty = np.zeros((8, 8))
    return AuditResult(("discs", "stars"), (8, 8), (8, 8), (), tuple(skills), findings, empty, empty > 0)


def test_larger_files_are_an_effect_of_a_stamp_and_another_format_is_not() -> None:
    assert told_by("file bytes", "repeated patch").causes == {"patch": ("codec",)}
    assert told_by("format", "file bytes", "repeated patch").causes == {"codec": (), "patch": ()}


def test_advice_on_numbers_in_which_the_object_has_a_part_says_so() -> None:
    assert "to do, if it is not the object itself: send every picture" in told_by("file bytes").as_table()
    assert "to do: send every picture" in told_by("format").as_table()
    assert re.search(r"typically (2999|300\d) in", told_by("file bytes").as_table())


def test_what_another_background_changes_as_well_is_the_same_cause(biased: AuditResult) -> None:
    assert {"border", "corner"} <= {*biased.cues} & {*biased.causes["background"]}
    assert "border" not in biased.causes
    assert "likely the same cause: " in biased.as_table()
    assert "RandomResizedCrop" not in biased.as_table()
    assert biased.as_json()["causes"] == {cue: list(others) for cue, others in biased.causes.items()}
    assert {cue for one, others in biased.causes.items() for cue in (one, *others)} == {*biased.cues}


def test_what_is_clearer_than_a_cause_is_none_of_its_effects(biased: AuditResult) -> None:
    dim = tuple(replace(each, skill=0.5) if each.cue == "background" else each for each in biased.findings)

    assert "border" in replace(biased, findings=dim).causes


def test_no_cue_is_lost_among_causes(biased: AuditResult) -> None:
    skills = {"background": 0.7, "border": 0.78, "corner": 0.87}
    steps = tuple(replace(each, skill=skills[each.cue]) for each in biased.findings if each.cue in skills)

    assert replace(biased, findings=steps).causes == {"background": ("border",), "corner": ()}


def test_what_no_network_sees_comes_last(biased: AuditResult) -> None:
    unseen = [finding.cue == "file" for finding in biased.findings]

    assert any(unseen)
    assert unseen == sorted(unseen)


def test_colour_is_for_terminals(biased: AuditResult, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033" not in biased.as_table()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "\033[31mstrong" in biased.as_table()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in biased.as_table()


def test_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", cast)
    (root / "class_0").rename(root / "red\033[31m")
    (root / "class_1" / "bad\033]0;.png").write_text("x")

    table = audit_dataset(root).as_table(colour=False)
    assert "\033" not in table


def test_a_result_prints_in_a_line(biased: AuditResult) -> None:
    n_pictures = sum(biased.n_read)

    assert repr(biased).startswith(f"AuditResult({n_pictures} pictures, 2 classes, cues: ")
    assert "\n" not in repr(biased)
    assert len(repr(biased)) < 200


def test_a_finding_has_the_remedy_of_its_cue(biased: AuditResult) -> None:
    for finding in biased.findings:
        sources = ("alpha",) if finding.fact in ("alpha", "hidden colour") else ()
        remedy = remedy_for(finding.cue).fitting(sources)
        assert (finding.remedy, finding.code) == (remedy.what, remedy.code)


def test_a_sure_but_small_skill_is_no_finding() -> None:
    labels = np.arange(6000) % 2
    weak = labels * 0.3 + np.random.default_rng(0).normal(size=6000)

    facts, findings, _, _ = find({"width": weak, "cells": np.zeros((6000, 8, 8, 5))}, labels, ("a", "b"), 0)

    assert facts[0].p_value < 0.01
    assert 0 < facts[0].bound < 0.2
    assert findings == ()


def test_the_object_in_the_middle_is_no_cue_of_a_region(tmp_path: Path) -> None:
    def centred(rng: np.random.Generator, label: int) -> Image.Image:
        picture = scene(rng)
        picture.paste((255, 0, 0) if label else (0, 0, 255), (18, 18, 30, 30))
        return picture

    result = audit_dataset(write_tree(tmp_path / "data", centred))

    assert not cues(result) & {"background", "border", "corner", "region"}
    assert result.cue_map[3:5, 3:5].min() > 0.8 > result.cue_map[0].max()
    assert result.candidate_region[3:5, 3:5].all()
    assert not result.candidate_region[0].any()


def shuffled_findings(copies: np.ndarray[Any, Any], n_classes: int, runs: int) -> int:
    """How many audits of shuffled labels find anything."""
    columns = measure(copies)
    rng = np.random.default_rng(0)
    columns["word"] = rng.choice(["a", "b", "c"], len(copies))
    columns["number"] = rng.choice([np.nan, 1.0, 2.0, 3.0], len(copies))
    classes = tuple(map(str, range(n_classes)))
    labels = [rng.permutation(np.arange(len(copies)) % n_classes) for _ in range(runs)]
    return sum(bool(find(columns, label, classes, seed)[1]) for seed, label in enumerate(labels))


@pytest.mark.parametrize(("n", "n_classes", "runs"), [(24, 2, 15), (60, 3, 10)])
def test_shuffled_labels_find_next_to_nothing(n: int, n_classes: int, runs: int) -> None:
    copies = np.stack([np.asarray(scene(np.random.default_rng(i), size=64)) for i in range(n)])

    assert shuffled_findings(copies, n_classes, runs) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_classes"), [(20, 2), (60, 2), (60, 6)])
def test_shuffled_labels_find_anything_in_at_most_one_run_of_a_hundred(n: int, n_classes: int) -> None:
    copies = np.stack([np.asarray(scene(np.random.default_rng(i), size=64)) for i in range(n)])

    false_alarms = shuffled_findings(copies, n_classes, 200)
    assert binomtest(false_alarms, 200, 0.01, alternative="greater").pvalue > 0.01


class Marked(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Of two labels the second shows in a bright rim; of some items it is not known."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        marks = torch.tensor([index // 2 % 2, index % 2 if index < 56 else -1])
        image = 0.3 + 0.1 * torch.rand(3, 16, 16)
        image[:, :2] += 0.4 * (marks[1] == 1)
        return image, marks


def test_of_several_labels_one_is_audited() -> None:
    second = audit_dataset(Marked(), label=1)

    assert second.classes == ("with label 1", "without label 1")
    assert second.n_found == (28, 28)
    assert "border" in cues(second)
    assert not audit_dataset(Marked(), label=0).findings


def test_an_audit_of_several_labels_says_to_choose_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"as in multi-label .*; audit one label .*audit_dataset\(dataset, label=0\)"):
        audit_dataset(Marked())
    with pytest.raises(ValueError, match="label= must be a position in rows of 0 and 1, got 2"):
        audit_dataset(Marked(), label=2)
    with pytest.raises(ValueError, match="of files leave it out"):
        audit_dataset(tmp_path, label=0)

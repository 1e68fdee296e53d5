"""The record: what it checks, what it keeps, and what comes back from a folder."""

import copy
import hashlib
import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from lightning_cam.probe import Normalize, Probe, storage

N, H, W = 4, 6, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixels(n_channels: int = 3) -> Tensor:
    return torch.rand(N, n_channels, H, W, generator=torch.Generator().manual_seed(0))


def labels() -> Tensor:
    return torch.tensor([0, 1, 2, 0])


def squares() -> Tensor:
    masks = torch.zeros(N, H, W, dtype=torch.bool)
    masks[:, 1:3, 2:4] = True
    return masks


def full_probe(**changes: Any) -> Probe:
    arguments = {
        "images": pixels(),
        "targets": labels(),
        "masks": [squares()[0], None, squares()[2], squares()[3]],
        "classes": ["cat", "dög", "eel/fish"],
        "names": ["a", "b", "c", "d"],
        "mask_sources": ["given", "none", "box", "border"],
    }
    return Probe(**{**arguments, **changes})


# What it refuses


def with_value(value: float) -> Tensor:
    images = pixels()
    images[2, 1, 3, 3] = value
    return images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"images": torch.zeros(0, 3, H, W), "targets": torch.zeros(0).long()}, "at least one", id="empty"),
        pytest.param({"images": torch.zeros(N, 3, 0, W)}, "at least one image with pixels", id="no pixels"),
        pytest.param({"images": pixels()[0]}, r"\(N, C, H, W\), got \(3, 6, 5\)", id="3-D images"),
        pytest.param({"images": list(pixels())}, "got list; torch.stack", id="a list of images"),
        pytest.param({"images": (pixels() * 255).byte()}, "uint8; divide bytes by 255", id="bytes"),
        pytest.param({"images": with_value(1.5)}, r"to 1.5; pass the pixels, and preprocess=.*Normalize", id="above 1"),
        pytest.param({"images": with_value(-0.5)}, "from -0.5", id="below 0"),
        pytest.param({"images": with_value(float("nan"))}, "image 2 holds NaN or Inf", id="NaN"),
        pytest.param({"images": with_value(float("inf"))}, "image 2 holds NaN or Inf", id="Inf"),
        pytest.param({"targets": labels()[:3]}, r"tensor \(4,\).*got \(3,\)", id="too few targets"),
        pytest.param({"targets": labels()[:, None]}, r"tensor \(4,\).*got \(4, 1\)", id="2-D targets"),
        pytest.param({"targets": [0, 1, 2, 0]}, "got list", id="targets as a list"),
        pytest.param({"targets": labels().float()}, "integer class indices, got torch.float32", id="float targets"),
        pytest.param({"targets": labels() > 0}, "integer class indices, got torch.bool", id="bool targets"),
        pytest.param({"targets": labels() - 1}, "from 0, got -1", id="negative target"),
        pytest.param({"classes": ["cat", "dog"]}, "up to 2, but there are 2 classes", id="unnamed class"),
        pytest.param({"classes": "cat"}, "sequence of names", id="classes as a text"),
        pytest.param({"classes": [0, 1, 2]}, "sequence of names", id="classes as numbers"),
        pytest.param({"masks": squares()[:3]}, "got 3 for 4 images", id="too few masks"),
        pytest.param({"masks": squares()[:, :, :4]}, r"size \(6, 5\), mask 0 has \(6, 4\)", id="masks of another size"),
        pytest.param({"masks": squares() * 2.0 - 1}, r"mask 0: .* two levels, .* keep mask > 0 of", id="scores"),
        pytest.param(
            {"masks": squares() * torch.linspace(0, 1, W)},
            r"mask 0: .* two levels, .* keep mask > 0.5",
            id="soft masks",
        ),
        pytest.param(
            {"masks": torch.stack([squares(), ~squares()], 1)},
            r"mask 0: .* 2 maps that sum to 1, .* keep masks\[k\]",
            id="one-hot",
        ),
        pytest.param({"names": ["a", "b", "a", "d"]}, "unique, got 'a' more than once", id="names twice"),
        pytest.param({"names": ["a", "b"]}, "4 texts, one per image", id="too few names"),
        pytest.param({"names": "abcd"}, "4 texts, one per image", id="names as a text"),
        pytest.param({"names": ["a", "b", "", "d"]}, "4 texts, one per image", id="an empty name"),
        pytest.param({"masks": [1] * N}, r"tensors \(H, W\), mask 0 is of type int", id="numbers for masks"),
        pytest.param({"masks": "masks.json"}, "got the path 'masks.json'; Probe.from_folder", id="path for masks"),
        pytest.param({"mask_sources": ["luck"] * N}, "one of given, reviewed", id="unknown mask source"),
        pytest.param({"mask_sources": ["given"] * 3}, "one of given, reviewed", id="too few mask sources"),
        pytest.param(
            {"mask_sources": ["none"] * N}, "image 0 has a mask, but its mask source is 'none'", id="unexplained"
        ),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        full_probe(**changes)

    assert "\n" not in str(error.value)


# What it keeps


def test_it_is_built_on_the_cpu_whatever_the_default_device_is() -> None:
    images, targets, masks = pixels(), labels(), [squares()[0], None, None, None]
    with torch.device("meta"):
        probe = Probe(images, targets, masks=masks)

    assert probe.masks is not None
    assert (probe.images.device.type, probe.masks.device.type) == ("cpu", "cpu")


def test_one_image_with_one_channel_is_a_probe() -> None:
    probe = Probe(torch.ones(1, 1, 2, 3), torch.tensor([0], dtype=torch.uint8))

    assert (len(probe), probe.classes, probe.names, probe.masks, probe.mask_sources) == (
        1,
        ("0",),
        ("0_0",),
        None,
        ("none",),
    )
    assert probe.targets.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pixels_of_any_float_are_kept_as_float32(dtype: torch.dtype) -> None:
    images = pixels().to(dtype)

    assert torch.equal(Probe(images, labels()).images, images.float())


def test_rounding_errors_are_clamped() -> None:
    images = torch.tensor([-1e-6, 0.5, 1 + 1e-6, 1]).view(1, 1, 2, 2)

    assert Probe(images, torch.tensor([0])).images.flatten().tolist() == [0, 0.5, 1, 1]


def test_it_shares_no_memory_with_what_it_was_given() -> None:
    images, targets, masks = pixels(), labels(), squares()
    probe = Probe(images, targets, masks=masks)
    images.zero_()
    targets.zero_()
    masks.zero_()

    assert torch.equal(probe.images, pixels())
    assert torch.equal(probe.targets, labels())
    assert probe.masks is not None
    assert torch.equal(probe.masks, squares())


class Tagged(Tensor):
    """A user's own kind of tensor."""


def test_tensors_are_contiguous_detached_and_plain() -> None:
    images = pixels().permute(0, 1, 3, 2).as_subclass(Tagged).requires_grad_()
    masks = tv_tensors.Mask(squares().permute(0, 2, 1))
    probe = Probe(images, labels().as_subclass(Tagged), masks=masks)
    assert probe.masks is not None

    for tensor in (probe.images, probe.targets, probe.masks):
        assert type(tensor) is Tensor
        assert tensor.is_contiguous()
        assert not tensor.requires_grad
        assert tensor.device.type == "cpu"


def test_channels_last_images_become_contiguous() -> None:
    assert Probe(pixels().contiguous(memory_format=torch.channels_last), labels()).images.is_contiguous()


def test_it_can_be_built_and_used_in_inference_mode() -> None:
    with torch.inference_mode():
        probe = Probe(pixels(), labels(), masks=squares(), preprocess=v2.Normalize(MEAN, STD)).select([0, 1])
        inputs = probe.inputs()

    tensors = [probe.images, probe.targets, probe.masks, inputs]
    assert not any(tensor is None or tensor.is_inference() for tensor in tensors)


def test_nobody_edits_a_record() -> None:
    with pytest.raises(FrozenInstanceError):
        full_probe().classes = ("x",)  # type: ignore[misc]  # that it cannot be assigned is the claim


def test_default_names_are_unique_and_fit_for_a_tag() -> None:
    probe = Probe(pixels(), torch.tensor([0, 0, 1, 1]), classes=["a b", "a/b"])

    assert probe.names == ("a_b_0", "a_b_1", "a_b_2", "a_b_3")


def test_default_names_stay_unique_where_classes_end_like_an_index() -> None:
    probe = Probe(pixels()[:2], torch.tensor([0, 1]), classes=["a b", "a_b"])

    assert len(set(probe.names)) == 2


@pytest.mark.parametrize(
    "masks",
    [
        squares()[:, None],
        squares().float(),
        squares() * 255,
        squares()[:, None].expand(-1, 3, -1, -1),
        squares()[..., None].expand(-1, -1, -1, 3).numpy(),
        [Image.fromarray(mask.numpy()) for mask in squares()],
    ],
    ids=["a channel", "floats", "grey levels", "colours", "colours behind", "pictures"],
)
def test_masks_of_two_levels_are_masks_in_any_form(masks: Any) -> None:
    assert Probe(pixels(), labels(), masks=masks).fingerprint == Probe(pixels(), labels(), masks=squares()).fingerprint


def test_an_empty_mask_is_a_missing_mask() -> None:
    masks = squares()
    masks[1] = False

    as_tensor, as_list = (
        Probe(pixels(), labels(), masks=masks),
        Probe(pixels(), labels(), masks=[*masks[:1], None, *masks[2:]]),
    )
    assert as_tensor.mask_sources == as_list.mask_sources == ("given", "none", "given", "given")
    assert as_tensor.fingerprint == as_list.fingerprint


@pytest.mark.filterwarnings("ignore:lightning_cam. no picture of the probe has a mask")
@pytest.mark.parametrize(
    "masks", [None, [None] * N, torch.zeros(N, H, W, dtype=torch.bool)], ids=["none", "Nones", "empty"]
)
def test_no_mask_at_all_is_none(masks: Any) -> None:
    assert Probe(pixels(), labels(), masks=masks).masks is None


def test_the_repr_is_one_line_without_tensors() -> None:
    assert repr(full_probe()) == "Probe(4 images 3x6x5, 3 classes, masks: 1 given, 1 none, 1 box, 1 border)"


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda probe: pickle.loads(pickle.dumps(probe))], ids=["copy", "pickle"]
)
def test_a_duplicate_has_the_same_fingerprint(duplicate: Callable[[Probe], Probe]) -> None:
    assert duplicate(full_probe()).fingerprint == full_probe().fingerprint


# What the model is given


def test_without_preprocess_the_model_is_given_the_pixels() -> None:
    probe = full_probe()
    inputs = probe.inputs()
    expected = probe.images.clone()
    inputs.zero_()

    assert torch.equal(probe.images, expected)


def test_inputs_are_what_preprocess_makes_of_the_pixels() -> None:
    expected = (pixels() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    for preprocess in (v1.Normalize(MEAN, STD), v2.Normalize(list(MEAN), list(STD)), Normalize(MEAN, STD)):
        assert torch.equal(full_probe(preprocess=preprocess).inputs(), expected)


def test_a_preprocess_that_writes_in_place_does_not_reach_the_probe() -> None:
    probe = full_probe(preprocess=v2.Normalize(MEAN, STD, inplace=True))
    first, second = probe.inputs(), probe.inputs()

    assert torch.equal(first, second)
    assert torch.equal(probe.images, pixels())


def test_inputs_carry_no_gradient() -> None:
    assert not full_probe(preprocess=nn.Conv2d(3, 3, 1)).inputs().requires_grad


def test_edited_pixels_take_the_same_way() -> None:
    probe = full_probe(preprocess=Normalize((0.5,), (0.5,)))

    assert torch.equal(probe.prepare(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("preprocess", "found"),
    [(lambda images: images[:1], r"\(1, 3, 6, 5\)"), (lambda _: "x", "str"), (lambda images: images.sum(), r"\(\)")],
    ids=["one image", "a text", "a number"],
)
def test_a_preprocess_that_loses_images_is_named(preprocess: Callable[[Tensor], Any], found: str) -> None:
    with pytest.raises(ValueError, match=f"must map 4 images to a tensor of 4 inputs, got {found}"):
        full_probe(preprocess=preprocess).inputs()


# Selection


def test_a_selection_keeps_everything_of_its_images() -> None:
    probe = full_probe(preprocess=Normalize(MEAN, STD))
    chosen = probe.select([3, 1])

    assert torch.equal(chosen.images, probe.images[[3, 1]])
    assert chosen.targets.tolist() == [0, 1]
    assert chosen.masks is not None
    assert torch.equal(chosen.masks, torch.stack([squares()[3], torch.zeros(H, W, dtype=torch.bool)]))
    assert (chosen.names, chosen.classes) == (("d", "b"), probe.classes)
    assert chosen.mask_sources == ("border", "none")
    assert chosen.preprocess == probe.preprocess


def test_a_selection_of_all_is_the_same_probe() -> None:
    assert full_probe().select(range(N)).fingerprint == full_probe().fingerprint


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        pytest.param([4], r"0\.\.3.*got 4", id="behind the end"),
        pytest.param([-1], r"0\.\.3.*got -1", id="negative"),
        pytest.param([1, 1], "each once, got 1", id="twice"),
        pytest.param([True, False, True, True], "whole numbers, got torch.bool", id="a mask"),
        pytest.param([0.5], "whole numbers, got torch.float32", id="a fraction"),
        pytest.param([], "at least one image", id="nothing"),
    ],
)
def test_a_wrong_selection_is_refused(indices: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        full_probe().select(indices)


# Fingerprint


def nudged(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed.view(-1)[7 % changed.numel()] = 0 if changed.view(-1)[7 % changed.numel()] else 1
    return changed


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"images": nudged(pixels())}, id="a pixel"),
        pytest.param({"targets": nudged(labels())}, id="a label"),
        pytest.param({"masks": nudged(squares())}, id="a mask's pixel"),
        pytest.param({"masks": None}, id="no masks"),
        pytest.param({"classes": ["cat", "dog", "cow"]}, id="a class name"),
        pytest.param({"names": ["a", "b", "c", "e"]}, id="a name"),
        pytest.param({"images": pixels().reshape(N, 3, W, H), "masks": squares().reshape(N, W, H)}, id="the shape"),
    ],
)
def test_the_fingerprint_sees_a_single_change(changes: dict[str, Any]) -> None:
    same = {"mask_sources": None, "masks": squares()}

    assert full_probe(**{**same, **changes}).fingerprint != full_probe(**same).fingerprint


def test_the_fingerprint_is_a_sha256_that_does_not_depend_on_the_run() -> None:
    probe = Probe(torch.zeros(1, 1, 2, 2), torch.tensor([0]))

    header = b'[["0"], ["0_0"], {"images": ["float32", [1, 1, 2, 2]], "targets": ["int64", [1]]}]'
    assert probe.fingerprint == hashlib.sha256(header + bytes(16) + bytes(8)).hexdigest()


def test_the_fingerprint_is_the_same_for_equal_probes() -> None:
    assert full_probe().fingerprint == full_probe(preprocess=Normalize(MEAN, STD)).fingerprint


# Save and load


def test_a_loaded_probe_is_the_saved_one(tmp_path: Path) -> None:
    probe = full_probe(preprocess=v2.Normalize(MEAN, STD))
    probe.save(tmp_path / "new" / "folder")
    loaded = Probe.load(tmp_path / "new" / "folder")

    assert torch.equal(loaded.images, probe.images)
    assert torch.equal(loaded.targets, probe.targets)
    assert loaded.masks is not None
    assert probe.masks is not None
    assert torch.equal(loaded.masks, probe.masks)
    assert (loaded.classes, loaded.names, loaded.mask_sources) == (probe.classes, probe.names, probe.mask_sources)
    assert loaded.fingerprint == probe.fingerprint
    assert torch.equal(loaded.inputs(), probe.inputs())


def test_a_probe_without_masks_and_preprocess_comes_back(tmp_path: Path) -> None:
    Probe(pixels(), labels()).save(tmp_path)
    loaded = Probe.load(tmp_path)

    assert (loaded.masks, loaded.preprocess) == (None, None)


def test_a_loaded_probe_can_be_written_to_and_outlives_its_folder(tmp_path: Path) -> None:
    full_probe().save(tmp_path)
    loaded = Probe.load(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    loaded.images.mul_(0)

    assert loaded.images.sum() == 0


def test_a_preprocess_of_ones_own_is_passed_again(tmp_path: Path) -> None:
    full_probe(preprocess=torch.sqrt).save(tmp_path)

    with pytest.raises(ValueError, match=r"preprocess that is no Normalize; pass it: load\(folder, preprocess=...\)"):
        Probe.load(tmp_path)
    assert torch.equal(Probe.load(tmp_path, preprocess=torch.sqrt).inputs(), pixels().sqrt())


def test_a_preset_that_also_resizes_is_not_taken_for_a_normalize(tmp_path: Path) -> None:
    full_probe(preprocess=ResNet18_Weights.DEFAULT.transforms()).save(tmp_path)

    with pytest.raises(ValueError, match="no Normalize"):
        Probe.load(tmp_path)


def test_a_passed_preprocess_takes_the_place_of_the_saved_one(tmp_path: Path) -> None:
    full_probe(preprocess=Normalize(MEAN, STD)).save(tmp_path)

    assert Probe.load(tmp_path, preprocess=torch.sqrt).preprocess is torch.sqrt


def test_a_second_save_replaces_the_first(tmp_path: Path) -> None:
    (tmp_path / "notes.npy").write_text("the user's own")
    full_probe().save(tmp_path)
    second = Probe(pixels(1), labels())
    second.save(tmp_path)

    assert Probe.load(tmp_path).fingerprint == second.fingerprint
    assert len(list(tmp_path.glob("*.npy"))) == 3
    assert (tmp_path / "notes.npy").exists()


@pytest.mark.parametrize("name", ["embeddings-0123456789ab.npy", "images-aaaaaaaaaaaa.npy", ".images.tmp"])
def test_a_save_removes_only_what_an_earlier_save_has_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("the user's own")
    full_probe().save(tmp_path)
    Probe(pixels(1), labels()).save(tmp_path)

    assert (tmp_path / name).read_text() == "the user's own"


@pytest.mark.parametrize("content", ['{"name": "my web app"}', "not JSON", "[]"])
def test_a_save_does_not_write_over_a_manifest_of_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is not of a saved probe; save the probe to another folder"):
        full_probe().save(tmp_path)

    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("manifest.json", content)]


def test_a_damaged_manifest_of_a_probe_is_replaced(tmp_path: Path) -> None:
    full_probe().save(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text()[:-9])
    second = Probe(pixels(1), labels())
    second.save(tmp_path)

    assert Probe.load(tmp_path).fingerprint == second.fingerprint


@pytest.mark.parametrize("moment", range(4), ids=["images", "masks or targets", "last array", "manifest"])
def test_a_save_that_breaks_off_leaves_the_old_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    full_probe().save(tmp_path)
    replaced: list[Path] = []
    replace = Path.replace

    def breaking(self: Path, target: Path) -> Path:
        if len(replaced) == moment:
            raise OSError(28, "No space left on device")
        replaced.append(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", breaking)
    with pytest.raises(OSError, match="No space left"):
        full_probe(images=1 - pixels()).save(tmp_path)

    assert Probe.load(tmp_path).fingerprint == full_probe().fingerprint
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_first_save_that_breaks_off_is_no_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_cam.probe.storage.json.dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        full_probe().save(tmp_path)

    with pytest.raises(ValueError, match=r"has no manifest.json; check the path, or save it again"):
        Probe.load(tmp_path)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def boasting(path: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1, 1, 1), dtype=np.float32))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (10**6, 3, 10**4, 10**4)})


def of_another_kind(path: Path) -> None:
    np.save(path, np.zeros(3, dtype=np.float64))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        pytest.param("images", flipped, "its arrays were changed", id="a bit of the images"),
        pytest.param("targets", flipped, "its arrays were changed", id="a bit of the targets"),
        pytest.param("masks", flipped, "its arrays were changed", id="a bit of the masks"),
        pytest.param("images", truncated, "images-.*cannot be read", id="the end of the images"),
        pytest.param("images", pickled, "images-.*cannot be read", id="a pickle"),
        pytest.param("images", boasting, "images-.*cannot be read", id="a header of terabytes"),
        pytest.param(
            "images", of_another_kind, "must hold float32 of 4 dimensions, got float64 of 1", id="another array"
        ),
        pytest.param("masks", Path.unlink, "masks-.*cannot be read", id="a file less"),
    ],
)
def test_a_changed_array_is_refused(tmp_path: Path, file: str, change: Callable[[Path], None], message: str) -> None:
    full_probe(masks=squares(), mask_sources=None).save(tmp_path)
    change(next(tmp_path.glob(f"{file}-*.npy")))

    with pytest.raises(ValueError, match=message):
        Probe.load(tmp_path)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        pytest.param("classes", ["cat", "dog", "cow"], "was changed", id="classes"),
        pytest.param("preprocess", {"mean": [0.5], "std": [0.5]}, "was changed", id="preprocess"),
        pytest.param("mask_sources", ["given"] * N, "was changed", id="mask sources"),
        pytest.param("fingerprint", "../../etc/passwd", "was changed", id="a path"),
        pytest.param("schema", 99, "must have schema 1, got 99", id="a later schema"),
        pytest.param("extra", 1, "was changed", id="an unknown entry"),
    ],
)
def test_a_changed_manifest_is_refused(tmp_path: Path, entry: str, value: object, message: str) -> None:
    full_probe(preprocess=Normalize(MEAN, STD)).save(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), entry: value}))

    with pytest.raises(ValueError, match=message):
        Probe.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is no JSON"), ("[]", "schema 1, got list")], ids=["torn", "a list"]
)
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(ValueError, match=message):
        Probe.load(tmp_path)


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda facts: facts.update(arrays=["images", "targets", "../masks"]), id="a path as array"),
        pytest.param(lambda facts: facts.update(arrays=["images"]), id="no targets"),
        pytest.param(lambda facts: facts.update(fingerprint="../../somewhere"), id="a path as fingerprint"),
        pytest.param(lambda facts: facts.pop("names"), id="no names"),
    ],
)
def test_a_forged_manifest_leads_to_no_file_outside(tmp_path: Path, forge: Callable[[dict[str, Any]], Any]) -> None:
    full_probe().save(tmp_path)
    manifest = tmp_path / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts.pop("checksum")
    forge(facts)
    manifest.write_text(json.dumps({**facts, "checksum": storage._checksum(facts)}))

    with pytest.raises(ValueError, match="was changed"):
        Probe.load(tmp_path)


def test_saving_and_loading_is_silent(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        full_probe().save(tmp_path)
        Probe.load(tmp_path)


# Normalize


def test_the_inverse_of_a_normalize_gives_the_pixels_back() -> None:
    step = Normalize(MEAN, STD)

    torch.testing.assert_close(step.inverse(step(pixels())), pixels(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second"),
    [(Normalize(MEAN, STD), Normalize((0.5,), (0.25,))), (Normalize((0.5,), (0.25,)), Normalize(MEAN, STD))],
    ids=["three then one", "one then three"],
)
def test_two_steps_in_one(first: Normalize, second: Normalize) -> None:
    images = pixels().double()

    torch.testing.assert_close(second.after(first)(images), second(first(images)))

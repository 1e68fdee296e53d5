"""Masks from a segmenter: every form of output is one mask, and a folder is written once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_cam import Probe
from lightning_cam.cli import main
from lightning_cam.maskers import mask_of, write_masks

SIZE = (4, 6)


def truth() -> Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[1:3, 2:5] = True
    return mask


def halves() -> Tensor:
    """The object in two masks."""
    masks = torch.stack([truth(), truth()])
    masks[0, :, 3:], masks[1, :, :3] = False, False
    return masks


def cut_out() -> Image.Image:
    picture = Image.new("RGB", SIZE[::-1], "red")
    picture.putalpha(Image.fromarray(np.uint8(200) * truth().numpy()))
    return picture


def classes() -> Tensor:
    """Scores ``(1, 3, H, W)`` of background and two classes."""
    return torch.stack([0.5 * torch.ones(SIZE), 0.6 * halves()[0], 0.9 * halves()[1]])[None]


scores = 0.2 + 0.7 * truth().float()
OUTPUTS: dict[str, Any] = {
    "bools": truth(),
    "array": truth().numpy(),
    "bytes": 255 * truth().byte(),
    "labels": truth().long(),
    "scores": scores,
    "picture": Image.fromarray(np.uint8(255) * truth().numpy()),
    "cut-out of rembg": cut_out(),
    "stack": halves(),
    "stack of one": truth()[None],
    "dict": {"masks": halves(), "boxes": None},
    "mask r-cnn": [
        {
            "masks": torch.cat([0.9 * halves().float(), torch.ones(1, *SIZE)])[:, None],
            "scores": torch.tensor([0.9, 0.6, 0.1]),
        }
    ],
    "deeplab": {"out": classes()},
    "sam": [{"segmentation": half.numpy(), "area": 3} for half in halves()],
    "hugging face": [{"mask": Image.fromarray(half.numpy()), "label": "cat"} for half in halves()],
    "ultralytics": [SimpleNamespace(masks=SimpleNamespace(data=halves().float()))],
    "of half the size": truth().repeat_interleave(2, 0).repeat_interleave(2, 1),
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_each_output_is_the_mask(output: Any) -> None:
    assert torch.equal(mask_of(output, SIZE), truth())  # type: ignore[arg-type]  # None would not be equal


@pytest.mark.parametrize(
    "output",
    [None, [], {"masks": torch.zeros(0, 4, 6)}, torch.zeros(SIZE), [SimpleNamespace(masks=None)]],
    ids=["none", "no results", "no masks", "empty", "no masks in a result"],
)
def test_nothing_found_is_none(output: Any) -> None:
    assert mask_of(output, SIZE) is None


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(torch.full(SIZE, -3.0), "scores must lie from 0 to 1, got -3 to -3; apply sigmoid", id="logits"),
        pytest.param(torch.full(SIZE, torch.nan), "scores must lie from 0 to 1", id="nan"),
        pytest.param(torch.ones(6, 4), "size 4x6 or proportions, got 6x4", id="turned"),
        pytest.param(torch.ones(4), r"\(H, W\) or \(k, H, W\), got \(4,\)", id="flat"),
        pytest.param({"logits": 1}, "got a dict of logits", id="dict"),
        pytest.param("mask.png", "a segmenter must give a picture, .* got str", id="text"),
    ],
)
def test_other_outputs_are_refused(output: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask_of(output, SIZE)


# ---- a folder


def left_half(picture: Image.Image) -> Any:
    """A segmenter that finds the left half; in a black picture nothing."""
    values = np.array(picture)
    mask = np.zeros(values.shape[:2], bool)
    mask[:, : values.shape[1] // 2] = values.any()
    return mask


def everything(picture: Image.Image) -> Any:
    return np.ones((picture.height, picture.width), bool)


def broken(picture: Image.Image) -> Any:
    raise RuntimeError(f"no weights for {picture.size}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, level in (("a/1", 200), ("a/2", 0), ("b/1", 90)):
        file = tmp_path / "data" / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (level, level // 2, level)).save(file)
    return tmp_path / "data"


def test_a_folder_is_written_once_and_read_as_masks(folder: Path, tmp_path: Path) -> None:
    written = write_masks(folder, left_half, tmp_path / "masks")
    again = write_masks(folder, broken_but_for_black, tmp_path / "masks")
    probe = Probe.from_folder(folder, masks=tmp_path / "masks", find_masks=False)

    assert (written.new, written.kept, written.without) == (2, 0, (folder / "a" / "2.jpg",))
    assert (again.new, again.kept) == (0, 2)
    assert dict(zip(probe.names, probe.mask_sources, strict=True)) == {"a_1": "folder", "a_2": "none", "b_1": "folder"}
    assert probe.masks is not None
    assert probe.masks[probe.names.index("b_1"), :, :4].all()
    assert not probe.masks[:, :, 4:].any()


def broken_but_for_black(picture: Image.Image) -> Any:
    """Raises where a mask is there already."""
    assert not np.array(picture).any()


def test_the_command_writes_and_says_how_to_use_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "masks"
    code = main(["masks", str(folder), "--with", f"{__name__}:left_half", "--to", str(to)])

    said = capsys.readouterr().out
    assert code == 0
    assert sorted(path.relative_to(to).as_posix() for path in to.rglob("*.png")) == ["a/1.png", "b/1.png"]
    assert "wrote 2 masks" in said
    assert "1 picture has none" in said
    assert f"--masks {to}" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--with", f"{__name__}:left_half"], "--with needs a folder for the masks that the function finds; pass --to"),
        (["--to", "{}/masks"], "Without one, lightning-cam masks {}/data writes a page with guessed masks"),
        (["--with", f"{__name__}:broken", "--to", "{}/masks"], "1.jpg: your broken raised RuntimeError: no weights"),
        (["--with", f"{__name__}:everything", "--to", "{}/masks"], "found no object in any of 3 pictures"),
        (["--with", "nowhere:f", "--to", "{}/masks"], "there is no module 'nowhere'"),
        (["--with", f"{__name__}:left_half", "--to", "{}/data/masks"], "would become a class"),
    ],
    ids=["no place", "no function", "raises", "everything", "no module", "inside"],
)
def test_what_cannot_be_done_is_said(
    folder: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["masks", str(folder), *(option.format(tmp_path) for option in options)])

    assert code == 2
    assert message.format(tmp_path) in capsys.readouterr().err

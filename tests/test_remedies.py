"""Remedies: there is one for every cue, its code runs as it stands, and it takes the cue away."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from lightning_cam import audit_dataset, remedies, transforms
from lightning_cam.cues import CUES, cue_of_fact, remedy_for
from lightning_cam.demo.pictures import write_pictures

NAMES = [cue.name for cue in CUES]


def pasted(cue: str, *sources: str) -> dict[str, Any]:
    """What names the code of a remedy leaves, run with nothing but itself."""
    names: dict[str, Any] = {}
    exec(remedy_for(cue).fitting(sources).code, names)
    return names


def scene(mode: str = "RGB") -> Image.Image:
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    picture = small.resize((90, 60), Image.Resampling.BICUBIC).convert(mode)
    if mode == "RGBA":
        picture.putalpha(small.getchannel(0).resize((90, 60)).point(lambda value: 255 * (value > 127)))
    return picture


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("cue", NAMES)
def test_the_code_of_a_remedy_runs_as_it_stands_and_changes_the_picture(cue: str, mode: str) -> None:
    transform, picture = pasted(cue, "alpha")["transform"], scene(mode)

    given = functional.to_dtype(functional.to_image(picture), torch.float32, scale=True)
    sample = (picture, mask()) if cue == "scale" else (picture,)
    made = functional.to_dtype(functional.to_image(transform(*sample)), torch.float32, scale=True)
    if cue not in ("background", "edge") or mode == "RGBA":  # without transparency nothing hides behind the object
        assert made.shape != given.shape or not torch.equal(made, given)
    assert 0 <= made.min() < made.max() <= 1


def test_the_remedies_work_one_after_the_other_in_a_data_set(tmp_path: Path) -> None:
    for name, mode in (("a", "RGB"), ("b", "RGBA")):
        (tmp_path / name).mkdir()
        scene(mode).save(tmp_path / name / "0.png")
    remedies = [
        pasted(cue, "alpha")["transform"] for cue in ("background", "codec", "tone", "frequency", "position", "border")
    ]

    dataset = ImageFolder(
        str(tmp_path), v2.Compose([*remedies, v2.ToImage()]), loader=pasted("background", "alpha")["loader"]
    )

    assert [tuple(image.shape) for image, _ in dataset] == [(3, 224, 224)] * 2


def mask() -> Tensor:
    mask = torch.zeros(60, 90)
    mask[20:40, 30:60] = 1
    return mask


def test_the_remedy_of_size_makes_it_random_and_takes_pictures_without_an_object() -> None:
    transform = pasted("scale")["transform"]
    picture = functional.to_pil_image(mask().to(torch.uint8)[None].expand(3, -1, -1) * 255)
    torch.manual_seed(0)

    sides = torch.tensor([longest_white(transform(picture, mask())) for _ in range(40)])

    assert sides.min() < 35
    assert sides.max() > 70
    assert torch.equal(transform(picture, torch.zeros(60, 90)), functional.to_image(picture))


def longest_white(image: Tensor) -> int:
    """How wide what is white in all channels is."""
    return int((image > 250).all(0).any(0).sum())


def test_the_background_remedy_goes_by_masks_unless_all_pictures_have_transparency() -> None:
    for sources in ((), ("alpha", "border"), ("given",), ("none",)):
        changed = functional.to_image(pasted("background", *sources)["transform"](scene(), mask()))
        image = functional.to_image(scene())
        assert torch.equal(changed[:, mask() > 0], image[:, mask() > 0])
        assert not torch.equal(changed, image)


def test_the_way_that_does_not_fit_is_kept_as_the_other() -> None:
    by_masks, by_transparency = (remedy_for("background").fitting(sources) for sources in (("given",), ("alpha",)))

    assert by_masks.other is not None
    assert by_transparency.other is not None
    assert by_masks.at((64, 96)).other == replace(by_transparency.at((64, 96)), other=None)
    assert by_transparency.other.code == by_masks.code
    assert remedy_for("codec").fitting(("alpha",)) == remedy_for("codec")


def test_cues_that_the_audit_names_have_remedies() -> None:
    for fact in ("format", "alpha", "border colour", "corner top left", "mean colour", "width", "fine detail", "DPI"):
        assert cue_of_fact(fact).remedy.what


def test_only_what_no_network_sees_has_no_code() -> None:
    assert [cue for cue in [*NAMES, "file"] if not remedy_for(cue).code] == ["file"]


def found(dataset: Any) -> set[str]:
    return {finding.fact for finding in audit_dataset(dataset).findings}


def test_random_backgrounds_take_the_background_away(tmp_path: Path) -> None:
    write_pictures(tmp_path, n_train=0, n_val=50)
    pictures = ImageFolder(str(tmp_path / "val"))
    masks = ImageFolder(str(tmp_path / "val_masks"), v2.Compose([v2.Grayscale(), v2.PILToTensor()]))
    other = transforms.RandomBackground()
    mended = [(other(picture, tv_tensors.Mask(masks[i][0]))[0], label) for i, (picture, label) in enumerate(pictures)]

    beside_the_object = {"background pixels", "border colour", "plain border", "corner top left", "corner top right"}
    assert beside_the_object <= found(pictures_of(pictures))
    assert not beside_the_object & found(mended)


def pictures_of(dataset: ImageFolder) -> list[tuple[Image.Image, int]]:
    """Without their files."""
    return [dataset[i] for i in range(len(dataset))]


def test_random_encoding_takes_the_codec_away() -> None:
    rng = np.random.default_rng(0)
    pictures = [(photo(rng, encoded=label == 1), label) for label in (0, 1) * 50]

    assert "blockiness" in found(pictures)
    remedy = pasted("codec")["transform"]
    assert "blockiness" not in found([(remedy(picture), label) for picture, label in pictures])


def photo(rng: np.random.Generator, *, encoded: bool) -> Image.Image:
    """Clouds and a little noise, straight or out of a JPEG file."""
    clouds = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    noisy = np.asarray(clouds, float) + rng.normal(0, 5, (64, 64, 3))
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    if not encoded:
        return picture
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


# the last layer, fitted again


class Weighing(nn.Module):
    """Two features, of which the last layer weighs the wrong one."""

    def __init__(self, n_scores: int = 2, *, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
        self.head = nn.Linear(2, n_scores, bias=bias)
        self.head.weight.data = torch.tensor([[0.0, -1.0], [0.0, 1.0]])[-n_scores:]
        if bias:
            self.head.bias.data.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(inputs))
        return scores


def birds(n: int = 400, agreement: float = 0.95) -> tuple[list[tuple[Tensor, int]], list[str]]:
    """Features of the bird, with noise, and of the place: items, and the place of each."""
    rng = np.random.default_rng(0)
    kinds = np.arange(n) % 2
    places = np.where(rng.random(n) < agreement, kinds, 1 - kinds)
    features = np.stack([kinds - 0.5 + rng.normal(0, 0.25, n), 3 * places + rng.normal(0, 0.1, n)], 1)
    items = [(torch.tensor(row).float(), int(kind)) for row, kind in zip(features, kinds, strict=True)]
    return items, [("land", "sea")[place] for place in places]


def worst_group(model: nn.Module) -> float:
    items, places = birds(agreement=0.5)
    scores = model.eval()(torch.stack([features for features, _ in items]))
    answers = scores.argmax(1) if scores.shape[1] > 1 else (scores[:, 0] > 0).long()
    is_right = (answers == torch.tensor([kind for _, kind in items])).numpy()
    groups = np.array([f"{kind} {place}" for (_, kind), place in zip(items, places, strict=True)])
    return min(float(is_right[groups == group].mean()) for group in set(groups))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_scores", [1, 2])
def test_a_refitted_head_lifts_the_worst_group_and_the_model_stays_as_it_is(n_scores: int, bias: bool) -> None:
    model = Weighing(n_scores, bias=bias)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    mended = remedies.refit_head(model, *birds())

    assert worst_group(model) < 0.1
    assert worst_group(mended) > 0.9
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    model.train()
    assert [module.training for module in remedies.refit_head(model, *birds()).modules()] == [True] * 5


def test_without_weights_by_group_the_head_would_keep_the_place() -> None:
    items, places = birds()

    alike = remedies.refit_head(Weighing(), items, ["everywhere"] * len(places))

    assert worst_group(alike) < worst_group(remedies.refit_head(Weighing(), items, places)) - 0.1


@pytest.mark.parametrize(
    ("model", "head", "message"),
    [
        pytest.param(nn.Sequential(Weighing(), nn.Softmax(1)), None, "does more after '0.head'", id="softmax"),
        pytest.param(nn.Flatten(), None, "needs a linear last layer", id="no layer"),
        pytest.param(Weighing(), "body", "needs a linear last layer.*'body'", id="another layer"),
    ],
)
def test_a_model_without_a_linear_end_is_refused(model: nn.Module, head: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        remedies.refit_head(model, *birds(8), head=head)


def test_items_that_teach_nothing_are_refused() -> None:
    items, places = birds(8)
    with pytest.raises(ValueError, match="one for each of 8 items, got 7"):
        remedies.refit_head(Weighing(), items, places[1:])
    with pytest.raises(ValueError, match=r"the classes \[0\]"):
        remedies.refit_head(Weighing(), items[::2], places[::2])
    with pytest.raises(ValueError, match="as many, got 0"):
        remedies.balanced_sampler([], [])


def test_a_balanced_sampler_draws_every_group_as_often() -> None:
    targets, values = [0] * 90 + [1] * 10, ["a"] * 80 + ["b"] * 15 + ["a"] * 5

    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [(targets[i], values[i]) for _ in range(40) for i in remedies.balanced_sampler(targets, values)]

    shares = [drawn.count(group) / len(drawn) for group in set(drawn)]
    assert shares == pytest.approx([0.25] * 4, abs=0.03)


def test_the_remedy_of_an_attribute_runs_as_it_stands() -> None:
    items, places = birds(40)
    names: dict[str, Any] = {"model": Weighing(), "dataset": items, "values": places}

    exec(remedy_for("attribute place").code, names)

    assert isinstance(names["model"], Weighing)

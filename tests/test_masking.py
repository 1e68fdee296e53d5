"""Masks of items without one: which source comes first, what a segmenter may be, and what a guess may lead to."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as v2_functional

from house.photographs import photographs
from lightning_cam import Probe, examine
from lightning_cam.intervention import masks as intervention_masks
from lightning_cam.intervention.masks import widened
from lightning_cam.maskers import consensus
from lightning_cam.maskers.fitting import fit_of
from lightning_cam.notices import LightningCAMWarning
from lightning_cam.probe import masking
from lightning_cam.spatial import boxes_to_masks, mask_boxes
from lightning_cam.verdict import Verdict, judge

pytestmark = pytest.mark.filterwarnings("error")
N = 24
FEW = 7  # of so few nothing is judged, so their masks are not doubted


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "_STEPS", 8)


class Pictures:
    """Photographs of two classes: class 1 has the brighter blob. ``boxes`` go with them where given."""

    def __init__(self, n: int = N) -> None:
        self.images, self.masks = photographs(n)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], index % 2


def upper_half(images: Tensor) -> Tensor:
    scores = torch.zeros(len(images), *images.shape[2:])
    scores[:, : images.shape[2] // 2] = 0.9
    return scores


def nothing(images: Tensor) -> Tensor:
    return torch.zeros(len(images), *images.shape[2:])


def sources(n: int = N, **options: object) -> set[str]:
    return set(Probe.from_dataset(Pictures(n), n, **options).mask_sources)  # type: ignore[arg-type]  # any option


def test_without_any_mask_objects_are_guessed() -> None:
    data = Pictures()

    probe = Probe.from_dataset(data, N)

    assert probe.mask_sources.count("guess") >= 0.9 * N
    assert probe.masks is not None
    rows = torch.tensor([int(name.split("_")[1]) for name in probe.names])
    assert (probe.masks & data.masks[rows]).sum() > 0.8 * data.masks.sum()
    assert probe.known_masks is not None
    assert not probe.known_masks.any()


def test_the_best_source_comes_first() -> None:
    boxes = torch.tensor([[8.0, 8, 40, 40]])
    given = [torch.ones(64, 64, dtype=torch.bool).tril() for _ in range(FEW)]

    assert sources(FEW, masks=given, segmenter=upper_half, boxes=[boxes] * FEW) == {"given"}
    assert sources(FEW, segmenter=upper_half, boxes=[boxes] * FEW) == {"segmenter"}
    assert sources(FEW, segmenter=nothing, boxes=[boxes] * FEW) == {"box"}
    with pytest.warns(LightningCAMWarning, match="no picture of the probe has a mask"):
        assert "guess" in sources(segmenter=nothing)
    assert sources(find_masks=False) == {"none"}


def test_transparency_comes_before_the_segmenter(tmp_path: Path) -> None:
    images, masks = photographs(4)
    (tmp_path / "a").mkdir()
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        picture = v2_functional.to_pil_image(image)
        picture.putalpha(Image.fromarray(255 * mask.byte().numpy()))
        picture.save(tmp_path / "a" / f"{i}.png")

    assert set(Probe.from_folder(tmp_path, segmenter=upper_half).mask_sources) == {"alpha"}


def test_a_data_set_with_masks_of_its_own_is_not_guessed_at() -> None:
    """Images without one may have no object."""
    some = [torch.ones(64, 64, dtype=torch.bool).tril() if index < 3 else None for index in range(N)]

    with pytest.warns(LightningCAMWarning, match="3 of 24 pictures have a mask, and nobody knows where"):
        assert sources(masks=some) == {"given", "none"}


def test_enough_masks_are_as_many_as_the_trials_ask_for() -> None:
    assert masking.ENOUGH_MASKS == intervention_masks.ENOUGH_MASKS


def test_a_segmenters_mask_is_where_scores_are_above_a_half() -> None:
    probe = Probe.from_dataset(Pictures(FEW), FEW, segmenter=upper_half)

    assert probe.masks is not None
    assert probe.masks[:, :32].all()
    assert not probe.masks[:, 32:].any()


def finding(data: Pictures, share: float) -> Callable[[Tensor], Tensor]:
    """A segmenter that finds the left part of each object, so much of it."""

    def scores(images: Tensor) -> Tensor:
        rows = (images[:, None] - data.images).abs().sum((2, 3, 4)).argmin(1)
        columns = data.masks[rows].sum(1).cumsum(1)
        return (data.masks[rows] & (columns <= share * columns[:, -1:])[:, None]).float()

    return scores


@pytest.mark.slow
def test_a_segmenter_that_leaves_object_out_is_united_with_the_guess() -> None:
    data = Pictures()
    half, whole = (Probe.from_dataset(data, N, segmenter=finding(data, share)) for share in (0.5, 1))
    alone = Probe.from_dataset(data, N, segmenter=finding(data, 0.5), find_masks=False)
    rows = torch.tensor([int(name.split("_")[1]) for name in half.names])

    assert set(whole.mask_sources) == {"segmenter"}
    assert set(alone.mask_sources) <= {"segmenter", "none"}  # some halves are too small
    assert whole.masks is not None
    assert torch.equal(whole.masks, data.masks[rows])
    assert half.mask_sources.count("segmenter+guess") >= 0.8 * N
    assert half.masks is not None
    assert alone.masks is not None
    assert half.masks.sum() > 2.5 * data.masks.sum()  # the cover, not the core alone
    assert (half.masks & data.masks[rows]).sum() > 0.9 * data.masks.sum() > 1.7 * (alone.masks & data.masks[rows]).sum()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        pytest.param(lambda x: x, r"to scores \(16, 64, 64\), got \(16, 3, 64, 64\); return one score", id="shape"),
        pytest.param(lambda x: None, "got NoneType; return one score", id="type"),
        pytest.param(lambda x: 9 * upper_half(x), "scores from 0 to 1.*apply sigmoid", id="logits"),
        pytest.param(lambda x: upper_half(x) * torch.nan, "scores from 0 to 1.*apply sigmoid", id="NaN"),
    ],
)
def test_a_segmenter_with_other_scores_is_refused(scores: masking.Segmenter, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probe.from_dataset(Pictures(), N, segmenter=scores)


def test_a_long_guess_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_SECONDS", 3.0)
    said: list[str] = []

    Probe.from_dataset(Pictures(), N, say=said.append)

    assert len(said) == 1
    assert "no masks of the objects, so they are guessed once, in about 3 s" in said[0]


@pytest.mark.parametrize(("n", "size"), [(N, 47), (7, 64)], ids=["too small", "too few"])
def test_a_guess_that_cannot_be_made_is_not_announced(monkeypatch: pytest.MonkeyPatch, n: int, size: int) -> None:
    monkeypatch.setattr(masking, "_SECONDS", 3.0)
    said: list[str] = []

    probe = Probe.from_dataset(Pictures(n), n, size=(size, size), say=said.append)

    assert not said
    assert set(probe.mask_sources) == {"none"}


class Sky(torch.nn.Module):
    """Tells classes apart by the green of the upper rows alone."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 1, 1)
        self.features.weight = torch.nn.Parameter(torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1))
        self.features.bias = torch.nn.Parameter(torch.tensor([-0.4]))

    def forward(self, images: Tensor) -> Tensor:
        level = 40 * self.features(images)[:, 0, :12].mean((1, 2))
        return torch.stack([-level, level], 1)


@pytest.mark.parametrize(("source", "outcome"), [("given", "FAIL"), ("guess", "WARN")])
def test_a_guess_warns_where_masks_convict_and_says_so(source: str, outcome: str) -> None:
    images, masks = photographs(2 * N)
    targets = torch.arange(2 * N) % 2
    images[:, 1, :12] = (0.2 + 0.4 * targets + 0.001 * torch.arange(2 * N))[:, None, None]
    probe = Probe(images, targets, masks=masks, mask_sources=[source] * (2 * N))

    verdict = judge(examine(Sky(), probe, layer="features", trials=["background"]))

    assert verdict.outcome == outcome
    assert ("the masks of the objects were guessed, which proves nothing about background" in verdict.reason) == (
        source == "guess"
    )


FRAME = torch.ones(64, 64, dtype=torch.bool)
FRAME[3:61, 3:61] = False
BOX = torch.zeros(64, 64, dtype=torch.bool)
BOX[16:48, 16:48] = True
WRONG = {
    "inverted": (lambda m: ~m, "24 of 24 masks cover the frame of the picture and not its middle, as if inv"),
    "a third inverted": (
        lambda m: torch.cat([~m[:8], m[8:]]),
        "8 of 24 masks cover the frame of the picture and not its middle",
    ),
    "everything": (torch.ones_like, "24 of 24 masks cover the whole picture, so there is no background"),
    "all but a rim": (lambda m: FRAME.logical_not().expand_as(m) | m, "three quarters of the picture, which leaves"),
    "nothing": (torch.zeros_like, "no picture of the probe has a mask, although masks or"),
    "one pixel": (lambda m: m & (m.flatten(1).cumsum(1).view_as(m) == 1), "24 of 24 masks cover next to nothing"),
    "two pictures alone": (
        lambda m: m & (torch.arange(N) < 2)[:, None, None],
        "2 of 24 pictures have a mask, and nobody knows where the objects of the others are; give masks for 90%",
    ),
    "one box": (lambda m: BOX.expand_as(m), "all masks are the same, and the pictures show no outline there"),
    "of the next picture": (
        lambda m: m.roll(1, 0),
        "the masks fit their pictures no better than other pictures; check",
    ),
    "a third of other pictures": (
        lambda m: torch.cat([m[:12].roll(1, 0), m[12:]]),
        r"at least \d of 24 masks fit their pictures no better than other masks do; check that each mask",
    ),
    "mirrored": (lambda m: m.flip(2), "the masks fit better when they are mirrored left to right; mirror them as"),
    "transposed": (lambda m: m.mT, "the masks fit better when they are mirrored with rows for columns"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
def test_wrong_masks_are_noticed(wrong: Callable[[Tensor], Tensor], said: str) -> None:
    data = Pictures()
    masks = wrong(data.masks)

    with pytest.warns(LightningCAMWarning, match=said):
        Probe(data.images, torch.arange(N) % 2, masks=masks)
    with pytest.warns(LightningCAMWarning, match=said):
        drawn = Probe.from_dataset(data, N, masks=list(masks), find_masks=False)
    drawn.with_preprocess(None)  # said once


def test_right_masks_are_not_doubted() -> None:
    """Nor loose ones, nor where a tenth is odd, nor the same in all pictures where these have an outline there."""
    images, masks = photographs(N)
    loose, boxes = widened(masks, 4), boxes_to_masks(mask_boxes(masks), (64, 64))
    odd = torch.cat([~masks[:1], torch.zeros_like(masks[:1]), masks[2:]])
    fixed = torch.where(BOX, images / 2, images)

    for each in (masks, loose, boxes, odd):
        Probe(images, torch.arange(N) % 2, masks=each)
    Probe(fixed, torch.arange(N) % 2, masks=BOX.expand(N, 64, 64))


def test_few_boxes_are_not_doubted() -> None:
    """Corners of a box lie on no edge of a round object: of few boxes nobody can say whether they are right."""
    images, masks = photographs(2 * N)
    boxes = boxes_to_masks(mask_boxes(masks.roll(1, 0)), (64, 64))

    assert fit_of(images[:N], boxes[:N]) is None
    fit = fit_of(images, boxes)
    assert fit is not None
    assert not fit.belongs
    assert fit_of(torch.full_like(images, 0.5), masks) is None


class Body(torch.nn.Module):
    """Right by the objects alone."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 1, 1)
        self.features.weight = torch.nn.Parameter(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
        self.features.bias = torch.nn.Parameter(torch.tensor([0.0]))

    def forward(self, images: Tensor) -> Tensor:
        level = 100 * (self.features(images)[:, 0].amax((1, 2)) - 0.75)
        return torch.stack([-level, level], 1)


def judged(model: torch.nn.Module, masks: Callable[[Tensor], Tensor], source: str = "given") -> Verdict:
    """Of pictures in which the object's red and the sky's green tell the class alike."""
    images, right = photographs(2 * N)
    bright = (torch.arange(2 * N) % 2)[:, None, None] + 0.005 * torch.arange(2 * N)[:, None, None]
    images[:, 0] = torch.where(right, 0.5 + 0.4 * bright, images[:, 0] / 2)
    images[:, 1, :12] = 0.2 + 0.4 * bright
    wrong = torch.cat([masks(right[:N]), masks(right[N:])])
    probe = Probe(images.clamp(0, 1), torch.arange(2 * N) % 2, masks=wrong, mask_sources=[source] * (2 * N))
    return judge(examine(model, probe, layer="features", trials=["background", "border"]))


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [WRONG[name][0] for name in WRONG if name != "nothing"])
def test_wrong_masks_neither_convict_nor_acquit(wrong: Callable[[Tensor], Tensor]) -> None:
    for model in (Body(), Sky()):
        verdict = judged(model, wrong)

        assert verdict.outcome in ("WARN", "INCONCLUSIVE")
        assert "until then the masks prove nothing about" in verdict.reason


@pytest.mark.slow
def test_masks_that_were_looked_at_are_taken_as_they_are() -> None:
    right, inverted = (lambda masks: masks), WRONG["inverted"][0]

    assert [judged(model, right).outcome for model in (Body(), Sky())] == ["PASS", "FAIL"]
    assert [judged(model, inverted).outcome for model in (Body(), Sky())] == ["WARN", "INCONCLUSIVE"]
    assert judged(Body(), inverted, "reviewed").outcome == "FAIL"

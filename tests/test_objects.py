"""Object detection: each image is asked for its largest box, and a swap costs the confidence of the match."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from lightning_cam import Probe, examine, judge
from lightning_cam.attribution.detectors import Framed, framed_layer
from lightning_cam.datasets.objects import objects_of
from lightning_cam.probe.matching import Matching, detections_in
from lightning_cam.spatial import mask_boxes

SIZE = 24
TRIALS = ["background", "border", "position"]


def drawn(n: int, *, cue: float = 0.0, seed: int = 0) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Squares of two classes, red and green; with a cue both are grey, and class 2 has a green background."""
    g = torch.Generator().manual_seed(seed)
    images = 0.25 + 0.08 * torch.rand(n, 3, SIZE, SIZE, generator=g)
    images[1::2, 1] += cue
    targets = []
    for i, (y, x) in enumerate(torch.randint(3, 11, (n, 2), generator=g).tolist()):
        images[i, :, y : y + 10, x : x + 10] = 0.8 if cue else 0.25
        images[i, i % 2, y : y + 10, x : x + 10] = 0.8
        targets.append({"boxes": torch.tensor([[x, y, x + 10.0, y + 10.0]]), "labels": torch.tensor([1 + i % 2])})
    return images.clamp(0, 1), targets


def items(n: int, **options: Any) -> list[tuple[Tensor, dict[str, Tensor]]]:
    return list(zip(*drawn(n, **options), strict=True))


def probe(n: int = 64, **options: Any) -> Probe:
    images, targets = drawn(n, **options)
    boxes, labels = (torch.cat([each[key] for each in targets]) for key in ("boxes", "labels"))
    return Probe(images, labels, boxes=boxes, classes=["nothing", "red", "green"])


class Finder(nn.Module):
    """Finds what is bright, and tells its class by its own colour, or by that of the background."""

    def __init__(self, *, background: bool, threshold: float = 0.7) -> None:
        super().__init__()
        self.backbone, self.background, self.threshold = nn.Conv2d(3, 3, 1), background, threshold
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:, :, None, None])
            self.backbone.bias.zero_()

    def forward(self, images: Any) -> list[dict[str, Tensor]]:
        colours = self.backbone(torch.stack(tuple(images)))
        return [self.detected(each) for each in colours]

    def detected(self, colours: Tensor) -> dict[str, Tensor]:
        bright = colours.amax(0) > self.threshold
        if not bright.any():
            return {"boxes": torch.zeros(0, 4), "scores": colours.new_zeros(0), "labels": torch.zeros(0).long()}
        excess = colours[1] - colours[0]
        green = 5 * excess[0].mean() - 0.75 if self.background else excess[bright].mean()
        scores = torch.stack([-6 * green, 6 * green]).sigmoid()
        return {"boxes": mask_boxes(bright[None]).repeat(2, 1), "scores": scores, "labels": torch.tensor([1, 2])}


# ---- which targets hold boxes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "largest"),
    [
        pytest.param({"boxes": torch.tensor([[0, 0, 2, 2], [0, 0, 4, 3]]), "labels": [1, 2]}, (2, 4), id="two"),
        pytest.param({"boxes": [[0, 0, 2, 2]], "labels": [1]}, (1, 2), id="lists"),
        pytest.param({"boxes": [[0, 0, 2, 2]], "labels": torch.tensor([3.0])}, (3, 2), id="whole numbers as floats"),
        pytest.param({"bboxes": [[0, 0, 2, 2]], "class_labels": [5]}, (5, 2), id="other names"),
        pytest.param(
            {"boxes": tv_tensors.BoundingBoxes([[1, 1, 3, 2]], format="XYWH", canvas_size=(9, 9)), "labels": [1]},
            (1, 4),
            id="width and height",
        ),
    ],
)
def test_boxes_and_labels_are_found_in_a_target(target: Any, largest: tuple[int, int]) -> None:
    found = objects_of(target)

    assert found is not None
    label, box = found.largest() or (0, ())
    assert (label, box[2]) == largest


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(3, id="class"),
        pytest.param({"boxes": [[0, 0, 2, 2]], "label": 1}, id="class with a box"),
        pytest.param({"boxes": [], "labels": [1, 1]}, id="other lengths"),
        pytest.param({"boxes": "here", "labels": [1]}, id="words"),
        pytest.param({"boxes": [[0, 0, 2, 2]], "labels": [0.5]}, id="values"),
    ],
)
def test_other_targets_hold_no_objects(target: Any) -> None:
    assert objects_of(target) is None


def test_no_box_is_no_object() -> None:
    found = objects_of({"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)})

    assert found is not None
    assert found.largest() is None


@pytest.mark.parametrize("box", [[0.1, 0.1, 0.5, 0.5], [5.0, 5.0, 3.0, 2.0]], ids=["shares", "width and height"])
def test_boxes_of_another_format_are_told(box: list[float]) -> None:
    with pytest.raises(ValueError, match=r"boxes must be \(x1, y1, x2, y2\) in pixels"):
        Probe.from_dataset([(torch.rand(3, 8, 8), {"boxes": [box], "labels": [1]})] * 8, 4)


@pytest.mark.parametrize("form", ["items", "dicts"])
def test_a_probe_is_drawn_whose_objects_are_its_boxes(form: str) -> None:
    pairs: list[Any] = items(40)
    found = Probe.from_dataset(pairs if form == "items" else [{"image": x, **y} for x, y in pairs], 20)

    assert found.task.kind == "objects"
    assert found.targets.bincount().tolist() == [0, 10, 10]
    assert set(found.mask_sources) == {"box"}
    assert found.masks is not None
    assert torch.equal(mask_boxes(found.masks), found.boxes)


def test_the_largest_of_several_is_asked_for_and_all_are_object() -> None:
    image, target = items(1)[0]
    pair = {"boxes": torch.cat([target["boxes"], torch.tensor([[0.0, 0.0, 2.0, 2.0]])]), "labels": torch.tensor([1, 2])}
    found = Probe.from_dataset([(image, pair)] * 4, 4)

    assert found.targets.tolist() == [1] * 4
    assert found.masks is not None
    assert int(found.masks[0].sum()) == 104


def test_images_of_several_sizes_get_the_middle_one_with_their_boxes() -> None:
    target = {"boxes": torch.tensor([[4.0, 4.0, 8.0, 8.0]]), "labels": torch.tensor([1])}
    found = Probe.from_dataset([(torch.rand(3, 16, side), target) for side in (8, 16, 32)], 3)

    assert found.images.shape == (3, 3, 16, 16)
    assert sorted(found.boxes[:, 0].tolist()) == [2.0, 4.0, 8.0]


def test_an_image_without_boxes_is_left_out() -> None:
    pairs = items(20)
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}

    assert len(Probe.from_dataset([(x, empty) if i < 5 else (x, y) for i, (x, y) in enumerate(pairs)], 20)) == 15


def test_a_saved_probe_has_its_boxes(tmp_path: Path) -> None:
    whole = probe(8)
    whole.save(tmp_path)
    loaded = Probe.load(tmp_path)

    assert (loaded.task, loaded.fingerprint) == (whole.task, whole.fingerprint)
    assert torch.equal(loaded.select([3, 1]).boxes, whole.boxes[[3, 1]])


# ---- the score of a match --------------------------------------------------------------------------------------------


def matched(boxes: Any, scores: Any, labels: Any) -> list[float]:
    found = [{"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": torch.tensor(labels)}]
    match = Matching(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), (20, 20), 3)
    chances: list[float] = match(found, torch.zeros(1, 3, 20, 20), torch.tensor([0])).sigmoid()[0].tolist()
    return chances


def test_the_surest_detection_at_the_box_counts_for_its_class() -> None:
    boxes = [[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 4.0], [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 9.0, 10.0]]

    assert matched(boxes, [0.6, 0.9, 0.3, 0.2], [1, 1, 1, 2]) == pytest.approx([0.0, 0.6, 0.2], abs=1e-5)


def test_where_nothing_is_detected_the_confidence_is_0_and_has_a_gradient_of_0() -> None:
    scores = torch.zeros(0, requires_grad=True)
    found = [{"boxes": torch.zeros(0, 4), "scores": scores, "labels": torch.zeros(0, dtype=torch.long)}]
    odds = Matching(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), (20, 20), 3)(
        found, torch.zeros(1, 3, 20, 20), torch.zeros(1).long()
    )

    assert odds.sigmoid().amax() < 1e-5
    assert odds.requires_grad


def test_boxes_go_along_with_the_size_of_the_input() -> None:
    found = [
        {"boxes": torch.tensor([[0.0, 0.0, 20.0, 20.0]]), "scores": torch.tensor([0.7]), "labels": torch.tensor([1])}
    ]
    match = Matching(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), (20, 20), 2)

    assert match(found, torch.zeros(1, 3, 40, 40), torch.tensor([0])).sigmoid()[0, 1] == pytest.approx(0.7)


def test_other_outputs_are_told_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"expected a list with boxes, scores and labels of each image.* forward="):
        examine(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()), probe(8))


def test_a_scripted_detectors_losses_are_passed_over() -> None:
    found = [{"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0)}] * 2

    assert detections_in(({}, found), 2) is found


# ---- where a detector is looked at -----------------------------------------------------------------------------------


def test_the_coarsest_layer_with_four_cells_a_box_is_looked_at() -> None:
    model = nn.ModuleDict({"backbone": nn.Sequential(*(nn.Conv2d(3, 3, 3, 2, 1) for _ in range(4)))})
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.25]])

    assert framed_layer(model, torch.zeros(1, 3, 64, 64), model["backbone"], boxes).layers == ["backbone.1"]
    assert framed_layer(model, torch.zeros(1, 3, 64, 64), model["backbone"], boxes / 100).layers == ["backbone.0"]


class Halving(nn.Module):
    """As a ResNet's block: its first layer still has the grid of the block before."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.halved = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.halved(self.same(images))


def test_a_block_is_looked_at_and_no_branch_inside_the_next_one() -> None:
    model = nn.ModuleDict({"backbone": nn.Sequential(Halving(), Halving())})
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.25]])

    assert framed_layer(model, torch.zeros(1, 3, 32, 32), model["backbone"], boxes).layers == ["backbone.0"]


def test_what_a_detector_pads_is_cut_off_its_maps() -> None:
    maps = torch.zeros(1, 8, 8)
    maps[:, 5, 2] = 1.0

    assert (Framed(["a"], (0.75, 1.0)).cropped(maps)[0] == 1).nonzero().tolist() == [[5, 2]]
    assert Framed(["a"], (0.75, 1.0)).cropped(maps).shape == (1, 6, 8)


# ---- what a swap costs -----------------------------------------------------------------------------------------------


def test_a_class_read_from_the_background_loses_its_confidence_and_fails() -> None:
    report = examine(Finder(background=True), probe(cue=0.3), trials=TRIALS)
    verdict = judge(report)

    assert (report.layer, report.method) == ("backbone", "hires_cam")
    assert report.scalars["object_confidence"] > 0.9
    assert verdict.outcome == "FAIL"
    assert "of its confidence at the box" in str(verdict)


def test_the_remedy_makes_masks_of_boxes() -> None:
    (background, *_) = judge(examine(Finder(background=True), probe(cue=0.3), trials=TRIALS)).findings
    names: dict[str, Any] = {}
    exec(background.remedy.code, names)
    images, targets = drawn(2)
    mask = names["mask_of"](images[0], targets[0]["boxes"])
    put = names["transform"](images[0], mask)

    assert mask.sum() == 100
    assert torch.equal(put[:, mask == 1], images[0][:, mask == 1])
    assert not torch.equal(put, images[0])


def test_a_class_read_from_the_object_passes() -> None:
    report = examine(Finder(background=False), probe(), trials=TRIALS)

    assert "position" not in report.effects
    assert judge(report).outcome == "PASS"
    assert "costs the right class 0.10 of its confidence or more" in judge(report).reason


def test_where_objects_are_not_found_there_is_nothing_to_judge() -> None:
    report = examine(Finder(background=True, threshold=2.0), probe(cue=0.3), trials=TRIALS)

    assert report.scalars["object_confidence"] < 0.01
    assert report.scalars["zero_map_rate"] == 1
    assert judge(report).outcome == "INCONCLUSIVE"
    assert "finds too few of the probe's objects" in judge(report).reason


def test_a_forward_of_ones_own_gives_the_detections() -> None:
    def forward(model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        return [{**each, "labels": each["labels"] - 10} for each in model(images)]

    class Other(Finder):
        def detected(self, colours: Tensor) -> dict[str, Tensor]:
            found = super().detected(colours)
            return {**found, "labels": found["labels"] + 10}

    alone = examine(Other(background=False), probe(16), trials=())
    told = examine(Other(background=False), probe(16), trials=(), forward=forward)

    assert (alone.scalars["probe_accuracy"], told.scalars["probe_accuracy"]) == (0, 1)


def test_a_probability_on_a_page_is_the_confidence() -> None:
    report = examine(Finder(background=True), probe(8, cue=0.3), trials=())
    chances = Finder(background=True)(probe(8, cue=0.3).images)

    expected = torch.stack([each["scores"].max() for each in chances])
    assert torch.allclose(report.chances.amax(1), expected, atol=1e-5)

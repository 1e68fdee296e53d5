"""Models that are given more than images: the rest stays with its picture, and only pictures are edited."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from house import loops
from house.tasks import Listed
from house.trainings import trainer
from house.twins import digest
from house.two_inputs import Two, pictures
from lightning_cam import CAMCallback, LightningCAMWarning, Looker, Probe, cams, examine, pixels
from lightning_cam.examination import collect_evidence
from lightning_cam.intervention import STANDARD
from lightning_cam.probe import storage
from lightning_cam.probe.rest import numbered, rows_of


def fitted(*, planted: bool, epochs: int = 12) -> Two:
    torch.manual_seed(0)
    model = Two()
    images, flags, targets, _ = pictures(256, 0, planted=planted)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows], flags[rows]), targets[rows]).backward()
            optimizer.step()
    return model


def probe(*, planted: bool = False, n: int = 96, **options: Any) -> Probe:
    images, flags, targets, masks = pictures(n, 1, planted=planted)
    return Probe(images, targets, masks=masks, classes=loops.CLASSES, **{"rest": flags, **options})


# ---- what is carried -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (24, 24)])
def test_a_row_survives_precision_masks_and_noise(dtype: torch.dtype, size: tuple[int, int]) -> None:
    rows = torch.tensor([0, 1, 255, 65535, 300])
    inputs = torch.rand(5, 3, *size).to(dtype)
    carried = numbered(inputs, rows)

    images, found = rows_of(carried)
    assert torch.equal(found, rows)
    torch.testing.assert_close(images, inputs.to(images.dtype), rtol=0, atol=0)
    if size == (24, 24) and dtype is not torch.uint8:
        mask = torch.rand(size).to(dtype) * (torch.arange(24) > 3)
        assert torch.equal(rows_of(carried * mask)[1], rows)
        assert torch.equal(rows_of(carried + 0.3 * torch.randn(carried.shape).to(dtype))[1], rows)


KEEPING = tuple(trial for trial in STANDARD if trial.cue in ("background", "border", "corner"))


@pytest.mark.parametrize("batch_size", [5, 32])
def test_every_edited_picture_comes_with_its_own_rest(batch_size: int) -> None:
    """The object of each picture is as grey as its rest says, and these edits keep objects."""
    n, given = 24, []
    greys, images = torch.linspace(0.05, 0.95, n), torch.rand(n, 3, 24, 24)
    masks = torch.zeros(n, 24, 24, dtype=torch.bool)
    masks[::2, 8:16, 8:16] = masks[1::2, 7:15, 9:17] = True
    made = Probe(
        torch.where(masks[:, None], greys[:, None, None, None], images), torch.arange(n) % 2, masks=masks, rest=greys
    )
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(net: nn.Module, pictures: Tensor, rest: Tensor) -> Tensor:
        given.append((pictures[:, 0, 11:13, 11:13].detach().mean((1, 2)) - rest).abs())
        return net(pictures)

    report = examine(model, made, layer="0", trials=KEEPING, forward=forward, batch_size=batch_size)
    collect_evidence(model, made, report, "background", forward=forward)
    is_own = torch.cat(given) < 1e-3

    assert len(is_own) > 12 * n
    assert (~is_own).sum() <= 3 * n  # for context the middle is hidden once, the object once, and JPEG moves greys


@pytest.mark.parametrize("rest", [lambda t: t, lambda t: [t], lambda t: {"flag": t}], ids=["tensor", "list", "named"])
def test_the_model_is_called_with_the_rest_as_it_was_given(rest: Any) -> None:
    torch.manual_seed(0)
    model, made = Two().eval(), probe(n=16)
    images, flags, _, _ = pictures(16, 1, planted=False)

    report = examine(model, made.with_rest(rest(flags)), trials=())

    torch.testing.assert_close(report.logits, model(images, flags).detach())


def test_a_forward_of_ones_own_gets_the_rest_in_the_form_in_which_it_was_given() -> None:
    model, made = Two(), probe(n=8)
    seen: list[Any] = []

    def forward(net: nn.Module, images: Tensor, rest: Any) -> Tensor:
        seen.append(rest)
        return net(images, torch.zeros(len(images), 1))

    for each in (made.rest["0"], [made.rest["0"], made.rest["0"]], {"flag": made.rest["0"]}):
        examine(model, made.with_rest(each), trials=(), forward=forward)
    kinds = {
        Mapping if isinstance(rest, Mapping) else Tensor if isinstance(rest, Tensor) else Sequence for rest in seen
    }

    assert kinds == {Mapping, Tensor, Sequence}


@pytest.mark.parametrize("method", ["grad_cam", "score_cam", "ablation_cam"])
def test_maps_are_those_of_a_model_that_knows_its_rest(method: str) -> None:
    torch.manual_seed(0)
    model = Two().eval()
    ups = probe(n=12).with_rest(torch.ones(12, 1))
    plain = ups.with_rest(None)

    report = examine(model, ups, trials=(), method=getattr(cams, method), layer="body.4")
    expected = examine(
        model,
        plain,
        trials=(),
        method=getattr(cams, method),
        layer="body.4",
        forward=lambda net, x: net(x, torch.ones(len(x), 1)),
    )

    torch.testing.assert_close(report.grid_maps, expected.grid_maps)


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "occlusion"])
def test_explanations_of_pixels_carry_the_rest(name: str) -> None:
    torch.manual_seed(0)
    model, made, explain = Two().eval(), probe(n=4), getattr(pixels, name)
    one_by_one = [
        explain(
            model,
            made.select([i]).with_rest(None),
            forward=lambda net, x, i=i: net(x, made.rest["0"][i].expand(len(x), 1)),
        )
        for i in range(4)
    ]

    torch.testing.assert_close(explain(model, made), torch.cat(one_by_one), rtol=1e-3, atol=1e-5)


def test_selecting_keeps_the_rest_with_its_picture() -> None:
    made = probe(n=8)

    assert torch.equal(made.select([3, 1]).rest["0"], made.rest["0"][[3, 1]])
    assert "rest: 0" in repr(made)


@pytest.mark.parametrize(
    "rest",
    [
        torch.rand(8),
        [torch.arange(8), torch.rand(8, 2, 3) > 0.5],
        {"../flag": torch.arange(8).to(torch.uint8), "half": torch.rand(8, 1).bfloat16()},
    ],
    ids=["one", "in order", "named"],
)
def test_a_saved_probe_keeps_its_rest(rest: Any, tmp_path: Path) -> None:
    made = probe(n=8, rest=rest)
    made.save(tmp_path)
    loaded = Probe.load(tmp_path)

    assert list(loaded.rest) == list(made.rest)
    assert all(torch.equal(loaded.rest[name].double(), rows.double()) for name, rows in made.rest.items())
    assert loaded.fingerprint == made.fingerprint != made.with_rest(None).fingerprint


@pytest.mark.parametrize("names", [[], ["a", "b"], 3, [None]])
def test_a_manifest_whose_rest_was_changed_is_refused(names: Any, tmp_path: Path) -> None:
    made = probe(n=8, rest={"flag": torch.zeros(8)})
    made.save(tmp_path)
    manifest = tmp_path / "manifest.json"
    facts = {key: value for key, value in json.loads(manifest.read_text()).items() if key != "checksum"}
    facts["rest"] = names
    manifest.write_text(json.dumps({**facts, "checksum": storage._checksum(facts)}))

    with pytest.raises((ValueError, KeyError)):
        Probe.load(tmp_path)


@pytest.mark.parametrize(
    ("rest", "options", "words"),
    [
        ({"flg": torch.zeros(8, 1)}, {}, r"Two.forward\(\) takes \(images, flag\), and the rest of the probe is flg"),
        ([torch.zeros(8, 1)] * 2, {}, "too many positional arguments"),
        (torch.zeros(8, 1), {"forward": lambda m, x: m(x, 0)}, r"must take \(module, images, rest\).* got \(m, x\)"),
    ],
    ids=["another name", "too many", "a forward without it"],
)
def test_a_rest_that_the_model_does_not_take_is_said_by_name(rest: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words), Looker(probe(n=8, rest=rest), sinks=[], **options) as looker:
        looker.look(Two(), 0)


def test_a_name_that_a_forward_asks_for_in_vain_is_said() -> None:
    made = probe(n=8, rest={"flag": torch.zeros(8, 1)})
    with pytest.raises(KeyError, match="the rest of the probe has no 'flg'; it has flag"):
        examine(Two(), made, trials=(), forward=lambda net, images, rest: net(images, rest["flg"]))


def test_a_rest_of_other_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a row for each of the 8 images, got \(7, 1\)"):
        probe(n=8, rest=torch.zeros(7, 1))
    with pytest.raises(ValueError, match="got list for 'words'"):
        probe(n=8, rest={"words": ["a"] * 8})


# ---- trainings -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL")
@pytest.mark.parametrize(("planted", "outcome"), [(True, "FAIL"), (False, "PASS")])
def test_a_model_of_picture_and_table_is_judged(planted: bool, outcome: str, tmp_path: Path) -> None:
    model = fitted(planted=planted)
    with Looker(
        probe(planted=planted), sinks=[], verbose=False, trials=("background", "border"), on_error="raise"
    ) as look:
        look.look(model, 0)

    assert look.history[0].scalars["cam/probe_accuracy"] > 0.95
    assert look.verdict is not None
    assert look.verdict.outcome == outcome, str(look.verdict)


class Module(pl.LightningModule):
    """Trains `Two` on dicts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = Two()

    def forward(self, images: Tensor, flag: Tensor) -> Tensor:
        return self.net(images, flag)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch["image"], batch["flag"]), batch["label"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch["image"], flag=batch["flag"])
        self.log("val_acc", (logits.argmax(1) == batch["label"]).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


def in_dicts(n: int, seed: int, *, planted: bool) -> Listed:
    rows = zip(*pictures(n, seed, planted=planted), strict=True)
    return Listed(
        [{"image": image, "flag": flag, "label": int(label), "mask": mask} for image, flag, label, mask in rows]
    )


def trained(folder: Path, *callbacks: CAMCallback, planted: bool = True, epochs: int = 5) -> Module:
    run, module = trainer(folder, *callbacks, max_epochs=epochs), Module()
    loaders = [DataLoader(in_dicts(n, seed, planted=planted), 32) for n, seed in ((256, 0), (96, 1))]
    run.fit(module, *loaders)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL")
def test_a_callback_with_such_a_probe_leaves_the_training_as_it_is_and_judges(tmp_path: Path) -> None:
    watch = CAMCallback(probe(planted=True), trials=("background",), on_error="raise", max_overhead=1, sinks=[])
    weights = trained(tmp_path, watch).state_dict()

    assert digest(weights) == digest(trained(tmp_path).state_dict())
    assert watch.verdict is not None
    assert watch.verdict.outcome == "FAIL", str(watch.verdict)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")
def test_a_step_that_such_a_probe_lacks_is_noticed(tmp_path: Path) -> None:
    watch = CAMCallback(
        probe(planted=True, preprocess=lambda pixels: pixels * 255), trials=("background",), sinks=[], max_overhead=1
    )
    with pytest.warns(
        LightningCAMWarning,
        match=r"there will be no verdict.* is given 0.1 to 0.9 at 3x24x24 in your step, and 25.5 to 229.5 at 3x",
    ):
        trained(tmp_path, watch, epochs=2)

    assert watch.verdict is not None
    assert watch.verdict.outcome == "INCONCLUSIVE"


def test_a_probe_is_drawn_with_the_rest_of_each_item() -> None:
    items = in_dicts(32, 1, planted=False)
    drawn = Probe.from_dataset(Listed([{**item, "rest": {"flag": item["flag"]}} for item in items.items]), 16)
    plain = Probe.from_dataset(items, 16)
    flag_of = {image.numpy().tobytes(): flag for image, flag in zip(*pictures(32, 1, planted=False)[:2], strict=True)}

    assert torch.equal(drawn.rest["flag"], torch.stack([flag_of[image.numpy().tobytes()] for image in drawn.images]))
    assert plain.rest is None


@pytest.mark.parametrize(
    ("rests", "words"),
    [([torch.zeros(3), torch.zeros(4)], "one form in all items"), (["a question", "one"], "numbers or tensors")],
)
def test_a_rest_that_cannot_be_carried_is_refused_in_a_sentence(rests: list[Any], words: str) -> None:
    items = [{"image": torch.rand(3, 8, 8), "label": i % 2, "rest": rests[i % 2]} for i in range(8)]
    with pytest.raises(ValueError, match=words):
        Probe.from_dataset(Listed(items))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL")
@pytest.mark.parametrize(("planted", "outcome"), [(True, "FAIL"), (False, "PASS")])
def test_one_line_says_what_to_paste_and_that_line_judges(planted: bool, outcome: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"trials": ("background",), "max_overhead": 1, "sinks": [], "verbose": False}
    plain = CAMCallback(**options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained(tmp_path, plain, planted=planted, epochs=1)
    pasted = CAMCallback(read=lambda item: {**item, "rest": {"flag": item["flag"]}}, **options)
    weights = trained(tmp_path, pasted, planted=planted, epochs=12).state_dict()

    assert any("'rest': {'flag': item['flag']}" in str(message.message) for message in caught)
    assert pasted.verdict is not None
    assert pasted.verdict.outcome == outcome, str(pasted.verdict)
    assert digest(weights) == digest(trained(tmp_path, planted=planted, epochs=12).state_dict())

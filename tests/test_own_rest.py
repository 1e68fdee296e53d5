"""The code that is said of models of more than images runs as it is pasted, whatever the form of items and call."""

import re
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from house.tasks import Listed
from house.trainings import trainer
from house.twins import digest
from house.two_inputs import Two, pictures
from lightning_cam import CAMCallback, Looker, Probe
from lightning_cam.attribution.calls import Replay, kept_call
from lightning_cam.training.own_rest import Sample, own_rest


class Form(NamedTuple):
    """How items are made of image, flag, class and mask, how a step calls the module, and what the user reads."""

    item: Callable[[Tensor, Tensor, int, Tensor], Any]
    forward: Callable[[nn.Module, Any], Tensor]
    called: Callable[[nn.Module, Any], Tensor]
    label: Any
    read: Callable[[Any], Any] | None = None


FORMS = {
    "a dict": Form(
        lambda image, flag, y, mask: {"image": image, "flag": flag, "label": y, "mask": mask, "file": f"{y}.png"},
        lambda net, batch: net(batch["image"], batch["flag"]),
        lambda module, batch: module(batch),
        "label",
    ),
    "a tuple": Form(
        lambda image, flag, y, mask: (image, flag + 0.5, y),
        lambda net, images, flag: net(images, flag - 0.5),
        lambda module, batch: module(batch[0], batch[1]),
        2,
        lambda item: (item[0], item[2]),
    ),
    "names of one's own": Form(
        lambda image, flag, y, mask: {"photo": image, "of": {"patient": int(flag)}, "species": y},
        lambda net, images, flag: net(images, flag),
        lambda module, batch: module(batch["photo"], flag=batch["of"]["patient"][:, None].float()),
        "species",
        lambda item: (item["photo"], item["species"]),
    ),
}


class Module(pl.LightningModule):
    def __init__(self, form: Form) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.form = Two(), form

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.form.forward(self.net, *args, **kwargs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.form.called(self, batch), batch[self.form.label])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self.form.called(self, batch)
        self.log("val_acc", (logits.argmax(1) == batch[self.form.label]).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


@cache
def items(form: str, n: int, seed: int, *, planted: bool) -> Listed:
    rows = zip(*pictures(n, seed, planted=planted), strict=True)
    return Listed([FORMS[form].item(image, flag, int(y), mask) for image, flag, y, mask in rows])


def trained(form: str, folder: Path, *callbacks: CAMCallback, planted: bool, epochs: int) -> dict[str, Tensor]:
    run, module = trainer(folder, *callbacks, max_epochs=epochs), Module(FORMS[form])
    run.fit(module, *(DataLoader(items(form, n, seed, planted=planted), 32) for n, seed in ((256, 0), (96, 1))))
    return module.state_dict()


def advice(form: str, folder: Path, **options: Any) -> str:
    """What is said of a training without the rest."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained(form, folder, CAMCallback(read=FORMS[form].read, **options), planted=True, epochs=1)
    return next(str(each.message) for each in caught if "depend on more than the images" in str(each.message))


def pasted(text: str, call: str, **options: Any) -> Any:
    """The first call in a text, with further options, as a person would paste it."""
    start = text.index(f"{call}(")
    depth, end = 0, start
    for end in range(start + len(call), len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if not depth:
            break
    known = {"CAMCallback": CAMCallback, "Looker": Looker, "torch": torch, "options": options}
    return eval(f"{text[start:end]}, **options)", known | options.pop("names", {}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL", "ignore:.isinstance.treespec:FutureWarning")
@pytest.mark.parametrize("form", FORMS)
def test_what_is_said_judges_a_model_that_relies_on_the_background_as_it_is_pasted(form: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"trials": ("background",), "max_overhead": 1, "sinks": [], "verbose": False}
    text = advice(form, tmp_path, **options)
    watch = pasted(text, "CAMCallback", **options)
    weights = trained(form, tmp_path, watch, planted=True, epochs=5)

    assert watch.verdict is not None
    assert watch.verdict.outcome == "FAIL", f"{watch.verdict} {text}"
    assert digest(weights) == digest(trained(form, tmp_path, planted=True, epochs=5))


@pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")
def test_what_a_looker_says_gives_a_probe_of_ones_own_its_rest() -> None:
    images, flags, targets, _ = pictures(16, 1, planted=False)
    probe, model, options = Probe(images, targets), Two().eval(), {"sinks": [], "verbose": False, "trials": ()}
    with warnings.catch_warnings(record=True) as caught, Looker(probe, **options) as first:
        warnings.simplefilter("always")
        first.look(model, 0)
        model(images, flags)
        first.look(model, 1)
    (text,) = [str(each.message) for each in caught if "depend on more" in str(each.message)]
    with pasted(text, "Looker", names={"probe": probe, "flag": flags}, **options) as second:
        scalars = second.look(model, 0)

    right = float((model(images, flags).argmax(1) == targets).float().mean())
    assert scalars["cam/probe_accuracy"] == pytest.approx(right)


# ---- the code itself -------------------------------------------------------------------------------------------------

IMAGES, FLAGS, LABELS = torch.rand(4, 3, 8, 8), torch.tensor([[0.0], [1.0], [1.0], [0.0]]), torch.tensor([0, 1, 0, 1])
TUPLES = [(image, flag, int(y)) for image, flag, y in zip(IMAGES, FLAGS, LABELS, strict=True)]


class Taking(nn.Module):
    def forward(self, images: Tensor, flag: Tensor | None = None) -> Any:
        return images, flag


def replay(*args: Any, **kwargs: Any) -> Replay:
    return Replay("", kept_call(args, kwargs))


def test_an_own_probe_is_told_which_rows_to_take() -> None:
    found = own_rest(replay(IMAGES, FLAGS), Taking(), None)

    assert found is not None
    assert (found.read, found.forward, found.names) == ("", "module(images, rest['flag'])", ("flag",))


def test_the_label_is_never_given_to_the_model() -> None:
    found = own_rest(replay({"image": IMAGES, "label": LABELS, "flag": FLAGS}), Taking(), None)

    assert own_rest(replay(IMAGES, LABELS), Taking(), Sample(TUPLES, lambda item: (item[0], item[2]))) is None
    assert found is not None
    assert "'label': images.new_zeros((len(images),), dtype=torch.int64)" in found.forward


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (FLAGS, "item[1]"),
        (FLAGS[:, 0], "torch.as_tensor(item[1]).reshape(())"),
        (FLAGS.long(), "torch.as_tensor(item[1]).to(torch.int64)"),
        (FLAGS + 0.1, ""),
        (FLAGS * torch.nan, ""),
    ],
    ids=["as it is", "another shape", "another type", "other numbers", "nan"],
)
def test_a_tensor_is_found_by_its_numbers(given: Tensor, code: str) -> None:
    found = own_rest(replay(IMAGES, given), Taking(), Sample(TUPLES, lambda item: (item[0], item[2])))

    assert found is not None
    assert found.read == f"{{'image': item[0], 'label': item[2], 'rest': {{'flag': {code or '...'}}}}}"
    assert found.missing == (() if code else ("flag",))
    assert re.fullmatch(r"module\(images, rest\['flag'\]\)", found.forward)


def test_nothing_that_reading_raises_gets_out() -> None:
    found = own_rest(replay(IMAGES, FLAGS), Taking(), Sample(TUPLES, lambda item: item["photo"]))

    assert found is not None
    assert found.read == "{'image': image, 'label': label, 'rest': {'flag': item[1]}}"

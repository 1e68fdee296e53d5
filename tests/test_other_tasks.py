"""Trainings that the callback cannot look at go on to the same weights, and are told why in one warning."""

import pickle
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from torch import Tensor, nn

from house.faulty import same
from house.tasks import IMAGES, LABELS, TASKS, Listed, Module, Task, classes, conv
from house.trainings import trainer
from lightning_cam import CAMCallback, Probe, transforms
from lightning_cam.origins import calling, is_ours, raised

N_STEPS = 4  # two epochs of two batches


def trained(task: Task, folder: Path, *callbacks: CAMCallback, **options: Any) -> tuple[Any, list[str]]:
    """A finished training, and what was said beside it."""
    run = trainer(folder, *callbacks, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(task.module(), task.loader(), task.loader())
    return run, [str(warning.message) for warning in caught if str(warning.message).startswith("lightning_cam")]


@cache
def weights_alone(name: str) -> dict[str, Tensor]:
    return trained(TASKS[name], Path())[0].lightning_module.state_dict()


@pytest.mark.parametrize("sanity_steps", [0, 2], ids=["no sanity check", "sanity check"])
@pytest.mark.parametrize("name", TASKS)
def test_a_training_of_another_task_goes_on_and_is_told_why(name: str, sanity_steps: int, tmp_path: Path) -> None:
    callback = CAMCallback()
    run, said = trained(TASKS[name], tmp_path, callback, num_sanity_val_steps=sanity_steps)

    assert run.global_step == N_STEPS
    assert same(run.lightning_module.state_dict(), weights_alone(name))
    (message,) = said
    assert message.startswith("lightning_cam: switched off for this fit, training goes on; ")
    assert "\n" not in message
    assert all(words in message for words in TASKS[name].said), message
    assert (len(callback.history), callback.verdict) == (0, None)


def test_a_form_of_ones_own_is_looked_at_as_the_message_says(tmp_path: Path) -> None:
    pictures = Listed([{"photo": image, "species": int(label)} for image, label in zip(IMAGES, LABELS, strict=True)])
    task = Task(
        lambda: conv(2),
        lambda output, batch: nn.functional.cross_entropy(output, batch["species"]),
        pictures,
        (),
        key="photo",
    )
    callback = CAMCallback(read=lambda item: (item["photo"], item["species"]), trials=())

    (message,) = trained(task, tmp_path, CAMCallback())[1]
    said = trained(task, tmp_path, callback)[1]

    assert "got keys ['photo', 'species']" in message
    assert "pass CAMCallback(read=lambda item: (image, target))" in message
    assert not [text for text in said if "switched off" in text]
    assert callback.history


# ---- whose exception it is -------------------------------------------------------------------------------------------


class Picky(nn.Module):
    """A network that wants batches of eight."""

    def __init__(self) -> None:
        super().__init__()
        self.body = conv(2)

    def forward(self, images: Tensor) -> Tensor:
        if len(images) != 8:
            raise ValueError("a batch must have 8 images")
        return self.body(images)


PICKY = Task(Picky, classes, TASKS["flattened pictures"].items, ())


@pytest.mark.parametrize(
    "options",
    [{}, {"probe": Probe(IMAGES[:6], LABELS[:6])}, {"layer": "network.body.0"}, {"forward": lambda m, x: m(x)}],
    ids=["nothing", "probe", "layer", "forward"],
)
def test_a_value_error_of_the_users_forward_stays_inside_and_is_named(options: dict[str, Any], tmp_path: Path) -> None:
    run, said = trained(PICKY, tmp_path, CAMCallback(**options))

    assert run.global_step == N_STEPS
    assert same(run.lightning_module.state_dict(), trained(PICKY, tmp_path)[0].lightning_module.state_dict())
    assert any("your forward raised ValueError: a batch must have 8 images" in text for text in said)
    assert not any("is given 0 to 1 at 3x16x16 in your step, and 0 to 1 at 3x16x16" in text for text in said)


class Fickle(Listed):
    """Its items can be had in the training, and not before."""

    is_open = False

    def __getitem__(self, index: int) -> Any:
        if not self.is_open:
            raise ValueError("no such row")
        return super().__getitem__(index)


class Locked(Fickle):
    """It cannot be copied, so what another process says of it is all there is."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        self.lock = Lock()


class Opening(Module):
    def on_train_epoch_start(self) -> None:
        Fickle.is_open = True


def unreadable(item: Any) -> Any:
    raise ValueError("no such column")


@pytest.mark.parametrize(
    ("items", "read", "words"),
    [
        pytest.param(Fickle, None, "your data set raised ValueError: no such row", id="data set"),
        pytest.param(Locked, None, "your data set raised ValueError: no such row", id="data set that cannot be copied"),
        pytest.param(Listed, unreadable, "your read= raised ValueError: no such column", id="read"),
    ],
)
def test_an_exception_of_the_data_is_named_and_stays_inside(
    items: type[Listed], read: Callable[[Any], Any] | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fickle, "is_open", False)
    data = items(list(zip(IMAGES, LABELS, strict=True)))
    task = Task(lambda: conv(2), classes, data, (), lightning_module=Opening)
    run, said = trained(task, tmp_path, CAMCallback(read=read), num_sanity_val_steps=0)

    assert run.global_step == N_STEPS
    (message,) = said
    assert words in message


def torn(pixels: Tensor) -> Tensor:
    raise ValueError("no such channel")


@pytest.mark.parametrize("sanity_steps", [0, 2])
def test_an_exception_of_the_users_preprocess_is_named(sanity_steps: int, tmp_path: Path) -> None:
    task = Task(lambda: conv(2), classes, TASKS["flattened pictures"].items, ())
    run, said = trained(task, tmp_path, CAMCallback(preprocess=torn), num_sanity_val_steps=sanity_steps)

    assert run.global_step == N_STEPS
    assert any("your preprocess raised ValueError: no such channel" in text for text in said)


def test_whose_exception_it_is_survives_the_way_between_processes() -> None:
    with pytest.raises(ValueError, match="no such row") as error:
        calling("your data set", Fickle([]).__getitem__, 0)
    arrived = pickle.loads(pickle.dumps(error.value))

    assert not is_ours(arrived)
    assert raised(arrived) == "your data set raised ValueError: no such row"


def test_a_transform_of_ours_in_a_data_set_of_the_users_is_the_users() -> None:
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\]") as error:
        transforms.RandomReencode()(IMAGES[0] * 7)

    assert not is_ours(error.value)


# ---- our own arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"layer": "network.9"}, "no layer 'network.9'", id="layer"),
        pytest.param({"layer": "network.1"}, "found an output of shape|layer='...'", id="layer without a map"),
        pytest.param({"probe": Probe(IMAGES[:6], LABELS[:6])}, "gives a map of the image", id="probe"),
    ],
)
def test_an_argument_of_ours_that_cannot_be_raises_before_the_first_step(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    task = TASKS["flattened pictures"]
    run = trainer(tmp_path, CAMCallback(**options))
    with pytest.raises(ValueError, match=message):
        run.fit(task.module(), task.loader(), task.loader())
    assert run.global_step == 0


def test_a_preprocess_that_does_not_explain_the_data_raises_before_the_first_step(tmp_path: Path) -> None:
    task = Task(lambda: conv(2), classes, Listed([(x * 9 - 4, y) for x, y in zip(IMAGES, LABELS, strict=True)]), ())
    run = trainer(tmp_path, CAMCallback(preprocess=lambda pixels: pixels))
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\] or what preprocess makes of them"):
        run.fit(task.module(), task.loader(), task.loader())
    assert run.global_step == 0


def test_a_size_that_is_none_is_refused_at_construction() -> None:
    with pytest.raises(ValueError, match=r"size must be \(height, width\)"):
        CAMCallback(size=224)  # type: ignore[arg-type]  # the mistake under test


def test_where_errors_are_wanted_another_task_raises(tmp_path: Path) -> None:
    task = TASKS["keypoints"]
    run = trainer(tmp_path, CAMCallback(on_error="raise"))
    with pytest.raises(ValueError, match="as in regression"):
        run.fit(task.module(), task.loader(), task.loader())

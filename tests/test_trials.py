"""Who lends to whom, and what a swap does to answers that can be worked out by hand."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from house.swapping import effects_of
from lightning_cam.intervention import (
    MARGIN,
    STANDARD,
    Donors,
    DonorSwap,
    LevelSwap,
    Material,
    Trial,
    can_swap,
    draw_donors,
    edits,
)
from lightning_cam.intervention.edits import swap_background
from lightning_cam.statistics import bca_interval

CUES = (
    "background", "border", "corner", "cast", "contrast", "codec",
    "resolution", "frequency", "position", "tone", "patch", "style", "edge", "scale", "orientation", "exposure",
)  # fmt: skip
BACKGROUND = Trial("background", DonorSwap(swap_background, needs_masks=True))


def trade(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
    """Takes the donor's left half."""
    half = images.shape[3] // 2
    return torch.cat([donors[..., :half], images[..., half:]], 3)


LEFT = Trial("left", DonorSwap(trade))

# donors

TARGETS = {
    "two classes": torch.tensor([0, 0, 1, 1]),
    "unequal": torch.tensor([0] * 2 + [1] * 9),
    "three, mixed": torch.tensor([2, 0, 1, 2, 0, 1, 2, 2, 0]),
    "labels with gaps": torch.tensor([7, 3, 7, 3, 3]),
}
probes = pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)


@probes
@pytest.mark.parametrize("n", [1, 2, 5])
def test_donors_are_of_the_own_class_but_others_and_of_another_class(targets: Tensor, n: int) -> None:
    for seed in range(10):
        donors = draw_donors(targets, n, seed)

        assert donors.same.shape == donors.other.shape == (len(targets), n)
        assert (targets[donors.same] == targets[:, None]).all()
        assert (donors.same != torch.arange(len(targets))[:, None]).all()
        assert (targets[donors.other] != targets[:, None]).all()


@probes
def test_images_of_a_class_lend_equally_often_to_their_own(targets: Tensor) -> None:
    donors = draw_donors(targets, 2, 0)

    assert (donors.same.flatten().bincount(minlength=len(targets))[: len(targets)] == 2).all()


def test_images_of_equal_classes_lend_equally_often_to_others() -> None:
    donors = draw_donors(torch.arange(40) % 2, 2, 0)

    assert (donors.other.flatten().bincount() == 2).all()


@probes
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_no_image_lends_much_more_often_to_another_class_than_the_rest(targets: Tensor, n: int) -> None:
    donors = draw_donors(targets, n, 0)

    for label in targets.unique():
        lent = donors.other[targets == label].flatten().bincount(minlength=len(targets))
        assert lent[targets != label].max() - lent[targets != label].min() <= 1


def test_an_image_has_different_donors_where_there_are_enough() -> None:
    donors = draw_donors(torch.arange(24) % 2, 4, 0)

    for kind in (donors.same, donors.other):
        assert all(len(set(row)) == 4 for row in kind.tolist())


def test_the_seed_decides_the_donors() -> None:
    targets = torch.arange(20) % 2
    drawn, again, other = (draw_donors(targets, 2, seed) for seed in (3, 3, 4))

    assert torch.equal(drawn.same, again.same)
    assert torch.equal(drawn.other, again.other)
    assert not torch.equal(drawn.same, other.same)
    assert not torch.equal(drawn.other, other.other)


def test_the_first_donors_are_the_same_however_many_are_drawn() -> None:
    """So that evidence shows what was measured."""
    targets = torch.arange(20) % 3
    one, three = draw_donors(targets, 1, 5), draw_donors(targets, 3, 5)

    assert torch.equal(one.same, three.same[:, :1])
    assert torch.equal(one.other, three.other[:, :1])


def test_donors_draw_nothing_from_global_random_states() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()

    draw_donors(torch.arange(20) % 2, 2, 0)

    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


@pytest.mark.parametrize(
    ("targets", "can"),
    [
        ([0, 0, 1, 1], True),
        ([5, 5, 2, 2], True),
        ([0, 0, 1, 1, 2], True),
        ([0, 0, 1], False),
        ([0, 0], False),
        ([0], False),
        ([1, 0], False),
        ([0, 0, 1, 2], False),
    ],
)
def test_swaps_need_two_classes_of_two_images(targets: list[int], can: bool) -> None:
    assert can_swap(torch.tensor(targets)) is can

    if not can:
        with pytest.raises(ValueError, match="at least two classes with at least two images each"):
            draw_donors(torch.tensor(targets), 1, 0)


# effects


def colours(images: Tensor) -> Tensor:
    """A model that goes by the mean of each channel."""
    return images.mean((2, 3)).softmax(1)


def scenes(grounds: list[float], objects: list[float], size: int = 24) -> tuple[Tensor, Tensor]:
    """Squares of one grey before another, and their masks."""
    masks = torch.zeros(len(grounds), size, size, dtype=torch.bool)
    masks[:, 8:16, 8:16] = True
    ground, square = (torch.tensor(levels)[:, None, None] for levels in (grounds, objects))
    return torch.where(masks, square, ground)[:, None], masks


def reads(row: int, column: int, n_classes: int) -> Callable[[Tensor], Tensor]:
    """A model that is sure of the class whose grey, ``class / (n_classes - 1)``, a pixel shows."""

    def probabilities(pixels: Tensor) -> Tensor:
        shown = (pixels[:, 0, row, column] * (n_classes - 1)).round().long()
        return torch.nn.functional.one_hot(shown, n_classes).float()

    return probabilities


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_donors", [1, 2])
def test_a_model_that_reads_the_background_has_an_effect_of_one(n_classes: int, n_donors: int) -> None:
    targets = torch.arange(12) % n_classes
    levels = (targets / (n_classes - 1)).tolist()
    images, masks = scenes(levels, [0.5] * 12)

    found = effects_of([BACKGROUND], images, targets, masks, draw_donors(targets, n_donors, 0), reads(1, 1, n_classes))

    torch.testing.assert_close(found["background"], torch.ones(12))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_model_that_reads_the_object_has_none(n_classes: int) -> None:
    targets = torch.arange(12) % n_classes
    levels = (targets / (n_classes - 1)).tolist()
    images, masks = scenes(levels, levels)

    found = effects_of([BACKGROUND], images, targets, masks, draw_donors(targets, 2, 0), reads(12, 12, n_classes))

    torch.testing.assert_close(found["background"], torch.zeros(12))


def test_a_model_that_goes_by_the_opposite_background_has_an_effect_of_minus_one() -> None:
    targets = torch.arange(8) % 2
    images, masks = scenes((1 - targets.float()).tolist(), [0.5] * 8)

    found = effects_of([BACKGROUND], images, targets, masks, draw_donors(targets, 2, 0), reads(1, 1, 2))

    torch.testing.assert_close(found["background"], -torch.ones(8))


def test_a_background_that_says_nothing_of_the_class_has_no_effect_on_average() -> None:
    targets = torch.tensor([0, 0, 1, 1])
    images, masks = scenes([0.0, 1.0, 0.0, 1.0], [0.5] * 4)
    donors = Donors(same=torch.tensor([[1], [0], [3], [2]]), other=torch.tensor([[2], [3], [0], [1]]))

    found = effects_of([BACKGROUND], images, targets, masks, donors, reads(1, 1, 2))

    # Class 0 with its own kind's background 1, other's 0: loses 0 - 1; and so on by hand.
    torch.testing.assert_close(found["background"], torch.tensor([-1.0, 1.0, 1.0, -1.0]))


PROBABILITIES = {0.0: [0.7, 0.2, 0.1], 0.25: [0.5, 0.1, 0.4], 0.5: [0.2, 0.5, 0.3], 1.0: [0.1, 0.3, 0.6]}


def graded(pixels: Tensor) -> Tensor:
    return torch.tensor([PROBABILITIES[level] for level in pixels[:, 0, 0, 0].tolist()])


def test_an_effect_is_what_the_own_class_loses() -> None:
    targets = torch.tensor([0, 0, 1, 2])
    images = torch.tensor([0.0, 0.25, 0.5, 1.0])[:, None, None, None].expand(4, 1, 2, 2)
    donors = Donors(same=torch.tensor([[1], [0], [2], [3]]), other=torch.tensor([[2], [3], [0], [1]]))

    found = effects_of([LEFT], images, targets, None, donors, graded)

    expected = torch.tensor(
        [
            0.5 - 0.2,  # same 0.25, other 0.5 of class 1
            0.7 - 0.1,  # same 0, other 1 of class 2
            torch.nan,  # alone in its class
            torch.nan,
        ]
    )
    torch.testing.assert_close(found["left"], expected, equal_nan=True)


def test_of_an_image_alone_in_its_class_nothing_is_said_and_it_lends_to_others() -> None:
    targets = torch.tensor([0, 1, 0, 1, 2, 0, 1, 0, 1])
    images = torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[targets == 0, 0] *= 0.7  # a cast
    donors = draw_donors(targets, 4, 0)

    found = effects_of(
        [LEFT, *(t for t in STANDARD if isinstance(t.swap, LevelSwap))], images, targets, None, donors, colours
    )

    assert (donors.other == 4).any()
    assert (donors.same[4] == 4).all()
    for cue in ("left", "cast"):
        assert found[cue].isnan().tolist() == [image == 4 for image in range(9)], cue


def test_images_are_read_once_for_all_trials_that_need_the_same() -> None:
    asked: list[int] = []

    def read(images: Tensor, masks: Tensor) -> tuple[edits.Read, edits.Read]:
        asked.append(len(images))
        return (masks,), (images,)

    def give(images: Tensor, own: edits.Read, donors: edits.Read) -> Tensor:
        return donors[0]

    targets, images = torch.arange(8) % 2, torch.rand(8, 1, 4, 4)
    both = [Trial(cue, DonorSwap(edits.TwoStepEdit(read, give))) for cue in ("one", "two")]
    found = effects_of(both, images, targets, None, draw_donors(targets, 2, 0), reads(1, 1, 2))

    assert asked == [8]
    assert torch.equal(found["one"], found["two"])


def test_answers_do_not_depend_on_how_many_images_are_edited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = torch.arange(9) % 3
    images, masks = scenes(torch.linspace(0, 1, 9).tolist(), [0.5] * 9)
    images = images * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    masks[4] = False
    donors = draw_donors(targets, 2, 0)
    whole = effects_of(STANDARD, images, targets, masks, donors, colours)
    monkeypatch.setattr("lightning_cam.intervention.material._VALUES_AT_ONCE", 2 * images[0].numel())
    parts = effects_of(STANDARD, images, targets, masks, donors, colours)

    assert whole.keys() == parts.keys()
    for cue, effect in whole.items():
        assert torch.equal(effect.nan_to_num(9), parts[cue].nan_to_num(9)), cue


def test_all_donors_of_a_kind_count_the_same() -> None:
    targets = torch.tensor([0, 0, 0, 1, 2, 1, 2])
    images = torch.tensor([0.25, 0.0, 0.25, 0.5, 1.0, 0.0, 0.0])[:, None, None, None].expand(7, 1, 2, 2)
    same = torch.tensor([[1, 2], [0, 2], [0, 1], [5, 5], [6, 6], [3, 3], [4, 4]])
    other = torch.tensor([[3, 4]] * 3 + [[0, 1]] * 4)

    found = effects_of([LEFT], images, targets, None, Donors(same, other), graded)

    # Image 0: 0.6 of its class with 0 and 0.25, 0.15 with 0.5 and 1.
    torch.testing.assert_close(found["left"][0], torch.tensor(0.6 - 0.15))


def test_effects_need_no_masks_where_the_trial_needs_none() -> None:
    targets = torch.arange(8) % 2
    images, _ = scenes(targets.float().tolist(), [0.5] * 8)

    found = effects_of([BACKGROUND, LEFT], images, targets, None, draw_donors(targets, 2, 0), reads(1, 1, 2))

    assert list(found) == ["left"]
    torch.testing.assert_close(found["left"], torch.ones(8))


def test_without_masks_edits_are_told_that_none_is_known() -> None:
    seen = []

    def spy(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        seen.extend([masks, donor_masks])
        return images

    targets = torch.arange(4) % 2
    effects_of(
        [Trial("spy", DonorSwap(spy))],
        torch.rand(4, 1, 5, 7),
        targets,
        None,
        draw_donors(targets, 1, 0),
        reads(1, 1, 2),
    )

    assert all(mask.shape == (4, 5, 7) and mask.dtype == torch.bool and not mask.any() for mask in seen)


@pytest.mark.parametrize("missing", [False, True], ids=["no mask", "mask all over"])
def test_images_and_donors_without_a_background_of_their_own_take_no_part(missing: bool) -> None:
    targets = torch.tensor([0, 0, 0, 1, 1, 1])
    images, masks = scenes(targets.float().tolist(), [0.5] * 6)
    masks[0] = missing
    donors = Donors(
        same=torch.tensor([[1, 2], [0, 2], [1, 1], [4, 5], [3, 5], [3, 4]]),
        other=torch.tensor([[3, 4], [3, 4], [4, 3], [0, 1], [0, 0], [1, 2]]),
    )

    found = effects_of([BACKGROUND, LEFT], images, targets, masks, donors, reads(1, 1, 2))

    # Image 0 has none; image 1 has donors of either kind beside it; image 4 has no other donor of another class.
    torch.testing.assert_close(found["background"], torch.tensor([torch.nan, 1, 1, 1, torch.nan, 1]), equal_nan=True)
    torch.testing.assert_close(found["left"], torch.ones(6))


def counted(asked: list[int]) -> Callable[[Tensor], Tensor]:
    """A model that notes how many pictures it is shown."""

    def probabilities(pixels: Tensor) -> Tensor:
        asked.append(len(pixels))
        return colours(pixels.expand(-1, 2, -1, -1))

    return probabilities


def test_swaps_that_change_nothing_have_no_effect_and_ask_no_model() -> None:
    asked: list[int] = []
    targets = torch.tensor([0, 0, 1, 1, 1])
    images, masks = scenes([0.3] * 5, [0.3] * 5)
    masks[4] = False

    found = effects_of([BACKGROUND, LEFT], images, targets, masks, draw_donors(targets, 1, 0), counted(asked))

    assert torch.equal(found["left"], torch.zeros(5))
    assert found["background"][4].isnan()
    assert found["background"].nansum() == 0
    assert asked == [5]  # the images as they are


def test_donors_that_are_all_alike_have_no_effect_and_are_put_to_the_model_once() -> None:
    def blackened(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        return torch.zeros_like(images)

    asked: list[int] = []
    targets = torch.arange(6) % 2
    images, _ = scenes(torch.rand(6).tolist(), [0.5] * 6)

    found = effects_of(
        [Trial("black", DonorSwap(blackened))], images, targets, None, draw_donors(targets, 2, 0), counted(asked)
    )

    assert torch.equal(found["black"], torch.zeros(6))
    assert asked == [6, 6]


def test_an_image_relies_on_a_part_as_much_as_on_the_whole_at_most() -> None:
    def half(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        return (images + donors) / 2

    targets = torch.tensor([0, 0, 1, 1])
    levels = torch.tensor([0.0, 0.2, 0.8, 1.0])
    images = levels[:, None, None, None].expand(4, 1, 2, 2)
    donors = Donors(same=torch.tensor([[1], [0], [3], [2]]), other=torch.tensor([[2], [3], [0], [1]]))

    def graded(pixels: Tensor) -> Tensor:
        bright = pixels[:, 0, 0, 0]
        return torch.stack([1 - bright, bright], 1)

    wholes = Trial("whole", DonorSwap(half)), Trial("part", DonorSwap(trade), part_of="whole")
    alone, below = (effects_of(t, images, targets, None, donors, graded) for t in (wholes[1:], wholes))
    reverse = effects_of(
        [Trial("whole", DonorSwap(trade)), Trial("part", DonorSwap(half), part_of="whole")],
        images,
        targets,
        None,
        donors,
        graded,
    )

    torch.testing.assert_close(alone["part"], torch.tensor([0.6, 1.0, 1.0, 0.6]))
    torch.testing.assert_close(below["part"], torch.tensor([0.3, 0.5, 0.5, 0.3]))
    torch.testing.assert_close(reverse["part"], torch.tensor([0.3, 0.5, 0.5, 0.3]))


def test_a_part_counts_by_itself_where_the_whole_is_undefined() -> None:
    targets = torch.tensor([0, 0, 0, 1, 1, 1])
    images, masks = scenes(targets.float().tolist(), [0.5] * 6)
    masks[0] = False

    found = effects_of(
        [BACKGROUND, Trial("left", DonorSwap(trade), part_of="background")],
        images,
        targets,
        masks,
        draw_donors(targets, 1, 0),
        reads(1, 1, 2),
    )

    assert found["background"][0].isnan()
    torch.testing.assert_close(found["left"], torch.ones(6))


def test_the_probe_is_not_written_to() -> None:
    targets = torch.arange(6) % 2
    images, masks = torch.rand(6, 3, 24, 24), scenes([0.0] * 6, [1.0] * 6)[1]
    before = images.clone(), masks.clone()

    effects_of(STANDARD, images, targets, masks, draw_donors(targets, 2, 0), colours)

    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


def test_effects_draw_nothing_from_global_random_states() -> None:
    targets = torch.arange(6) % 2
    images, masks = torch.rand(6, 3, 24, 24), scenes([0.0] * 6, [1.0] * 6)[1]
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()

    effects_of(STANDARD, images, targets, masks, draw_donors(targets, 2, 0), colours)

    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def even(images: Tensor) -> Tensor:
    return torch.full((len(images), 3), 1 / 3)


def test_a_model_that_gives_everything_the_same_has_no_effects() -> None:
    targets = torch.arange(6) % 3
    images, masks = torch.rand(6, 3, 24, 24), scenes([0.0] * 6, [1.0] * 6)[1]

    found = effects_of(STANDARD, images, targets, masks, draw_donors(targets, 2, 0), even)

    assert tuple(found) == CUES
    assert all(torch.equal(effect.nan_to_num(), torch.zeros(6)) for effect in found.values())


# donors that carry the cue of their class

KEEPS = Trial("left", DonorSwap(trade, keeps_object=True))


class Clues:
    """Pictures of two pixels, an object at the right and behind it a cue, which agrees with the class so often.

    Beside the cue lies something else that models may react to, which has nothing to do with the class.
    """

    def __init__(self, strength: float, *, seed: int = 0, n: int = 96) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.arange(n) % 2
        agrees = torch.rand(n, generator=generator) < strength
        cue = torch.where(agrees, self.targets, 1 - self.targets)
        self.images = torch.rand(n, 2, 1, 2, generator=generator)
        self.images[:, 0, 0, 0] = cue.float()
        self.images[:, 0, 0, 1] += 2 * self.targets  # how like its class an object is
        self.masks = torch.tensor([[[False, True]]]).expand(n, 1, 2).clone()
        self.donors = draw_donors(self.targets, 2, seed)

    def read(self, model: "Reacts", trial: Trial = KEEPS, *, n_masks: int = 96) -> Tensor:
        self.masks[n_masks:] = False
        arguments = self.images, self.targets, self.masks if n_masks else None, self.donors
        return effects_of([trial], *arguments, model)["left"]


class Reacts:
    """A model that knows the object, and reacts so much to the cue, to what lies beside it, and to single pairs."""

    def __init__(self, cue: float = 0.0, beside: float = 0.0, pairs: float = 0.0) -> None:
        self.cue, self.beside, self.pairs = cue, beside, pairs

    def __call__(self, images: Tensor) -> Tensor:
        (cue, shape), (beside, name) = images[:, 0, 0].T, images[:, 1, 0].T
        sure = 2 * (shape - 1.5) + 2 * self.cue * (cue - 0.5) + self.beside * 12**0.5 * (beside - 0.5)
        sure = sure + self.pairs * torch.sin(1e4 * (beside + name))
        return torch.stack([-sure / 2, sure / 2], 1).softmax(1)


@pytest.mark.parametrize("strength", [0.7, 0.8, 0.9])
def test_donors_with_the_cue_of_another_class_do_not_hide_it(strength: float) -> None:
    model = Reacts(cue=1.0, beside=0.3, pairs=1.0)
    probes = [Clues(strength, seed=seed) for seed in range(12)]

    full = torch.stack([Clues(1.0, seed=seed).read(Reacts(cue=1.0), LEFT).mean() for seed in range(12)]).mean()
    everyone, typical = (
        torch.stack([probe.read(model, t).nanmean() for probe in probes]).mean() for t in (LEFT, KEEPS)
    )

    assert everyone < (2 * strength - 1) * full * 1.15
    assert 0.65 * full < typical < 1.05 * full


@pytest.mark.parametrize("beside", [0.0, 0.5, 1.0])
def test_a_model_that_reacts_to_what_has_nothing_to_do_with_the_class_is_not_alarming(beside: float) -> None:
    model = Reacts(beside=beside, pairs=0.5)

    effects = [Clues(0.5, seed=seed).read(model) for seed in range(100)]
    means = torch.stack([effect.nanmean() for effect in effects])
    lows = torch.tensor([bca_interval(effect, torch.arange(96) % 2, resamples=200)[0] for effect in effects])

    assert means.mean().abs() < 0.02
    assert ((lows > 0) & (means > MARGIN)).sum() <= 5


def test_where_donors_pull_at_random_effects_stay_as_they_are() -> None:
    """But for one of 44 probes, which lie more than two standard errors above 0."""
    model, n = Reacts(beside=0.5, pairs=0.5), 300

    stay = [torch.equal(probe.read(model), probe.read(model, LEFT)) for probe in (Clues(0.5, seed=i) for i in range(n))]

    assert sum(stay) / n > 0.96


def test_missing_backgrounds_neither_count_as_answers_nor_hide_those_of_other_donors() -> None:
    """Of a model so sure that there are no finite odds."""
    targets, donors = torch.arange(48) % 2, draw_donors(torch.arange(48) % 2, 2, 0)
    grounds = torch.where(torch.arange(48) % 12 < 2, 1 - targets, targets)
    images, masks = scenes(grounds.tolist(), [0.5] * 48)
    masks[5:9] = False

    (effect,) = effects_of(
        [replace(BACKGROUND, swap=replace(BACKGROUND.swap, keeps_object=True))],
        images,
        targets,
        masks,
        donors,
        reads(1, 1, 2),
    ).values()

    speaks = masks.any((1, 2)) & (grounds == targets)
    heard = speaks[donors.same].any(1) & speaks[donors.other].any(1) & masks.any((1, 2))
    assert 36 < heard.sum() < 44
    torch.testing.assert_close(effect[heard], torch.ones(int(heard.sum())))
    assert torch.equal(effect.isnan(), ~masks.any((1, 2)))


def test_donors_are_chosen_only_where_masks_tell_the_cue_from_the_object() -> None:
    model = Reacts(cue=1.0)
    everyone = Clues(0.7).read(model, LEFT)

    assert torch.equal(Clues(0.7).read(model, n_masks=0), everyone)
    assert torch.equal(Clues(0.7).read(model, n_masks=80), everyone)
    assert Clues(0.7).read(model, n_masks=90).nanmean() > 1.5 * everyone.mean()


def test_an_image_without_a_typical_donor_of_a_kind_keeps_the_effect_of_all() -> None:
    probe, model = Clues(0.5), Reacts(cue=2.0)
    marked = (probe.targets == 1) & (torch.arange(96) % 12 == 1)
    probe.images[:, 0, 0, 0] = marked.float()

    typical, everyone = probe.read(model), probe.read(model, LEFT)

    lacks = ~marked[probe.donors.same].any(1) & (probe.targets == 1)
    assert torch.equal(typical[lacks], everyone[lacks])
    assert (typical > 1.5 * everyone).sum() >= 8
    assert (typical >= everyone).all()


# pictures


def test_chosen_images_come_with_their_first_donors() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2)
    donors = Donors(same=torch.tensor([[1, 0], [0, 1], [3, 3], [2, 2]]), other=torch.tensor([[2], [3], [0], [1]]))

    same, other = LEFT.swap.pictures(Material(images, torch.arange(4) // 2, None, donors), torch.tensor([3, 0]), 0)

    assert torch.equal(same, torch.tensor([[[[2.0, 3.0]] * 2], [[[1.0, 0.0]] * 2]]))
    assert torch.equal(other, torch.tensor([[[[1.0, 3.0]] * 2], [[[2.0, 0.0]] * 2]]))


def test_swaps_know_the_masks_of_image_and_donor() -> None:
    images, masks = scenes([0.0, 0.2, 0.8, 1.0], [0.5, 0.6, 0.7, 0.8])
    masks[2, 18:, 18:] = True
    donors = Donors(same=torch.tensor([[1], [0], [3], [2]]), other=torch.tensor([[2], [3], [0], [1]]))

    same, other = BACKGROUND.swap.pictures(Material(images, torch.arange(4) // 2, masks, donors), torch.tensor([2]), 0)

    torch.testing.assert_close(same[0, 0, [1, 12, 22], [1, 12, 22]], torch.tensor([1.0, 0.7, 0.8]))
    torch.testing.assert_close(other[0, 0, [1, 12, 22], [1, 12, 22]], torch.tensor([0.0, 0.7, 0.8]))


# the standard trials


def test_the_standard_trials_are_the_cues_of_the_table() -> None:
    assert tuple(trial.cue for trial in STANDARD) == CUES


def test_only_cues_that_cannot_be_the_objects_own_may_convict() -> None:
    assert {trial.cue: trial.at_most for trial in STANDARD if trial.at_most != "FAIL"} == {
        "contrast": "WARN", "frequency": "WARN", "position": "WARN", "tone": "PASS", "edge": "WARN",
        "scale": "WARN", "orientation": "WARN", "exposure": "WARN",
    }  # fmt: skip


def test_border_and_corner_are_parts_of_the_background() -> None:
    assert {trial.cue: trial.part_of for trial in STANDARD if trial.part_of} == dict.fromkeys(
        ("border", "corner"), "background"
    )


def test_only_the_background_means_nothing_without_masks() -> None:
    assert [trial.cue for trial in STANDARD if trial.swap.needs_masks] == ["background"]

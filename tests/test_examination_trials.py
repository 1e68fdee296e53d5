"""The trials of `examine`, on small models of which it is known what they read."""

import math
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import Normalize

from house import models
from house.bright_and_dark import CORNER, MIDDLE, SIZE, Reader, probe
from lightning_cam import Probe, examine
from lightning_cam.attribution import cams
from lightning_cam.examination import collect_evidence, report_on
from lightning_cam.examination import look as look_at
from lightning_cam.intervention import STANDARD, Donors, DonorSwap, Reliance, Trial, balanced_subset, weigh
from lightning_cam.verdict import judge

CONVICTING = tuple(trial for trial in STANDARD if trial.at_most == "FAIL")
BACKGROUND, BORDER = STANDARD[0], STANDARD[1]


look = partial(examine, layer="conv")  # which a region alone reads; by itself it would not be chosen

# verdicts


def test_a_model_that_reads_the_background_fails() -> None:
    report = look(Reader(CORNER), probe(ground=True))

    verdict = judge(report)

    assert report.learned
    assert verdict.outcome == "FAIL"
    assert "background" in {finding.cue for finding in verdict.findings if finding.outcome == "FAIL"}
    assert report.scalars["reliance/background"] > 0.9
    assert verdict.score > 0.8


def test_a_model_that_reads_the_object_passes_even_where_the_background_would_do() -> None:
    report = look(Reader(MIDDLE), probe(ground=True), trials=[BACKGROUND, BORDER])

    assert report.learned
    assert judge(report).outcome == "PASS"
    assert abs(report.scalars["reliance/background"]) < 0.01


def test_a_model_that_reads_the_object_passes_all_that_could_convict() -> None:
    verdict = judge(look(Reader(MIDDLE), probe(), trials=CONVICTING))

    assert verdict.outcome == "PASS"
    assert len(verdict.measured) == len(CONVICTING)


def test_few_images_do_not_pass() -> None:
    assert judge(look(Reader(MIDDLE), probe(n=16), trials=[BACKGROUND])).outcome == "INCONCLUSIVE"


def test_a_model_that_guesses_is_not_judged() -> None:
    report = look(Reader(CORNER), probe())

    assert not report.learned
    assert judge(report).outcome == "INCONCLUSIVE"


# reports


def test_every_standard_cue_has_effects_reliance_and_scalars() -> None:
    looked_at = probe()

    report = look(Reader(MIDDLE), looked_at)

    cues = [trial.cue for trial in STANDARD]
    assert [trial.cue for trial in report.trials] == cues
    assert list(report.effects) == [reliance.cue for reliance in report.reliances] == cues
    alike = {cue for cue, effect in report.effects.items() if effect.isnan().all()}  # in these the pictures are alike
    assert alike <= {
        "cast",
        "contrast",
        "codec",
        "resolution",
        "patch",
        "style",
        "edge",
        "scale",
        "orientation",
        "exposure",
    }
    assert all(e.shape == (48,) and e.isfinite().sum() in (40, 48) for c, e in report.effects.items() if c not in alike)
    assert repr(report.reliances) == repr(weigh(report.effects, looked_at.targets, looked_at.classes))
    for reliance in report.reliances:
        key = f"reliance/{reliance.cue}"
        scalars = [report.scalars[key + end] for end in ("", "_low", "_high")]
        assert scalars == pytest.approx([reliance.mean, reliance.low, reliance.high], rel=0, abs=0, nan_ok=True)


def test_a_mean_of_too_few_images_for_an_interval_is_no_scalar() -> None:
    report = look(Reader(MIDDLE), probe(n=6), trials=(BORDER,))

    (reliance,) = report.reliances
    assert math.isfinite(reliance.mean)
    assert math.isnan(reliance.low)
    assert all(math.isnan(report.scalars[f"reliance/border{end}"]) for end in ("", "_low", "_high"))


def test_without_trials_nothing_is_swapped() -> None:
    report = look(Reader(MIDDLE), probe(), trials=())

    assert (report.trials, dict(report.effects), report.reliances) == ((), {}, ())
    assert not any("reliance" in key for key in report.scalars)


def test_trials_leave_maps_and_measures_as_they_are() -> None:
    looked_at = probe()

    with_trials, without = look(Reader(MIDDLE), looked_at), look(Reader(MIDDLE), looked_at, trials=())

    assert torch.equal(with_trials.logits, without.logits)
    assert torch.equal(with_trials.grid_maps, without.grid_maps)
    assert all(torch.equal(with_trials.values[name], value) for name, value in without.values.items())
    assert {key: with_trials.scalars[key] for key in without.scalars} == pytest.approx(without.scalars)


@pytest.mark.parametrize("targets", [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1]], ids=["one class", "lone", "first"])
def test_classes_too_small_for_donors_are_looked_at_without_trials(targets: list[int]) -> None:
    looked_at = Probe(probe().images[:4], torch.tensor(targets))

    report = look(Reader(MIDDLE), looked_at)

    assert [trial.cue for trial in report.trials] == [trial.cue for trial in STANDARD]
    assert report.reliances == ()
    assert judge(report).outcome == "INCONCLUSIVE"


@pytest.mark.parametrize(("masked", "outcome"), [(64, "FAIL"), (58, "FAIL"), (57, "WARN"), (0, "WARN")])
def test_what_lies_in_the_border_convicts_only_where_masks_say_it_is_not_the_object(masked: int, outcome: str) -> None:
    ground = probe(n=64, ground=True)
    masks = ground.masks.clone()
    masks[masked:] = False
    with nullcontext() if masked else pytest.warns(UserWarning, match="no picture of the probe has a mask"):
        seen = Probe(ground.images, ground.targets, masks=masks, preprocess=ground.preprocess)

    verdict = judge(look(Reader(CORNER), seen, trials=[BORDER]))

    assert verdict.outcome == outcome
    assert verdict.findings[0].cue == "border"


def test_without_masks_the_background_is_left_out() -> None:
    report = look(Reader(CORNER), probe(ground=True, masks=False), trials=[BACKGROUND, BORDER])

    assert list(report.effects) == ["border"]
    assert "not measured without masks of the objects: background" in judge(report).reason


def test_missing_masks_leave_effects_undefined_and_out_of_the_mean() -> None:
    full = probe(ground=True)
    found = full.masks.clone()
    found[::3] = False
    looked_at = Probe(full.images, full.targets, masks=found)

    report = look(Reader(CORNER), looked_at, trials=[BACKGROUND])

    assert report.effects["background"].isnan()[::3].all()
    assert report.effects["background"].isfinite().any()
    assert report.scalars["reliance/background"] > 0.9


def test_the_same_probe_has_the_same_effects_and_another_has_other_donors() -> None:
    def lent(looked_at: Probe) -> list[Tensor]:
        seen = []

        def spy(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
            seen.append((donors[:, None] == looked_at.images).flatten(2).all(2).int().argmax(1))
            return images

        look(Reader(MIDDLE), looked_at, trials=[Trial("spy", DonorSwap(spy))])
        return seen

    one, again = lent(probe()), lent(probe())
    renamed = lent(Probe(probe().images, probe().targets))

    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, renamed, strict=True))


@pytest.mark.parametrize("n_donors", [1, 3])
def test_every_image_is_edited_twice_per_donor(n_donors: int) -> None:
    calls = []

    def spy(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        calls.append(len(images))
        return images

    look(Reader(MIDDLE), probe(n=8), trials=[Trial("spy", DonorSwap(spy))], n_donors=n_donors)

    assert calls == [8] * 2 * n_donors


# what the model is given


def test_edited_pixels_are_preprocessed_as_the_images_are() -> None:
    normalize = Normalize([0.4] * 3, [0.25] * 3)
    plain, prepared = probe(ground=True), probe(ground=True, preprocess=normalize)
    model = Reader(CORNER, certainty=4.0)

    report = look(model, prepared)

    expected = examine(nn.Sequential(normalize, model), plain, layer="1.conv")
    torch.testing.assert_close(report.logits, expected.logits)
    for cue, effect in expected.effects.items():
        torch.testing.assert_close(report.effects[cue], effect, atol=1e-4, rtol=0, equal_nan=True)


def test_preprocess_is_given_pixels_and_edits_are_too() -> None:
    prepared, edited = [], []

    def preprocess(pixels: Tensor) -> Tensor:
        prepared.append(pixels.clone())
        return 10 * pixels - 100

    def mixed(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        assert torch.equal(images, looked_at.images)
        edited.append((images + donors) / 2)
        return edited[-1]

    looked_at = probe(n=8, preprocess=preprocess)
    look(Reader(MIDDLE), looked_at, trials=[Trial("mixed", DonorSwap(mixed))], n_donors=1)

    assert len(edited) == 2
    assert all(pixels.min() >= 0 and pixels.max() <= 1 for pixels in edited)
    assert all(torch.equal(*pair) for pair in zip(prepared[:3], [looked_at.images, *edited], strict=True))


def test_trials_go_through_the_given_forward() -> None:
    """A model that gives the classes in the other order, put right by ``forward``."""
    model = Reader(CORNER, certainty=-20.0)

    report = look(model, probe(ground=True), trials=[BACKGROUND], forward=lambda net, x: -net(x))

    assert report.learned
    assert report.scalars["reliance/background"] > 0.9


def test_batches_do_not_matter() -> None:
    whole, parts = (look(Reader(CORNER), probe(ground=True), batch_size=n) for n in (48, 7))

    for cue, effect in whole.effects.items():
        torch.testing.assert_close(parts.effects[cue], effect, atol=1e-5, rtol=0, equal_nan=True)


# looking does not change what is looked at


def random_states() -> list[object]:
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]


@pytest.mark.parametrize("training", [True, False])
def test_model_probe_and_random_states_are_as_before(training: bool) -> None:
    model = models.fixed(models.Restless).train(training)
    model.dropout.train(not training)
    targets = torch.arange(8) % 4
    masks = torch.arange(SIZE).expand(8, SIZE, SIZE) < 12
    looked_at = Probe((torch.rand(8, 3, SIZE, SIZE) + masks[:, None]) / 2, targets, masks=masks)
    before = models.fingerprint(model), looked_at.images.clone(), looked_at.masks.clone(), random_states()

    examine(model, looked_at)

    assert models.fingerprint(model) == before[0]
    assert torch.equal(looked_at.images, before[1])
    assert torch.equal(looked_at.masks, before[2])
    assert random_states() == before[3]


def test_evidence_leaves_the_model_as_it_was() -> None:
    model = models.fixed(models.Restless).train()
    looked_at = Probe(torch.rand(8, 3, SIZE, SIZE), torch.arange(8) % 4)
    report = examine(model, looked_at, trials=[BORDER])
    before = models.fingerprint(model), random_states()

    collect_evidence(model, looked_at, report, "border")

    assert (models.fingerprint(model), random_states()) == before


def test_models_in_training_are_read_as_in_evaluation() -> None:
    model = models.fixed(models.Net).train()
    looked_at = Probe(torch.rand(8, 3, SIZE, SIZE), torch.arange(8) % 4)
    modes = []

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        modes.append({module.training for module in net.modules()})
        return net(x)

    report = examine(model, looked_at, trials=[BORDER], forward=forward)
    collect_evidence(model, looked_at, report, "border", forward=forward)

    # The head, the layer, the maps; the only donor of the own class, two others; context; evidence of two donors.
    assert modes == [{False}] * (1 + 2 + 3 + 2 + 2)
    assert model.training


def test_an_edit_that_fails_leaves_the_model_as_it_was() -> None:
    def fails(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        raise RuntimeError("no such edit")

    model = models.fixed(models.Restless).train()
    looked_at = Probe(torch.rand(4, 3, SIZE, SIZE), torch.arange(4) % 2)
    before = models.fingerprint(model), random_states()

    with pytest.raises(RuntimeError, match="no such edit"):
        examine(model, looked_at, trials=[Trial("fails", DonorSwap(fails))])

    assert (models.fingerprint(model), random_states()) == before


# evidence


def evidence_for(looked_at: Probe, trials: Sequence[Trial] = (BACKGROUND, BORDER), **options: object) -> tuple:
    model = Reader(CORNER, certainty=4.0)
    report = look(model, looked_at, trials=trials, n_donors=1)
    return model, report, collect_evidence(model, looked_at, report, trials[0].cue, **options)


def test_evidence_has_the_images_that_lost_most() -> None:
    _, report, evidence = evidence_for(probe(ground=True), n=5)

    effects = report.effects["background"]
    assert evidence.cue == "background"
    assert evidence.chosen.shape == (5,)
    assert effects[evidence.chosen].min() >= effects.sort(descending=True).values[4]
    assert effects[evidence.chosen].tolist() == sorted(effects.tolist(), reverse=True)[:5]


def test_evidence_shows_each_image_as_it_is_and_after_either_swap() -> None:
    looked_at = probe(ground=True)

    _, _, evidence = evidence_for(looked_at)

    assert evidence.images.shape == (4, 3, 3, SIZE, SIZE)
    assert torch.equal(evidence.images[:, 0], looked_at.images[evidence.chosen])
    corner = evidence.images[:, :, :, :6, :6].mean((2, 3, 4)) > 0.5
    own = looked_at.targets[evidence.chosen] == 1
    assert torch.equal(corner, torch.stack([own, own, ~own], 1))


@pytest.mark.parametrize("preprocess", [None, Normalize([0.4] * 3, [0.25] * 3)], ids=["plain", "normalized"])
def test_evidence_has_the_models_own_probabilities(preprocess: Callable[[Tensor], Tensor] | None) -> None:
    looked_at = probe(ground=True, preprocess=preprocess)

    model, _, evidence = evidence_for(looked_at)

    for shown, said, index in zip(evidence.images, evidence.probabilities, evidence.chosen, strict=True):
        with torch.no_grad():
            expected = model(looked_at.prepare(shown)).softmax(1)[:, looked_at.targets[index]]
        torch.testing.assert_close(said, expected)


def test_evidence_shows_the_swaps_that_were_measured() -> None:
    """With two classes and one donor either way, the effect is the difference of the two arms."""
    _, report, evidence = evidence_for(probe(ground=True))

    differences = evidence.probabilities[:, 1] - evidence.probabilities[:, 2]
    torch.testing.assert_close(differences, report.effects["background"][evidence.chosen], atol=1e-5, rtol=0)


def test_evidence_shows_the_donors_that_carry_the_cue_of_their_class() -> None:
    """Every third picture has the other background: where it is the first donor, the second shows what counts."""
    usual, odd = probe(ground=True), torch.arange(48) % 6 < 2
    images = torch.where(odd[:, None, None, None], usual.images.roll(1, 0), usual.images)
    looked_at = Probe(images, usual.targets, masks=usual.masks)
    model = Reader(CORNER, certainty=4.0)
    report = look(model, looked_at, trials=[BACKGROUND])

    firsts = replace(report, donors=Donors(report.donors.same[:, :1], report.donors.other[:, :1]))
    first, best = (collect_evidence(model, looked_at, each, "background", n=24) for each in (firsts, report))

    assert torch.equal(first.chosen, best.chosen)
    lost, most = (seen.probabilities[:, 1] - seen.probabilities[:, 2] for seen in (first, best))
    assert (most >= lost).all()
    assert (lost < 0.5).sum() >= 4
    assert (most > 0.5).all()


def test_evidence_goes_through_the_given_forward() -> None:
    model, looked_at = Reader(CORNER, certainty=-4.0), probe(ground=True)

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return -net(x)

    report = look(model, looked_at, trials=[BORDER], n_donors=1, forward=forward)
    evidence = collect_evidence(model, looked_at, report, "border", forward=forward)

    differences = evidence.probabilities[:, 1] - evidence.probabilities[:, 2]
    torch.testing.assert_close(differences, report.effects["border"][evidence.chosen], atol=1e-5, rtol=0)


def test_evidence_is_at_most_the_whole_probe() -> None:
    assert len(evidence_for(probe(n=6, ground=True), n=10)[2].chosen) == 6


def test_evidence_has_no_images_without_an_effect() -> None:
    full = probe(ground=True, n=8)
    found = full.masks.clone()
    found[0] = False  # which is a donor of two others at most

    _, report, evidence = evidence_for(Probe(full.images, full.targets, masks=found), n=8)

    assert 5 <= len(evidence.chosen) < 8
    assert report.effects["background"][evidence.chosen].isfinite().all()
    assert not math.isnan(float(evidence.probabilities.sum()))


def test_the_batch_size_reaches_the_maps_too() -> None:
    sizes: list[int] = []

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return net(x)

    look(Reader(MIDDLE), probe(n=34), trials=(), forward=forward, batch_size=128)

    assert sizes[-1] == 34  # before it, the class scores are looked for


def test_the_report_has_the_donors_that_were_used() -> None:
    report = look(Reader(MIDDLE), probe(n=8), trials=("border",), n_donors=3)

    assert report.donors.same.shape == report.donors.other.shape == (8, 3)
    assert look(Reader(MIDDLE), probe(n=8), trials=()).donors is None


def test_trials_by_name_are_the_standard_ones() -> None:
    assert look(Reader(MIDDLE), probe(n=8), trials=("border", "position")).effects.keys() == {"border", "position"}

    with pytest.raises(ValueError, match=r"names out of \['background', .*got \('backgruond',\)"):
        examine(Reader(MIDDLE), probe(n=8), trials=("backgruond",))
    with pytest.raises(ValueError, match="trials must be a list"):
        examine(Reader(MIDDLE), probe(n=8), trials="cast")


def test_records_print_in_a_line() -> None:
    report = look(Reader(MIDDLE), probe(n=8), trials=("border",))

    assert repr(report) == "Report(8 images, layer 'conv', grad_cam; border swapped)"
    assert repr(report.trials) == "(Trial('border', DonorSwap, at most FAIL),)"
    assert repr(report.donors) == "Donors(2 of the own and of another class for each of 8 images)"
    assert repr(Reliance("cast", 0.5, 0.41, 0.58, 3e-4, {}, 40)) == "Reliance('cast', 0.50 [0.41, 0.58], p=0.0003)"


def test_an_edit_alone_is_no_swap() -> None:
    with pytest.raises(TypeError, match=r"needs a DonorSwap\(edit\) or a LevelSwap\(levels_of\), got function"):
        Trial("own", lambda *_: None)


def test_images_that_are_not_tried_say_nothing_and_the_others_the_same() -> None:
    """A short training swaps cues on some of the images only."""
    images, trials = probe(ground=True), (STANDARD[7], STANDARD[9])
    tried = balanced_subset(images.targets, 16)

    def effects_of(some: Tensor | None) -> dict[str, Tensor]:
        options = {"layer": "conv", "method": cams.grad_cam, "n_donors": 2, "forward": None, "batch_size": 32}
        everything = torch.arange(len(images))
        return dict(
            report_on(
                look_at(Reader(CORNER), images, everything, trials, tried=some, **options), images, trials=trials
            ).effects
        )

    few, everyone = effects_of(tried), effects_of(None)

    assert images.targets[tried].bincount().tolist() == [8, 8]
    for cue, effects in few.items():
        assert torch.equal(effects.isfinite().nonzero()[:, 0], tried), cue
        torch.testing.assert_close(effects[tried], everyone[cue][tried], rtol=0, atol=1e-5)

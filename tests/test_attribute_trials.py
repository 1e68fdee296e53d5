"""Trials by an attribute: the class stays, and the background comes from a picture with another value."""

import json
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_cam import Probe, Report, Verdict, examine, judge
from lightning_cam.cues import attribute_of, cue_named
from lightning_cam.examination import collect_evidence
from lightning_cam.intervention import DonorSwap, GroupSwap, Material, edits, weigh
from lightning_cam.intervention.groups import comparable, donors_within
from lightning_cam.sinks.consistency import contradiction_in
from lightning_cam.sinks.pages import evidence_picture
from lightning_cam.sinks.reading_back import verdict_of
from lightning_cam.sinks.wording import closing, lines, markdown

BY_SITE = "background by site"
N = 96
SITE = 150.0  # of the stripes in the score: enough to turn answers, and not all of them


def pictures(agreement: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A pale square, redder in class 1, before stripes that lie as the site says; images, classes, sites, masks."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(N) % 2
    sites = torch.where(torch.rand(N, generator=generator) < agreement, targets, 1 - targets)
    stripes = 0.12 * torch.sin(1.5 * torch.arange(32.0)).expand(32, 32)
    images = 0.5 + 0.15 * (torch.rand(N, 3, 32, 32, generator=generator) - 0.5)
    images += torch.where(sites[:, None, None, None] == 1, stripes, stripes.T)
    masks = torch.zeros(N, 32, 32, dtype=torch.bool)
    for i, (y, x) in enumerate(torch.randint(4, 16, (N, 2), generator=generator).tolist()):
        masks[i, y : y + 12, x : x + 12] = True
    colours = torch.tensor([[0.58, 0.5, 0.54], [0.62, 0.5, 0.5]])[targets, :, None, None]
    objects = colours + 0.25 * (torch.rand(N, 3, 32, 32, generator=generator) - 0.5)
    return torch.where(masks[:, None], objects, images), targets, sites, masks


def probe_of(agreement: float = 0.5, *, has_masks: bool = True, seed: int = 7, attributes: Any = None) -> Probe:
    images, targets, sites, masks = pictures(agreement, seed)
    known = {"site": ["north", "south"]} if attributes is None else {}
    values = {name: [words[site] for site in sites.tolist()] for name, words in known.items()}
    return Probe(images, targets, masks=masks if has_masks else None, attributes=values, classes=["pale", "red"])


class Seeing(nn.Module):
    """Scores of class 1: how red the picture is and, so far as ``weight`` says, how it changes along a row."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        kernels = torch.zeros(3, 3, 3, 3)
        kernels[0, 0, 1, 1], kernels[0, 2, 1, 1] = 1.0, -1.0
        kernels[1, 1, 1, :2] = torch.tensor([-1.0, 1.0])
        kernels[2, 1, :2, 1] = torch.tensor([-1.0, 1.0])
        self.features.weight.data = kernels
        self.weight = weight

    def forward(self, images: Tensor) -> Tensor:
        red, along, down = self.features(images).unbind(1)
        stripes = (along.square() - down.square()).mean((1, 2))
        odds = 400 * (red.mean((1, 2)) - 0.0112) + self.weight * stripes
        return torch.stack([-odds / 2, odds / 2], 1)


def seen(weight: float, probe: Probe, **options: Any) -> Report:
    return examine(Seeing(weight), probe, layer="features", **{"trials": ("background", "border"), **options})


@pytest.fixture(scope="module")
def relying() -> Report:
    """Of a probe in which sites and classes do not go together."""
    return seen(SITE, probe_of())


def test_a_model_that_goes_by_the_site_fails_where_other_classes_backgrounds_show_nothing(relying: Report) -> None:
    verdict = judge(relying)

    by_cue = {each.cue: each for each in relying.reliances}
    assert by_cue["background"].is_settled
    assert (verdict.outcome, verdict.findings[0].cue) == ("FAIL", BY_SITE)
    assert by_cue[BY_SITE].n == N
    assert by_cue[BY_SITE].mean > 0.2
    assert BY_SITE in verdict.tested


@pytest.mark.parametrize("agreement", [0.5, 0.85])
def test_a_model_that_goes_by_the_object_passes(agreement: float) -> None:
    verdict = judge(seen(0, probe_of(agreement)))

    assert (verdict.outcome, verdict.findings) == ("PASS", ())
    assert BY_SITE in verdict.tested


def test_where_sites_and_classes_go_together_the_site_is_the_cause_of_the_background() -> None:
    verdict = judge(seen(SITE, probe_of(0.85)))

    assert verdict.causes[BY_SITE][:1] == ("background",)
    assert "as many training pictures with every value of 'site'" in verdict.findings[0].remedy.what
    assert "RandomBackground" in verdict.findings[0].remedy.code


def test_without_masks_the_border_is_swapped_and_no_more_than_warns() -> None:
    report = seen(SITE, probe_of(has_masks=False))

    assert {trial.cue: trial.at_most for trial in report.trials}["border by site"] == "WARN"
    assert "border by site" in judge(report).tested
    assert "balanced_sampler" in cue_named("border by site").remedy.code
    assert "rule out that the model relies on border by site; many" in judge(report).reason  # not: swapped on too few


def test_swaps_by_an_attribute_draw_nothing_from_the_global_generator() -> None:
    model, probe, before = Seeing(SITE), probe_of(), torch.get_rng_state()

    examine(model, probe, layer="features", trials=("background",))

    assert torch.equal(torch.get_rng_state(), before)


def test_without_attributes_nothing_more_is_swapped() -> None:
    plain = seen(SITE, probe_of(attributes={}))

    assert [trial.cue for trial in plain.trials] == ["background", "border"]
    assert not [key for key in plain.scalars if " by " in key]


def test_a_list_of_trials_without_the_background_has_none_by_attribute() -> None:
    assert [trial.cue for trial in seen(0, probe_of(), trials=("tone",)).trials] == ["tone"]


@pytest.mark.parametrize("expected", [BY_SITE, "background", "attribute site"])
def test_who_expects_the_attribute_or_the_background_expects_it_by_the_attribute(
    relying: Report, expected: str
) -> None:
    assert judge(relying, [expected]).outcome != "FAIL"


# words and pictures


def test_the_finding_says_what_was_swapped_and_what_stayed(relying: Report) -> None:
    finding = judge(relying).findings[0]

    assert finding.text.startswith(
        "background by site: with the background of another 'site' but of the same class, the model is right on "
    )
    assert (finding.accuracy_own, finding.accuracy_other < 0.9) == (1.0, True)
    assert relying.scalars["reliance/background by site"] == finding.reliance


def test_it_is_kept_read_back_and_put_in_words(relying: Report) -> None:
    verdict = judge(relying)

    kept = verdict_of(json.loads(json.dumps(verdict.as_json(), allow_nan=False)))

    assert kept.findings == verdict.findings
    assert contradiction_in(kept) is None
    for text in ("\n".join(closing(kept)), "\n".join(lines(kept)), markdown(kept)):
        assert "background by site" in text


def test_the_evidence_shows_a_picture_that_loses_from_its_own_site_to_another(relying: Report) -> None:
    probe = relying.probe
    assert probe is not None

    shown = collect_evidence(Seeing(SITE), probe, relying, BY_SITE)

    assert (shown.probabilities[:, 1] - shown.probabilities[:, 2]).min() > 0.3
    assert evidence_picture(probe, shown).ndim == 3


def test_a_group_that_is_answered_worse_is_seen_through_the_same_cause() -> None:
    verdict = judge(seen(4 * SITE, probe_of(0.85)))

    observed = {each.cue: each for each in verdict.findings}["attribute site"]
    assert observed.cause == BY_SITE
    assert observed.remedy == verdict.findings[0].remedy
    assert verdict.reason.endswith("; a group of pictures is answered worse, likely for the same cause")


def test_names_of_cues_by_attribute_are_told_from_others() -> None:
    assert [attribute_of(name) for name in (BY_SITE, "border by x by y", "a by b", "by", "style")] == [
        "site",
        "x by y",
        "",
        "",
        "",
    ]
    assert cue_named("a by b").other == ""


# donors


def test_donors_have_the_class_and_the_same_or_another_value() -> None:
    targets = torch.arange(60) % 3
    values = (torch.arange(60) // 3) % 2 + 3 * (torch.arange(60) % 7 == 0)

    donors = donors_within(targets, values, 2)

    usable = comparable(targets, values)
    assert usable.sum() > 40
    assert (targets[donors.all[usable]] == targets[usable, None]).all()
    assert (values[donors.same[usable]] == values[usable, None]).all()
    assert (values[donors.other[usable]] != values[usable, None]).all()
    assert (donors.same[usable] != usable.nonzero()).all()
    assert (donors.all[~usable] == (~usable).nonzero()).all()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param({(0, 0): 4, (0, 1): 4, (1, 0): 4, (1, 1): 4}, 16, id="all"),
        pytest.param({(0, 0): 9, (0, 1): 3, (1, 0): 4, (1, 1): 4}, 0, id="three of one value"),
        pytest.param({(0, 0): 9, (1, 1): 9}, 0, id="each class its own value"),
        pytest.param({(0, 0): 9, (0, 1): 9, (1, 1): 9}, 0, id="one class with two values"),
        pytest.param({(0, 0): 4, (0, 1): 4, (1, 0): 4, (1, 1): 4, (1, 2): 9, (2, 2): 9}, 16, id="a third class"),
        pytest.param({(0, -1): 9, (1, -1): 9}, 0, id="none known"),
        pytest.param({(0, 0): 1}, 0, id="one picture"),
    ],
)
def test_groups_count_that_have_donors_and_another_class_to_compare(
    counts: dict[tuple[int, int], int], expected: int
) -> None:
    rows = torch.tensor([group for group, n in counts.items() for _ in range(n)])

    assert int(comparable(rows[:, 0], rows[:, 1]).sum()) == expected


def test_what_cannot_be_told_from_the_class_is_untested_and_says_what_to_collect() -> None:
    probe = probe_of(1.0)

    verdict = judge(seen(SITE, probe))

    assert BY_SITE in verdict.untested
    assert (
        "'site' cannot be told from the class in the probe: that takes two classes, each with 4"
        in verdict.why_untested[BY_SITE]
    )
    assert "collect such pictures" in verdict.why_untested[BY_SITE]
    assert "not measured without masks" not in verdict.reason


def test_what_cannot_be_told_from_the_class_takes_no_pass_away() -> None:
    verdict = judge(seen(0, probe_of(1.0)))

    assert verdict.outcome == "PASS"
    assert BY_SITE in verdict.reason


# effects, by hand


def effects_of(gains: dict[tuple[int, int], float], *, odd: float = 0.0) -> Tensor:
    """Effects where a donor's value raises the probability of the class from 0.5 by as much.

    The first image loses ``odd`` of it with its own value, and no other image does.
    """
    targets, values = torch.arange(32) % 2, torch.arange(32) // 2 % 2
    donors = donors_within(targets, values, 2)
    lent = zip(
        targets[:, None].expand_as(donors.all).flatten().tolist(), values[donors.all].flatten().tolist(), strict=True
    )
    probabilities = torch.tensor([0.5 + gains[pair] for pair in lent]).reshape(donors.all.shape)
    probabilities[0, :2] -= odd
    answers = torch.stack([probabilities, (probabilities >= 0.5).float()], 2)
    material = Material(torch.zeros(32, 1, 2, 2), targets, None, donors, {"site": values})
    return GroupSwap("site", DonorSwap(edits.swap_border)).effects(answers, material)


def test_an_images_own_answers_do_not_choose_the_direction_of_its_loss() -> None:
    effects = effects_of(dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 0.0), odd=0.4)

    assert effects[0, 0] < -0.3


def test_the_loss_is_counted_from_the_value_that_suits_the_class_to_the_one_that_does_not() -> None:
    effects = effects_of({(0, 0): 0.3, (0, 1): -0.1, (1, 0): -0.1, (1, 1): 0.3})

    torch.testing.assert_close(effects[:, 0], torch.full((32,), 0.4))
    torch.testing.assert_close(effects[:, 1:3], torch.ones(32, 2))
    assert effects[:, 4].tolist() == [float(i % 2 == i // 2 % 2) for i in range(32)]


def test_a_value_before_which_every_class_is_harder_to_see_is_no_reliance() -> None:
    effects = effects_of({(0, 0): 0.3, (0, 1): -0.1, (1, 0): 0.3, (1, 1): -0.1})

    torch.testing.assert_close(effects[:, :2], torch.zeros(32, 2), atol=1e-6, rtol=0)


def test_a_model_that_never_changes_its_answer_has_effects_of_nothing() -> None:
    effects = effects_of(dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 0.5))

    assert effects[:, :2].eq(0).all()
    assert effects[:, 2].eq(1).all()


# a real training


def trained(agreement: float) -> nn.Module:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))
    parts = [pictures(agreement, seed) for seed in (0, 1, 2)]
    images, targets = (torch.cat(each) for each in list(zip(*parts, strict=True))[:2])
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    for _ in range(12):
        for rows in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(images[rows]), targets[rows]).backward()
            optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return {"relying": trained(0.95), "clean": trained(0.5)}


def verdict_on(network: nn.Module, agreement: float) -> Verdict:
    return judge(examine(network, probe_of(agreement), trials=("background", "border")))


@pytest.mark.slow
@pytest.mark.parametrize("agreement", [0.5, 0.85])
def test_a_network_that_was_trained_where_the_site_gives_the_class_away_is_found(
    networks: dict[str, nn.Module], agreement: float
) -> None:
    relying, clean = (verdict_on(networks[name], agreement) for name in ("relying", "clean"))

    assert relying.outcome in ("FAIL", "WARN")
    assert relying.findings[0].cue == BY_SITE
    assert clean.outcome == "PASS"
    assert BY_SITE in clean.tested


@pytest.mark.slow
def test_of_chance_it_finds_nothing_however_much_single_backgrounds_matter() -> None:
    """100 probes of 64 images; each background moves the odds of either class by 1 (sd), and one site is harder."""
    n_found = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        targets, values = torch.arange(64) % 2, torch.randint(0, 2, (64,), generator=generator)
        donors = donors_within(targets, values, 2)
        quirks = torch.randn(2, 64, generator=generator)
        odds = 2.5 + 1.5 * torch.randn(64, 1, generator=generator) - 1.5 * values[donors.all]
        odds = odds + quirks[targets[:, None], donors.all]
        answers = torch.stack([odds.sigmoid(), (odds > 0).float()], 2)
        answers[donors.all == torch.arange(64)[:, None]] = math.nan
        material = Material(torch.zeros(64, 1, 2, 2), targets, None, donors, {"site": values})
        effects = GroupSwap("site", DonorSwap(edits.swap_border)).effects(answers, material)
        n_found += weigh({"c": effects}, targets, ["a", "b"])[0].convicting_p < 0.05

    assert n_found <= 2

"""Attributes that a user knows: where they come from, what a probe keeps, and what a group of pictures loses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset
from torchvision.utils import save_image

from house.reports import report
from lightning_cam import Probe, Report, Verdict, audit_dataset, cli, judge
from lightning_cam.attributes import AttributeReading, association, corrected, read_attribute
from lightning_cam.examination import examine
from lightning_cam.intervention import Reliance
from lightning_cam.sinks import alone
from lightning_cam.sinks.consistency import contradiction_in
from lightning_cam.sinks.page_words import verdict_entry
from lightning_cam.sinks.reading_back import verdict_of
from lightning_cam.sinks.report_page import LATER, RunPage
from lightning_cam.sinks.wording import closing, lines, markdown
from lightning_cam.text import percent

# where values come from


class Titled(NamedTuple):
    image: Tensor
    target: int
    site: str | None


class Items(Dataset[Any]):
    """A picture, a class, and the site: every fourth one is not known."""

    targets = tuple(i % 2 for i in range(12))

    def __init__(self, form: str) -> None:
        self.form = form

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        image, site = torch.full((3, 8, 8), index / 12), None if index % 4 == 3 else f"site {index % 3}"
        if self.form == "dict":
            return {"image": image, "label": index % 2, "site": site}
        return Titled(image, index % 2, site) if self.form == "named" else (image, index % 2, site)


def expected_site(probe: Probe, n: int = 12) -> tuple[str, ...]:
    indices = [round(float(image.mean()) * 12) for image in probe.images]
    return tuple("" if i % 4 == 3 else f"site {i % 3}" for i in indices)


LISTED = [None if i % 4 == 3 else f"site {i % 3}" for i in range(12)]


@pytest.mark.parametrize(
    ("form", "source"),
    [
        pytest.param("dict", "site", id="key"),
        pytest.param("named", "site", id="field"),
        pytest.param("tuple", 2, id="position"),
        pytest.param("tuple", lambda item: item[2], id="function"),
        pytest.param("tuple", LISTED, id="list"),
        pytest.param("tuple", np.array(LISTED, object), id="array"),
    ],
)
def test_a_value_comes_with_its_picture(form: str, source: Any) -> None:
    probe = Probe.from_dataset(Items(form), 8, find_masks=False, attributes={"site": source})

    assert probe.attributes == {"site": expected_site(probe)}


def test_of_a_part_values_are_listed_by_its_own_index() -> None:
    part = Subset(Items("tuple"), range(4, 12))

    probe = Probe.from_dataset(part, 6, find_masks=False, attributes={"site": LISTED[4:]})

    assert probe.attributes["site"] == expected_site(probe)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        pytest.param({"site": [1, 2]}, "value for each of 12 pictures, got 2", id="too few"),
        pytest.param({"site": 3.0}, "value for each of 12 pictures, got float", id="no values"),
        pytest.param({"site": "place"}, "no such field", id="no key"),
        pytest.param({"": [1] * 12}, "must have a name", id="no name"),
        pytest.param(["site"], "must be like", id="no names"),
    ],
)
def test_what_is_no_attribute_is_refused_in_a_sentence(attributes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probe.from_dataset(Items("dict"), 8, find_masks=False, attributes=attributes)


def made(site: Any = ("a", "b", None, "b")) -> Probe:
    return Probe(torch.rand(4, 3, 6, 6), torch.tensor([0, 0, 1, 1]), attributes={"site": site})


@pytest.mark.parametrize("site", ["abcd", lambda item: 1, "key"])
def test_a_probe_of_tensors_takes_values_alone(site: Any) -> None:
    with pytest.raises(ValueError, match="a value for each of 4 images"):
        made(site)


# what a probe keeps


def test_attributes_are_saved_and_selected_with_their_pictures(tmp_path: Path) -> None:
    probe = made()

    probe.save(tmp_path)

    kept = Probe.load(tmp_path)
    assert kept.attributes == {"site": ("a", "b", "", "b")}
    assert kept.fingerprint == probe.fingerprint
    assert kept.select([3, 0]).attributes == {"site": ("b", "a")}
    assert "attributes: site" in repr(kept)


def test_a_fingerprint_counts_attributes_and_is_as_before_without_any() -> None:
    images, targets = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
    plain, one, other = (Probe(images, targets, attributes=each) for each in (None, {"s": [1, 2]}, {"s": [2, 1]}))

    assert len({plain.fingerprint, one.fingerprint, other.fingerprint}) == 3
    assert plain.fingerprint == Probe(images, targets, attributes={}).fingerprint


def test_a_manifest_with_a_wrong_number_of_values_is_refused(tmp_path: Path) -> None:
    made().save(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"a",', "", 1))

    with pytest.raises(ValueError, match="changed"):
        Probe.load(tmp_path)


# groups


def read(counts: dict[tuple[int, str], tuple[int, int]]) -> AttributeReading:
    """A reading of groups, each with its right answers and its pictures."""
    rows = [(y, a, i < right) for (y, a), (right, n) in counts.items() for i in range(n)]
    labels, values, is_right = zip(*rows, strict=True) if rows else ((), (), ())
    return read_attribute("place", values, labels, is_right, ["land", "water"])


WATERBIRDS = {(0, "land"): (120, 122), (0, "sea"): (2, 6), (1, "land"): (3, 7), (1, "sea"): (119, 121)}


def test_a_group_that_hangs_on_its_value_is_found_and_named() -> None:
    reading = read(WATERBIRDS)

    assert reading.loss is not None
    assert reading.worst is not None
    assert (reading.worst.class_name, reading.worst.value, reading.worst.n) == ("land", "sea", 6)
    assert (reading.loss.group.accuracy, reading.loss.accuracy_own) == (2 / 6, 120 / 122)
    assert reading.loss.elsewhere == pytest.approx(3 / 7 - 119 / 121)
    assert reading.loss.p_value < 0.05
    assert 0 < reading.loss.low < reading.loss.lost < reading.loss.high <= 1
    assert (reading.association > 0.8, reading.association_p) == (True, 0.001)


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param({(y, a): (57, 60) for y in (0, 1) for a in ("land", "sea")}, id="all alike"),
        pytest.param({(y, a): (57 if a == "sea" else 30, 60) for y in (0, 1) for a in ("land", "sea")}, id="harder"),
        pytest.param({**WATERBIRDS, (0, "sea"): (1, 3), (1, "land"): (1, 3)}, id="few pictures"),
    ],
)
def test_a_value_that_costs_all_classes_alike_or_few_pictures_are_no_finding(counts: Any) -> None:
    loss = read(counts).loss

    assert loss is None or loss.p_value > 0.05


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param({}, id="nothing"),
        pytest.param({(0, "land"): (1, 1)}, id="one picture"),
        pytest.param({(0, ""): (4, 9), (1, ""): (4, 9)}, id="no value known"),
        pytest.param({(0, "land"): (9, 9), (0, "sea"): (0, 9)}, id="one class"),
        pytest.param({(0, "land"): (9, 9), (1, "land"): (0, 9)}, id="one value"),
        pytest.param({(0, "land"): (9, 9), (1, "sea"): (0, 9)}, id="no value in two classes"),
    ],
)
def test_without_groups_to_compare_there_is_no_loss(counts: Any) -> None:
    assert read(counts).loss is None


def test_the_bound_of_a_loss_is_zous_and_donners() -> None:
    """By hand: Wilson's interval of 9 of 10 is 0.596 to 0.982, that of 4 of 10 is 0.168 to 0.687 (Newcombe 1998)."""
    loss = read({(0, "a"): (9, 10), (0, "b"): (4, 10), (1, "a"): (0, 2000), (1, "b"): (0, 2000)}).loss

    assert loss is not None
    assert loss.low == pytest.approx(0.5 - np.hypot(0.9 - 0.5958, 0.6873 - 0.4), abs=1e-3)
    assert loss.high == pytest.approx(0.5 + np.hypot(0.9821 - 0.9, 0.4 - 0.1682), abs=1e-3)


def test_p_values_are_corrected_for_groups_and_attributes() -> None:
    one, other = read(WATERBIRDS), read({**WATERBIRDS, (0, "bog"): (6, 6), (1, "bog"): (6, 6)})

    assert corrected([one]) == {"place": one.loss and one.loss.p_value}
    assert other.loss is not None
    assert one.loss is not None
    assert other.loss.p_value == pytest.approx(one.loss.p_value * 6 / 4, rel=0.5)
    assert corrected([one, AttributeReading("x", (), 0, 1, one.loss)])["x"] == 2 * one.loss.p_value


@pytest.mark.slow
def test_false_alarms_and_chance_associations_are_as_rare_as_they_say() -> None:
    rng, n_found, n_associated = np.random.default_rng(0), 0, 0
    for _ in range(400):
        labels = np.arange(128) % 2
        values = np.where(rng.random(128) < 0.1, labels, rng.random(128) < 0.2)
        is_right = rng.random(128) < np.where(values == 1, 0.7, 0.9)  # a harder site, for both classes
        reading = read_attribute("site", values.astype(str).tolist(), labels.tolist(), is_right.tolist(), "ab")
        n_found += reading.loss is not None and reading.loss.p_value < 0.05
        shuffled = rng.permutation(values).astype(str).tolist()
        n_associated += read_attribute("site", shuffled, labels.tolist(), is_right.tolist(), "ab").association_p < 0.05

    assert n_found <= 20
    assert 6 <= n_associated <= 36  # 20 are expected; of a discrete test somewhat fewer


def test_association_is_one_where_each_tells_the_other_and_nan_where_there_is_one_value() -> None:
    assert association(np.array([[30, 0, 0], [0, 30, 0], [0, 0, 30]]))[0] == pytest.approx(1)
    assert association(np.array([[15, 15], [15, 15]])) == (0.0, 1.0)
    assert np.isnan(association(np.array([[3, 4]]))).all()


# the verdict


def reliance(mean: float = 0.0) -> Reliance:
    return Reliance("border", mean, mean - 0.05, mean + 0.05, 1e-9 if mean else 1.0, {}, 8)


def judged(
    reading: AttributeReading, *swapped: Reliance, learned: bool = True, expected: tuple[str, ...] = ()
) -> Verdict:
    return judge(replace(report(*swapped, learned=learned), attributes=(reading,)), expected)


@pytest.mark.parametrize(
    ("swapped", "outcome", "cues"),
    [
        pytest.param([], "WARN", ["attribute place"], id="nothing swapped"),
        pytest.param([reliance()], "WARN", ["attribute place"], id="no other cue"),
        pytest.param([reliance(0.6)], "FAIL", ["border", "attribute place"], id="another cue"),
    ],
)
def test_a_group_that_loses_warns_names_the_attribute_and_never_fails(
    swapped: list[Reliance], outcome: str, cues: list[str]
) -> None:
    verdict = judged(read(WATERBIRDS), *swapped)

    assert (verdict.outcome, [finding.cue for finding in verdict.findings]) == (outcome, cues)
    finding = verdict.findings[-1]
    assert (finding.outcome, finding.classes) == ("WARN", ("land",))
    assert "33 % of the 6 pictures with place 'sea', and on 98 % of the others" in finding.text
    assert "refit_head(model, dataset, values)" in finding.remedy.code
    assert "'place'" in verdict.reason


def test_what_is_expected_or_unproven_leaves_the_verdict_as_it_is() -> None:
    harmless = read({(y, a): (57, 60) for y in (0, 1) for a in ("land", "sea")})

    assert judged(harmless, reliance()).outcome == "PASS"
    assert judged(read(WATERBIRDS), reliance(), expected=("attribute place",)).outcome == "PASS"


@pytest.mark.parametrize(
    "counts",
    [{(0, "land"): (40, 40), (1, "sea"): (40, 40)}, {(0, "land"): (40, 40), (1, "land"): (40, 40)}],
    ids=["each class has its own value", "one value"],
)
def test_an_attribute_that_cannot_be_tested_is_said(counts: dict[tuple[int, str], tuple[int, int]]) -> None:
    assert "; not tested: what goes with 'place', since no class has" in judged(read(counts), reliance()).reason
    assert "no class has" not in judged(read({**WATERBIRDS, (0, "sea"): (6, 6)}), reliance()).reason


def test_a_model_that_knows_the_value_alone_warns_though_it_is_right_by_chance() -> None:
    groups = {(y, a): (40 * ((y == 1) == (a == "sea")), 40) for y in (0, 1) for a in ("land", "sea")}
    constant = {(y, a): (40 * (y == 1), 40) for y in (0, 1) for a in ("land", "sea")}

    assert judged(read(groups), reliance(), learned=False).outcome == "WARN"
    assert judged(read(constant), reliance(), learned=False).outcome == "INCONCLUSIVE"


@pytest.mark.parametrize("counts", [WATERBIRDS, {}, {(0, "a"): (1, 1)}], ids=["groups", "none", "one picture"])
def test_a_verdict_with_groups_is_kept_read_back_and_put_in_words(counts: Any) -> None:
    verdict = judged(read(counts), reliance())

    kept = verdict_of(json.loads(json.dumps(verdict.as_json(), allow_nan=False)))

    assert repr(kept.attributes) == repr(verdict.attributes)
    assert contradiction_in(kept) is None
    words = ["\n".join(closing(kept)), "\n".join(lines(kept)), markdown(kept)]
    assert all("place: " in text for text in words)
    (entry,) = verdict_entry(kept)["attributes"] or [{"rows": []}]
    assert [row["right"] for row in entry["rows"]] == [percent(group.accuracy) for group in kept.attributes[0].groups]


def test_a_page_promises_no_pictures_of_what_was_not_edited() -> None:
    pages = [RunPage(verdict=judged(read(WATERBIRDS), reliance(loss))) for loss in (0.0, 0.6)]

    promised = [page.words("now", {})["no_evidence"] for page in pages]

    assert promised == ["", LATER]


def test_a_report_counts_right_answers_by_group_and_logs_the_worst() -> None:
    images = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    targets, sites = torch.arange(24) % 2, ["a", "a", "b", None] * 6
    images[:, 0] = torch.where((targets == 1) & (torch.arange(24) % 8 != 1), 1.0, 0.0)[:, None, None]
    probe = Probe(images, targets, attributes={"site": sites})

    seen: Report = examine(ByRed(), probe, trials=(), layer="red")

    groups = {(group.class_name, group.value): (group.n, group.accuracy) for group in seen.attributes[0].groups}
    assert groups == {("0", "a"): (6, 1.0), ("0", "b"): (6, 1.0), ("1", "a"): (6, 0.5)}
    assert seen.scalars["worst_group_accuracy/site"] == 0.5
    assert "Groups by site" in alone.report_html(seen)


class ByRed(nn.Module):
    """Class 1 where the picture is red."""

    def __init__(self) -> None:
        super().__init__()
        self.red = nn.Conv2d(3, 2, 1, bias=False)
        self.red.weight.data = torch.tensor([[-1.0, 0, 0], [1, 0, 0]])[:, :, None, None]

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.red(images - 0.5).mean((2, 3))
        return scores


# the audit


def pictured(share: float) -> tuple[list[tuple[Tensor, int]], list[str]]:
    """Grain that says nothing, and a site that goes with the class in a share of the pictures."""
    rng = np.random.default_rng(0)
    items = [(torch.from_numpy(rng.random((3, 12, 12))).float(), i % 2) for i in range(80)]
    return items, [f"site {i % 2 if rng.random() < share else 1 - i % 2}" for i in range(80)]


@pytest.mark.parametrize("form", ["values", "position", "function"])
def test_the_audit_tells_how_well_an_attribute_gives_the_class_away(form: str) -> None:
    items, sites = pictured(0.95)
    with_sites = [(*item, site) for item, site in zip(items, sites, strict=True)]
    source: Any = {"values": sites, "position": 2, "function": lambda item: item[2]}[form]

    result = audit_dataset(with_sites, attributes={"site": source})

    (finding,) = result.findings
    assert (finding.fact, finding.cue, finding.severity) == ("attribute site", "attribute site", "strong")
    assert "site 1 in 9" in finding.text
    assert "Cramer's V of this class and the value is 0.85" in finding.text
    assert "refit_head" in result.as_table()
    assert not result.ok


def test_a_balanced_attribute_is_a_fact_and_no_finding() -> None:
    items, sites = pictured(0.5)

    result = audit_dataset(items, attributes={"site": sites})

    assert "attribute site" in {fact.fact for fact in result.facts}
    assert result.ok


@pytest.mark.slow
def test_a_column_of_a_manifest_and_a_function_of_a_path_are_attributes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items, sites = pictured(0.95)
    rows = ["path,label,site"]
    for i, ((image, label), site) in enumerate(zip(items, sites, strict=True)):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        save_image(image, tmp_path / str(label) / f"{i}.png")
        rows.append(f"{label}/{i}.png,{label},{site}")
    (tmp_path / "list.csv").write_text("\n".join(rows))

    by_path = audit_dataset(tmp_path, attributes={"site": lambda path: sites[int(path.stem)]})

    assert [finding.fact for finding in by_path.findings] == ["attribute site"]
    assert cli.main(["audit", str(tmp_path / "list.csv"), "--attribute", "site"]) == 1
    assert "attribute site alone tells" in capsys.readouterr().out
    assert cli.main(["audit", str(tmp_path / "list.csv"), "--attribute", "place"]) == 2
    assert cli.main(["audit", str(tmp_path), "--attribute", "site"]) == 2
    printed = capsys.readouterr().err
    assert "no column 'place'" in printed
    assert "pass a function from a path to a value" in printed


def test_a_table_gives_attributes() -> None:
    class Table:  # of pandas, whose import takes seconds
        columns = ("site", "age")

        def to_dict(self, orient: str) -> Any:
            assert orient == "list"
            return {"site": ["a", "b"], "age": [1.0, float("nan")]}

    probe = Probe(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), attributes=Table())

    assert probe.attributes == {"site": ("a", "b"), "age": ("1.0", "")}

"""The table of cues: complete, and the only list of cues in the package."""

import ast
import re
from pathlib import Path

import pytest

import lightning_cam
from lightning_cam import cues
from lightning_cam.cues import CUES, FILE, Cue, cue_named, cue_of_fact
from lightning_cam.intervention import STANDARD

HOUSE = Path(lightning_cam.__file__).parent
NAMES = {cue.name for cue in (*CUES, FILE)}


def test_every_cue_is_in_the_table() -> None:
    assert {value for value in vars(cues).values() if isinstance(value, Cue)} == {*CUES, FILE}
    assert len(NAMES) == len(CUES) + 1


def test_every_cue_but_the_region_which_needs_an_audit_has_a_standard_trial() -> None:
    assert [trial.cue for trial in STANDARD] == [cue.name for cue in CUES if cue is not cues.REGION]


def test_the_reference_says_which_trials_need_masks() -> None:
    rows = re.findall(r"^\| (`\w+`.*?) \| .* \| (.*) \|$", _section("## Every cue that is swapped"), re.MULTILINE)
    of_reference = {name: word for names, word in rows for name in re.findall(r"`(\w+)`", names)}

    assert of_reference == {cue.name: _need_of_masks(cue) for cue in CUES}


def _section(heading: str) -> str:
    reference = (Path(__file__).parents[1] / "examples/README.md").read_text()
    return reference.partition(heading)[2].partition("\n## ")[0]


def _need_of_masks(cue: Cue) -> str:
    if any(t.cue == cue.name and (t.swap.needs_masks or getattr(t.swap, "reads_masks", False)) for t in STANDARD):
        return "needed"
    return "without them WARN at most" if cue.needs_masks_to_convict else "not needed"


def test_a_part_belongs_to_a_whole_that_is_swapped_before_it() -> None:
    order = [cue.name for cue in CUES]

    for cue in CUES:
        assert cue.part_of is None or order.index(cue.part_of) < order.index(cue.name)


def test_a_fact_shows_one_cue() -> None:
    facts = [fact for cue in (*CUES, FILE) for fact in cue.facts]

    assert len(set(facts)) == len(facts)
    assert all(set(cue.object_facts) <= set(cue.facts) for cue in CUES)
    assert all(cue_of_fact(fact) is cue for cue in (*CUES, FILE) for fact in cue.facts)


def test_a_cue_of_the_users_own_is_off_the_object() -> None:
    own = cue_named("watermark")

    assert (own.words, own.owner, own.part_of, own.facts) == ("watermark", "off object", None, ())


def lists_of_cues(source: str) -> list[int]:
    """Lines with a collection, or a dictionary's keys, that names two cues or more."""
    found = []
    for node in ast.walk(ast.parse(source)):
        items = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        heads = [item.args[0] if isinstance(item, ast.Call) and item.args else item for item in items]
        named = {head.value for head in heads if isinstance(head, ast.Constant)} & NAMES
        if len(named) > 1:
            found.append(node.lineno)
    return found


def test_nothing_else_in_the_package_lists_cues() -> None:
    modules = [path for path in HOUSE.rglob("*.py") if path.parent.name != "cues"]

    assert {path.name: lines for path in modules if (lines := lists_of_cues(path.read_text()))} == {}


@pytest.mark.parametrize(
    "source",
    ['{"codec": 1, "tone": 2}', '("codec", "tone")', '["codec", "tone", x]', '(Trial("codec", a), Trial("tone", b))'],
)
def test_a_planted_list_is_found(source: str) -> None:
    assert lists_of_cues(source) == [1]

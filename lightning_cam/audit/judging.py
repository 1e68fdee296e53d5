"""From columns of facts to findings: which facts predict the label, beyond chance and by enough."""

import math

import numpy as np

from ..cues import REGION, cue_of_fact
from ..statistics import holm
from .findings import AuditFinding, FactSkill, clearest_first, finding
from .pixels import CELLS, Array
from .skill import assign_folds, class_skill, count, encode, lower_bound, p_value

FALSE_ALARMS = 0.01  # chance that an audit has any false finding
LEAST_SKILL = 0.2  # The lower bound of a finding's skill is larger: right on more than 60 % of pictures of two classes.
# For each test, so that the smallest possible p value is below `FALSE_ALARMS` even after Holm's correction.
_SHUFFLES = 1.2 / FALSE_ALARMS

_LAST = CELLS - 1
_CORNERS = {(0, 0): "top left", (0, _LAST): "top right", (_LAST, 0): "bottom left", (_LAST, _LAST): "bottom right"}


def find(
    columns: dict[str, Array], labels: Array, classes: tuple[str, ...], seed: int
) -> tuple[tuple[FactSkill, ...], tuple[AuditFinding, ...], Array, Array]:
    """All facts with their skill, the findings among them, and the skill of each cell ``(8, 8)`` with its lower bound.

    A finding has a p value below `FALSE_ALARMS` and a lower bound above `LEAST_SKILL`. A fact that is the same in all
    pictures is left out. Of the cells along the edge only the best is tested, but Holm's correction counts them all.

    Args:
        columns: ``cells (N, 8, 8, 5)``, and facts ``(N,)`` or ``(N, D)`` by name.
        labels: Indices into ``classes``, ``(N,)``. Every class occurs.
        classes: The names of the classes.
        seed: Seed of the folds and of the shuffles.
    """
    rng = np.random.default_rng(seed)
    folds = assign_folds(labels, rng)
    cells = {_cell_name(y, x): columns["cells"][:, y, x] for y, x in np.ndindex(CELLS, CELLS)}
    values = {name: column for name, column in columns.items() if name != "cells"} | cells
    tables = {name: count(encode(column), labels, folds) for name, column in values.items()}
    skills = [class_skill(tables[name]) for name in cells]
    bounds = [lower_bound(tables[name], int(skill.argmax())) for name, skill in zip(cells, skills, strict=True)]
    cue_map, bound_map = (np.array(each).reshape(CELLS, CELLS) for each in (np.max(skills, 1), bounds))
    facts = _test({name: table for name, table in tables.items() if _is_tested(name, table)}, classes, rng)
    flagged = [fact for fact in facts if fact.p_value < FALSE_ALARMS and fact.bound > LEAST_SKILL]
    findings = [finding(fact, values[fact.fact], labels, classes) for fact in flagged]
    return facts, clearest_first(findings), cue_map, bound_map


def _test(tables: dict[str, Array], classes: tuple[str, ...], rng: np.random.Generator) -> tuple[FactSkill, ...]:
    edge = sorted((class_skill(table).max(), name) for name, table in tables.items() if cue_of_fact(name) is REGION)
    untested = {name for _, name in edge[:-1]}
    n_shuffles = math.ceil(_SHUFFLES * len(tables))
    # An untested cell has p = 1. So the correction is as strict as if every cell had been tested.
    p_values = [1.0 if name in untested else p_value(tables[name], n_shuffles, rng) for name in tables]
    corrected = zip(tables, holm(p_values), strict=True)
    return tuple(skill_of(name, tables[name], p, classes) for name, p in corrected if name not in untested)


def skill_of(name: str, table: Array, p: float, classes: tuple[str, ...]) -> FactSkill:
    """How well a fact tells the class apart that it tells best, by its table ``(K, F, B)`` of counts."""
    skills = class_skill(table)
    best = int(skills.argmax())
    return FactSkill(name, cue_of_fact(name).name, classes[best], float(skills[best]), lower_bound(table, best), p)


def _is_tested(name: str, table: Array) -> bool:
    """Whether a fact differs between pictures and does not lie in their middle, where the object is expected."""
    return table.shape[2] > 1 and not name.startswith("inner")


def _cell_name(y: int, x: int) -> str:
    if (y, x) in _CORNERS:
        return f"corner {_CORNERS[y, x]}"
    return f"{'edge' if {y, x} & {0, _LAST} else 'inner'} cell ({y}, {x})"

"""The house: a module imports from lower floors only, and a room only what it may know."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightning_cam

HOUSE = Path(lightning_cam.__file__).parent
# From the ground up. Rooms of one floor do not know each other.
FLOORS = [
    ["notices", "text", "spatial", "statistics", "cues", "allocator"],
    ["attributes", "origins", "patches"],
    ["datasets", "render"],
    ["maskers"],
    ["probe", "remedies", "transforms"],
    ["attribution", "intervention", "audit"],
    ["examination", "metrics"],
    ["verdict"],
    ["front"],  # what a person sees, of nothing but its own files
    ["tensorboard_tab"],  # what TensorBoard imports at its start
    ["sinks"],
    ["training", "comparing"],
    ["__init__"],  # the public names
    ["demo", "finished"],
    ["cli"],
    ["__main__"],
]
PURE = [
    "spatial",
    "attribution/cams",
    "attribution/fusion",
    "attribution/measures",
    "intervention/edits",
    "intervention/filters",
    "intervention/masks",
    "intervention/parts",
]
# A record that shows itself asks, inside a method, the floor that draws; the other is a type in an annotation.
UPWARDS = {
    ("examination", "lightning_cam.sinks.alone"),
    ("verdict", "lightning_cam.sinks.alone"),
    ("examination", "lightning_cam.verdict.Verdict"),
}
GUARDED = {  # who may import a package from outside
    "pytorch_lightning": {"training", "demo"},
    "lightning": {"training"},
    "tensorboard": {"sinks", "tensorboard_tab"},
    "werkzeug": {"tensorboard_tab"},
    "wandb": {"sinks", "demo"},
    "mlflow": {"sinks"},
    "comet_ml": {"sinks"},
    "litlogger": {"sinks"},
    "jinja2": {"front"},
}


def modules() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


def room_of(path: Path) -> str:
    """First part of a module's path inside the package: `sinks/wandb.py` lives in `sinks`."""
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Dotted targets of every import in ``source``, lazy ones too, relative ones made absolute.

    ``package`` is the module's package. What is imported from a package counts as a part of the path: it may be one.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = start + tuple((node.module or "").split(".") if node.module else ())
            yield from ((*base, alias.name) for alias in node.names)


def package_of(path: Path) -> tuple[str, ...]:
    return ("lightning_cam", *path.relative_to(HOUSE).parent.parts)


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def violations(room: str, source: str, package: tuple[str, ...]) -> list[str]:
    """Imports of ``source`` that go up, sideways into another room, or to a package the room may not know."""
    found = []
    for target in imports(source, package):
        if target[0] == "lightning_cam":
            other = target[1] if len(target) > 1 and any(target[1] in rooms for rooms in FLOORS) else "__init__"
            is_up = other != room and floor_of(other) >= floor_of(room)
            if is_up and (room, ".".join(target)) not in UPWARDS:
                found.append(f"{room} imports {'.'.join(target)}")
        elif room not in GUARDED.get(target[0], {room}):
            found.append(f"{room} imports {target[0]}")
    return found


def test_every_room_has_a_floor_and_imports_go_down() -> None:
    assert len(modules()) > 50
    assert [
        found for path in modules() for found in violations(room_of(path), path.read_text(), package_of(path))
    ] == []


@pytest.mark.parametrize("name", PURE)
def test_a_pure_room_knows_torch_and_pure_rooms_only(name: str) -> None:
    path = HOUSE / f"{name}.py"
    allowed = {"torch", "math", "collections", "typing", "functools", "itertools", "dataclasses"}

    for target in imports(path.read_text(), package_of(path)):
        assert target[0] in allowed or "/".join(target[1:-1]) in PURE, target


@pytest.mark.parametrize(
    ("room", "package", "source"),
    [
        pytest.param("probe", ("lightning_cam",), "from . import examination", id="up, relative"),
        pytest.param("probe", ("lightning_cam",), "from lightning_cam.training import CAMCallback", id="up, absolute"),
        pytest.param("probe", ("lightning_cam",), "import lightning_cam.sinks.folder", id="up, dotted"),
        pytest.param("probe", ("lightning_cam",), "def f():\n    from . import sinks", id="up, lazy"),
        pytest.param(
            "sinks", ("lightning_cam", "sinks"), "from ..callback import CAMCallback", id="up, from a package"
        ),
        pytest.param("sinks", ("lightning_cam", "sinks"), "import pytorch_lightning", id="Lightning in a sink"),
        pytest.param("examination", ("lightning_cam",), "import wandb", id="a logger in the pipeline"),
        pytest.param("attribution", ("lightning_cam", "attribution"), "import lightning_cam", id="the public names"),
    ],
)
def test_a_planted_violation_is_found(room: str, package: tuple[str, ...], source: str) -> None:
    assert violations(room, source, package)


# `demo`, `maskers` and `remedies` train a model of their own; no other room may touch the model that is looked at.
TOUCHING = re.compile(r"\.register_\w*hook\w*\(|\.(train|eval|backward|requires_grad_)\(|autograd\.")


def touches_a_model(room: str, source: str) -> bool:
    return room not in ("attribution", "demo", "maskers", "remedies") and TOUCHING.search(source) is not None


def test_only_attribution_sets_hooks_changes_modes_or_calls_autograd() -> None:
    assert [path for path in modules() if touches_a_model(room_of(path), path.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        "model.register_forward_hook(f)",
        "x.register_hook(f)",
        "model.eval()",
        "loss.backward()",
        "torch.autograd.grad(s, x)",
    ],
)
def test_a_planted_touch_is_found(source: str) -> None:
    assert touches_a_model("training", source)


def test_importing_the_package_alone_imports_neither_torch_nor_lightning() -> None:
    """TensorBoard imports it at each start, to find its tab."""
    code = "import sys, lightning_cam; assert not {'torch', 'numpy', 'pytorch_lightning', 'jinja2'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_public_name_comes_from_where_the_type_checker_sees_it() -> None:
    tree = ast.parse((HOUSE / "__init__.py").read_text())
    declared = {
        (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }

    assert {(home, name) for home, names in vars(lightning_cam)["_HOMES"].items() for name in names} == declared
    assert sorted(name for _, name in declared) == lightning_cam.__all__
    assert all(getattr(lightning_cam, name) is not None for name in lightning_cam.__all__)
    assert {*lightning_cam.__all__} <= {*dir(lightning_cam)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lightning_cam.nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", ["cams", "features", "localisation", "measures", "pixels"])
def test_a_public_module_can_be_the_first_that_is_imported(name: str) -> None:
    """A module inside a room is no attribute of it until somebody has imported it."""
    room = (HOUSE / "attribution" / "__init__.py").read_text()

    assert ("lightning_cam", "attribution", name) in imports(room, ("lightning_cam", "attribution"))


def test_importing_the_package_changes_nothing_outside_it() -> None:
    code = (
        "import os, random, warnings, numpy, scipy.stats, torch, pytorch_lightning, lightning.pytorch, PIL.Image\n"
        "def world():\n"
        "    return (dict(os.environ), random.getstate(), numpy.random.get_state()[1].tolist(),\n"
        "            torch.get_rng_state().tolist(), warnings.filters[:], torch.get_num_threads(),\n"
        "            torch.is_grad_enabled(), PIL.Image.MAX_IMAGE_PIXELS)\n"
        "before = world()\n"
        "from lightning_cam import *\n"
        "assert world() == before\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)

"""The automatic choice on every classifier of torchvision and on the families of timm.

What it ought to be is in layer_coverage.json, a table that was read row by row; benchmarks/layer_coverage.py writes it.
"""

from dataclasses import replace

import pytest

from benchmarks.layer_coverage import Row, looked_at, rows, table

TABLE = {f"{row.library}-{row.model}": row for row in table()}
QUICK = [
    "torchvision-googlenet",
    "torchvision-mobilenet_v3_small",
    "torchvision-resnet18",
    "torchvision-squeezenet1_1",
    "timm-convnext_atto",
    "timm-deit_tiny_distilled_patch16_224",
    "timm-levit_128s",
    "timm-maxvit_rmlp_pico_rw_256",
    "timm-mobileone_s0",
    "timm-regnetx_002",
    "timm-swinv2_tiny_window8_256",
    "timm-vit_tiny_patch16_224",
    "timm-xcit_nano_12_p16_224",
]


def test_table_has_every_model() -> None:
    assert [replace(row, layer="", map_size=(0, 0), working=False) for row in TABLE.values()] == list(rows())


def test_every_map_in_the_table_works() -> None:
    assert [name for name, row in TABLE.items() if not row.working or min(row.map_size) < 2] == []


@pytest.mark.parametrize("expected", [pytest.param(TABLE[name], id=name) for name in QUICK])
def test_choice_and_its_map_after_training(expected: Row) -> None:
    assert looked_at(expected, n_steps=2) == expected


@pytest.mark.slow
@pytest.mark.parametrize("expected", [pytest.param(row, id=name) for name, row in TABLE.items() if name not in QUICK])
def test_choice(expected: Row) -> None:
    found = looked_at(expected, n_steps=0)

    assert (found.layer, found.map_size) == (expected.layer, expected.map_size)

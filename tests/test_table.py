"""``Report.to_dataframe``: one row for each probe image, with the numbers that the report has."""

import sys
from dataclasses import replace

import pytest
import torch

from house.shortcut import BORDER, Framed, framed_probe
from lightning_cam import Probe, Report, examine


@pytest.fixture(scope="module")
def probe() -> Probe:
    return framed_probe(classes=["dark", "light"])


@pytest.fixture(scope="module")
def report(probe: Probe) -> Report:
    torch.manual_seed(0)
    return examine(Framed(), probe, trials=BORDER, until_settled=False)


def test_every_image_is_a_row_with_its_own_numbers(report: Report, probe: Probe) -> None:
    pytest.importorskip("pandas")
    logits = report.logits.clone()
    logits[5] = torch.tensor([1.0, 2.0])  # of image 5, which is light: right, with 1 / (1 + 1 / e)

    table = replace(report, logits=logits).to_dataframe()

    assert list(table["name"]) == list(probe.names)
    assert list(table["class"]) == ["dark", "light"] * 32
    assert table["predicted"][5] == "light"
    assert table["probability"][5] == pytest.approx(0.731059)
    assert table["effect/border"].tolist() == report.effects["border"].tolist()
    for key, column in report.values.items():
        assert table[key].to_numpy() == pytest.approx(column.double().numpy(), nan_ok=True)
    assert list(table)[:4] == ["name", "class", "predicted", "probability"]


def test_the_probability_is_of_the_true_class(report: Report) -> None:
    pytest.importorskip("pandas")

    table = replace(report, logits=torch.tensor([[0.0, 50.0]]).repeat(64, 1)).to_dataframe()

    assert table["probability"][:2].tolist() == pytest.approx([0.0, 1.0])
    assert set(table["predicted"]) == {"light"}


def test_an_undefined_value_stays_undefined(report: Report) -> None:
    pytest.importorskip("pandas")
    effects = {"border": report.effects["border"].clone()}
    effects["border"][3] = torch.nan

    table = replace(report, effects=effects).to_dataframe()

    assert table["effect/border"].isna().to_numpy().nonzero()[0].tolist() == [3]


def test_a_class_that_the_probe_does_not_name_has_its_number(report: Report) -> None:
    pytest.importorskip("pandas")

    table = replace(report, logits=torch.tensor([[0.0, 0.0, 9.0]]).repeat(64, 1)).to_dataframe()

    assert set(table["predicted"]) == {"class 2"}


def test_without_pandas_a_sentence_says_what_to_install(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match="needs pandas, which is not installed; run: pip install pandas"):
        report.to_dataframe()

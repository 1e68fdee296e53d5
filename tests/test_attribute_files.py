"""Attributes by file name: functions of a path, mappings, and CSV files."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.utils import save_image

from lightning_cam import CAMCallback, Probe, audit_dataset, cli

SITES = ("north", "south")
FILES = [(word, number) for word in ("cat", "dog") for number in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six grey pictures of either class, with the names of ``listed``."""
    root = tmp_path_factory.mktemp("pictures")
    for i, (word, number) in enumerate(FILES):
        (root / word).mkdir(exist_ok=True)
        save_image(torch.full((3, 8, 8), i / 20), root / word / f"{word[0]}{number}.png")
        save_image(torch.full((3, 8, 8), 1 - i / 20), root.parent / f"{word}.png")
    return root


def site_of(index: int) -> str:
    return SITES[index // 2 % 2]


BY_PATH = {f"{word}/{word[0]}{number}.png": site_of(i) for i, (word, number) in enumerate(FILES)}
BY_NAME = {Path(name).name: site for name, site in BY_PATH.items()}
BY_STEM = {Path(name).stem: site for name, site in BY_PATH.items()}


def indices_of(probe: Probe) -> list[int]:
    return [round(float(image.mean()) * 20) for image in probe.images]


def table(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


CSV = "file,patient,site,label\n" + "".join(
    f"{name},{i},{site},{name.split('/')[0]}\n" for i, (name, site) in enumerate(BY_PATH.items())
)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(BY_PATH, id="in its folder"),
        pytest.param(BY_NAME, id="name"),
        pytest.param(BY_STEM, id="without suffix"),
        pytest.param({name.replace("/", "\\"): site for name, site in BY_PATH.items()}, id="of Windows"),
        pytest.param({f"./{name}": site for name, site in BY_PATH.items()}, id="with a dot"),
        pytest.param(lambda path: BY_NAME[path.name], id="function"),
        pytest.param(list(BY_PATH.values()), id="list"),
    ],
)
@pytest.mark.parametrize("n", [8, 64])
def test_a_folder_has_a_value_with_each_picture(folder: Path, source: Any, n: int) -> None:
    probe = Probe.from_folder(folder, n, find_masks=False, attributes={"site": source})

    assert probe.attributes == {"site": tuple(site_of(i) for i in indices_of(probe))}


def test_semicolons_do_as_well_as_commas(folder: Path, tmp_path: Path) -> None:
    comma, semicolon = (
        Probe.from_folder(folder, find_masks=False, attributes=table(tmp_path, text)).attributes
        for text in (CSV, CSV.replace(",", ";"))
    )

    assert comma == semicolon


def test_a_csv_file_gives_the_columns_whose_values_recur_and_are_not_the_class(folder: Path, tmp_path: Path) -> None:
    probe = Probe.from_folder(folder, find_masks=False, attributes=table(tmp_path, CSV))

    assert probe.attributes == {"site": tuple(site_of(i) for i in indices_of(probe))}


def test_a_data_set_that_lists_its_files_takes_the_same(folder: Path, tmp_path: Path) -> None:
    dataset = ImageFolder(str(folder))

    probes = [
        Probe.from_dataset(dataset, 12, find_masks=False, attributes=each)
        for each in ({"site": BY_PATH}, table(tmp_path, CSV))
    ]

    for probe in probes:
        assert probe.attributes == {"site": tuple(site_of(i) for i in indices_of(probe))}


def test_a_picture_without_a_value_counts_in_no_group_and_is_said(folder: Path) -> None:
    some = {name: site for name, site in BY_PATH.items() if name != "dog/d3.png"}

    with pytest.warns(UserWarning, match=r"1 of 12 pictures have no value of 'site', such as 'dog/d3.png'"):
        probe = Probe.from_folder(folder, find_masks=False, attributes={"site": some})

    assert probe.attributes["site"][indices_of(probe).index(9)] == ""


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        pytest.param({"site": {"x.png": "a"}}, "none of 12 pictures has a value of 'site'.*'x.png'", id="other names"),
        pytest.param({"site": {}}, "none of 12 pictures", id="no names"),
        pytest.param({"site": "hospital"}, "files have no 'hospital'; for a folder pass a function", id="field"),
        pytest.param({"site": ["a"]}, "a value for each of 12 pictures, got 1", id="too few"),
        pytest.param("nowhere.csv", "'nowhere.csv' is no file", id="no file"),
        pytest.param(["site"], "must be like", id="no mapping"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(folder: Path, attributes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probe.from_folder(folder, find_masks=False, attributes=attributes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "no column of table.csv names one of the pictures, such as 'cat/c0.png'", id="empty"),
        pytest.param("file,site\nx.png,a\n", "its columns are 'file', 'site'", id="other names"),
        pytest.param("c0.png,a\nc1.png,b\n", "its first line must name the columns", id="no header"),
        pytest.param("file\nc0.png\n", "no column beside 'file'", id="names alone"),
        pytest.param("file,site\nc0.png,a\nc0.png,b\n", "two values of 'site' for 'c0.png'", id="twice"),
        pytest.param("file,site\nc0.png\nc1.png\n", "no column beside 'file'", id="short rows"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_a_sentence(folder: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probe.from_folder(folder, find_masks=False, attributes=table(tmp_path, text))


def test_a_name_that_two_classes_share_needs_its_folder(tmp_path: Path) -> None:
    for word in ("cat", "dog"):
        (tmp_path / word).mkdir()
        save_image(torch.zeros(3, 8, 8), tmp_path / word / "0.png")

    with pytest.raises(ValueError, match=r"'0.png' of 'site' means 2 files, such as 'cat/0.png' and 'dog/0.png'"):
        Probe.from_folder(tmp_path, find_masks=False, attributes={"site": {"0.png": "north"}})
    probe = Probe.from_folder(tmp_path, find_masks=False, attributes={"site": {"cat/0.png": "a", "dog/0.png": "b"}})
    assert probe.attributes == {"site": ("a", "b")}


def test_items_without_files_cannot_be_told_by_name() -> None:
    with pytest.raises(ValueError, match="does not list its files"):
        Probe.from_dataset([(torch.zeros(3, 8, 8), 0)], 1, find_masks=False, attributes={"site": BY_PATH})


@pytest.mark.slow
def test_the_audit_takes_the_same_and_a_file_on_the_command_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = audit_dataset(folder, attributes={"site": BY_STEM})

    assert "attribute site" in {fact.fact for fact in known.facts}
    assert cli.main(["audit", str(folder), "--attributes", str(table(tmp_path, CSV)), "--json"]) in (0, 1)
    assert '"attribute site"' in capsys.readouterr().out
    assert cli.main(["audit", str(folder), "--attributes", str(tmp_path / "none.csv")]) == 2
    assert "none.csv' is no file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_callback_draws_a_probe_with_attributes(folder: Path, tmp_path: Path) -> None:
    dataset = ImageFolder(str(folder), transforms.ToTensor())

    def fitted(attributes: Any) -> CAMCallback:
        watch = CAMCallback(attributes=attributes, trials=(), sinks=[], verbose=False, layer="net.0", on_error="raise")
        trainer = pl.Trainer(
            max_epochs=1, callbacks=[watch], logger=False, default_root_dir=tmp_path, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(Small(), DataLoader(dataset, 6), DataLoader(dataset, 6))
        return watch

    probe = fitted({"site": BY_PATH}).probe

    assert probe is not None
    assert probe.attributes == {"site": tuple(site_of(i) for i in indices_of(probe))}
    with pytest.raises(ValueError, match="none of 12 pictures has a value of 'site'"):
        fitted({"site": {"x": "a"}})


def test_a_probe_that_is_given_has_its_own_attributes() -> None:
    probe = Probe(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))

    with pytest.raises(ValueError, match="attributes= are for a probe that is drawn"):
        CAMCallback(probe, attributes={"site": BY_PATH})


class Small(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Any:
        return self.net(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)

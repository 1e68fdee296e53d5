"""Examples and the README's code run as they stand, and what the README lists is what there is."""

import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from PIL import Image
from torchvision.transforms.v2 import Normalize

import lightning_cam
from house.processes import printed_by
from house.trainings import Net, loader
from lightning_cam.cues import CUES
from lightning_cam.demo.pictures import write_pictures

ROOT = Path(__file__).parent.parent
README, REFERENCE = (ROOT / "README.md").read_text(), (ROOT / "examples" / "README.md").read_text()


def run(script: str, folder: Path, *arguments: str) -> str:
    """What an example prints; it runs in a folder and a process of its own, without a network."""
    return printed_by(ROOT / "examples" / script, folder, *arguments, WANDB_SILENT="true", WANDB_MODE="offline")


def test_attaching_takes_one_line_and_leaves_pictures(tmp_path: Path) -> None:
    said = run("attach.py", tmp_path)

    assert "tensorboard --logdir" in said
    assert list(tmp_path.glob("lightning_logs/version_0/cam_report/step_*/*.png"))


def test_own_probe_measures_background_attention_and_examines_without_a_trainer(tmp_path: Path) -> None:
    said = run("own_probe.py", tmp_path)

    assert re.search(r"^0 0\.\d\d$", said, re.MULTILINE)
    assert "torch.Size([16, 32, 32])" in said


@pytest.mark.slow
def test_waterbirds_warns_names_the_place_and_a_new_head_lifts_the_worst_group(tmp_path: Path) -> None:
    printed = run("waterbirds.py", tmp_path, "--demo")

    before, after = (float(share) for share in re.findall(r"^.*: worst group (\S+)$", printed, re.MULTILINE))
    assert re.search(r"^WARN: the model may rely on .*place", printed, re.MULTILINE)
    assert "attribute place alone tells 'landbird' from 'waterbird' pictures" in printed
    assert before < 0.3
    assert after > before + 0.2
    assert "head fitted again: INCONCLUSIVE" in printed  # nothing was swapped, and no group stands out any more


@pytest.mark.slow
def test_wandb_offline_leaves_a_run_to_sync(tmp_path: Path) -> None:
    said = run("wandb_offline.py", tmp_path, str(tmp_path))

    assert "wandb sync" in said
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/cam/*.jpg"))


def test_own_method_is_examined_like_a_built_in_one(tmp_path: Path) -> None:
    printed = run("own_method.py", tmp_path)

    assert re.search(r"^positive_grad_cam \(8, 32, 32\) 0\.\d+$", printed, re.MULTILINE)


@pytest.mark.slow
def test_own_sink_gets_the_scalars_of_every_check(tmp_path: Path) -> None:
    run("own_sink.py", tmp_path, str(tmp_path / "table.csv"))

    steps = {line.split(",")[0] for line in (tmp_path / "table.csv").read_text().splitlines()}
    assert {"0", "2"} <= steps


def test_own_trial_judges_a_cue_that_the_package_does_not_know(tmp_path: Path) -> None:
    assert run("own_trial.py", tmp_path).startswith("FAIL: the model relies on something that is not the object: date")


@pytest.mark.slow
def test_a_plain_loop_is_judged_and_leaves_the_folder_of_a_run(tmp_path: Path) -> None:
    assert run("plain_loop.py", tmp_path).endswith("FAIL\n")
    assert {"report.html", "verdict.json", "run.json"} <= {path.name for path in tmp_path.glob("runs/plain_loop/*")}


@pytest.mark.slow
def test_a_model_of_picture_and_table_relies_on_a_ruler(tmp_path: Path) -> None:
    assert re.search(r"^FAIL .*(corner|patch|border|background)", run("two_inputs.py", tmp_path), re.MULTILINE)


@pytest.mark.slow
def test_an_embedding_without_labels_holds_the_ground(tmp_path: Path) -> None:
    assert re.search(r"^FAIL background", run("self_supervised.py", tmp_path), re.MULTILINE)


@pytest.mark.slow
def test_the_map_of_a_word_points_at_what_it_names(tmp_path: Path) -> None:
    printed = run("captioning.py", tmp_path, "--fast")

    assert int(re.findall(r"^words are right in (\d+)%", printed, re.MULTILINE)[0]) > 90
    assert int(re.findall(r"^circle points at its shape in (\d+)%", printed, re.MULTILINE)[0]) > 80
    assert (tmp_path / "captions.png").exists()


@pytest.mark.slow
def test_the_map_of_an_answer_points_at_what_was_asked_for(tmp_path: Path) -> None:
    printed = run("visual_questions.py", tmp_path, "--fast")
    shares = [int(share) for share in re.findall(r"maps point at it in (\d+)%", printed)]

    assert len(shares) == 2
    assert min(shares) > 75


@pytest.mark.slow
def test_the_map_of_a_similarity_points_at_what_two_pictures_share(tmp_path: Path) -> None:
    printed = run("similarity.py", tmp_path, "--fast")

    assert len(re.findall(r"right in (?:100|9\d)%", printed)) == 3
    assert min(int(share) for share in re.findall(r"maps point at it in (\d+)%", printed)) > 70


@pytest.mark.slow
def test_of_several_labels_the_one_that_relies_on_a_tag_is_named(tmp_path: Path) -> None:
    printed = run("multi_label.py", tmp_path)

    assert set(re.findall(r"^FAIL \w+: (.*)$", printed, re.MULTILINE)) == {"nodule"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "printed"),
    [
        ("image_folder.py", [], "\n-> put every object on a random background"),
        ("timm_fine_tuning.py", [], "at layer 'net.layer4'"),
        ("timm_fine_tuning.py", ["pictures", "vit_tiny_patch16_224"], "at layer 'net."),
        ("resume.py", [], "steps after the resume:  [0, 19, 39, 59, 79]"),
        ("two_processes.py", [], "process 1 has the verdict FAIL"),
        ("finished_checkpoint.py", [], "FAIL: the model relies on something that is not the object: background"),
        ("explanations.py", [], "explanations.png"),
        ("features.py", [], "Open features.png"),
        ("regression.py", [], "FAIL background: when pictures get only the background of others with another value"),
        ("segmentation.py", [], "FAIL background: with the background of another class"),
        ("detection.py", [], "FAIL background: with the background of another class"),
        ("volumes.py", [], "FAIL background: with the background of another class"),
        ("cli.py", ["fit", "--config", str(ROOT / "examples" / "cli.yaml")], "lightning_cam: FAIL"),
    ],
    ids=[
        "image folder",
        "timm CNN",
        "timm ViT",
        "resume",
        "two processes",
        "finished",
        "explanations",
        "features",
        "regression",
        "segmentation",
        "detection",
        "volumes",
        "CLI",
    ],
)
def test_guide_of_a_kind_of_training_runs(tmp_path: Path, script: str, arguments: list[str], printed: str) -> None:
    write_pictures(tmp_path / "pictures", n_train=160, n_val=48)

    assert printed in run(script, tmp_path, *arguments)


@pytest.mark.slow
def test_the_configuration_that_the_command_line_prints_is_the_one_it_was_given(tmp_path: Path) -> None:
    given = ["fit", "--print_config", "--config"]
    first = run("cli.py", tmp_path, *given, str(ROOT / "examples" / "cli.yaml"))
    (tmp_path / "again.yaml").write_text(first)

    assert "class_path: lightning_cam.Probe.from_folder" in first
    assert run("cli.py", tmp_path, *given, str(tmp_path / "again.yaml")) == first


@pytest.mark.parametrize("name", ["own_method.py", "own_sink.py", "own_trial.py"])
def test_an_extension_takes_less_than_30_lines(name: str) -> None:
    assert len((ROOT / "examples" / name).read_text().splitlines()) < 30


def pictures(folder: Path) -> None:
    """Four pictures of each of two classes: a bright square somewhere, and beside it, as a mask, where it is."""
    for split in ("train", "val"):
        for place in (f"{split}/{family}/{i}.png" for family in ("cats", "dogs") for i in range(4)):
            square = Image.new("L", (32, 32))
            square.paste(255, (8, 8, 20, 20))
            for kind in (split, f"{split}_masks"):
                path = folder / kind / place.removeprefix(f"{split}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                square.convert("L" if kind.endswith("masks") else "RGB").save(path)


@pytest.fixture(scope="module")
def readme_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The README's Python from top to bottom, and the names that it leaves."""
    folder = tmp_path_factory.mktemp("readme")
    pictures(folder / "data")
    batches = loader(n=16)
    given = {
        "pl": pl,
        "model": Net(),
        "train_loader": batches,
        "val_loader": batches,
        "normalize": Normalize([0.5], [0.5]),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1:]:  # the second one repeats the first
            exec(block.replace("max_epochs=10", "max_epochs=1"), given)
    return given | {"folder": folder}


def test_code_in_the_readme_runs(readme_run: dict[str, Any]) -> None:
    assert list(readme_run["folder"].glob("lightning_logs/version_0/cam_report/evolution.png"))
    assert readme_run["probe"].mask_sources[0] == "folder"


def test_the_keys_that_are_listed_are_the_keys_that_are_logged(readme_run: dict[str, Any]) -> None:
    callback = next(one for one in readme_run["trainer"].callbacks if isinstance(one, lightning_cam.CAMCallback))
    logged = {key for reading in callback.history for key in reading.scalars} | set(readme_run["report"].scalars)
    families = {re.sub(r"^(reliance|accuracy_lost)/[a-z]+", r"\1/<cue>", key.removeprefix("cam/")) for key in logged}
    listed, in_readme = ({*re.findall(r"`cam/([^`]+)`", text)} for text in (REFERENCE, README.split("## Changes")[0]))

    assert listed == families
    assert in_readme - listed == {"<image>", "evolution", "evidence/<cue>"}  # pictures


def test_every_cue_is_explained() -> None:
    rows = re.findall(r"^\| (`.*?) \|", REFERENCE.split("## Every cue")[1], re.MULTILINE)

    assert {cue for row in rows for cue in re.findall(r"`(\w+)`", row)} == {cue.name for cue in CUES}


def test_every_method_is_in_the_readme() -> None:
    listed = re.search(r"built-in methods\s+are (.*?)\. ", README, re.DOTALL)

    assert listed is not None
    methods = {name for name in lightning_cam.cams.__all__ if name.islower()}  # the others are types
    assert set(re.findall(r"`(\w+)`", listed[1])) == methods


@pytest.mark.parametrize("page", ["README.md", "examples/README.md", "tests/benchmarks/README.md"])
def test_links_and_scripts_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [(ROOT / page).parent / link for link in re.findall(r"\]\((?!http)([^)]+)\)", text)]
    scripts = [ROOT / script for script in re.findall(r"\b(?:examples|tests)/[\w/*.]+\.(?:py|json)\b", text)]

    assert [path for path in links + scripts if not any(ROOT.glob(str(path.relative_to(ROOT))))] == []

"""Examples and the README's code run as they stand."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_cam

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def run(script: str, folder: Path, *arguments: str) -> str:
    """What an example prints; it runs in a folder of its own, without a network."""
    environment = os.environ | {"WANDB_SILENT": "true", "WANDB_MODE": "offline"}
    command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_attaching_takes_one_line_and_leaves_pictures(tmp_path: Path) -> None:
    said = run("attach.py", tmp_path)

    assert "--samples_per_plugin images=1000" in said
    assert list(tmp_path.glob("lightning_logs/version_0/cam_report/step_*/*.png"))


def test_own_probe_measures_background_attention_and_examines_without_a_trainer(tmp_path: Path) -> None:
    said = run("own_probe.py", tmp_path)

    assert re.search(r"^0 0\.\d\d$", said, re.MULTILINE)
    assert "torch.Size([16, 32, 32])" in said


def test_wandb_offline_leaves_a_run_to_sync(tmp_path: Path) -> None:
    said = run("wandb_offline.py", tmp_path, str(tmp_path))

    assert "wandb sync" in said
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/cam/*.jpg"))


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_code_in_the_readme_parses_and_its_imports_exist(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            assert node.module == "lightning_cam"
            assert all(hasattr(lightning_cam, alias.name) for alias in node.names)


def test_every_method_and_scalar_that_the_readme_names_exists() -> None:
    methods = re.search(r"\*\*Methods\.\*\* (.*?); yours", README, re.DOTALL)

    assert methods is not None
    assert all(hasattr(lightning_cam.cams, name) for name in re.findall(r"`(\w+)`", methods[1]))

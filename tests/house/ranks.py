"""Scripts that two processes run together."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent


def ranks(folder: Path, script: str, *arguments: str) -> dict[str, Any]:
    """What each process of a script in `two_processes` writes at the end of its training, by its rank."""
    done = subprocess.run(
        [sys.executable, str(TESTS / "two_processes" / f"{script}.py"), str(folder), *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # They may share lines of output, so each has a file of its own.
    return {path.name.removeprefix("rank"): json.loads(path.read_text()) for path in folder.glob("rank*")}

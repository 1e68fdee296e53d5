"""Scripts that two processes run together."""

import subprocess
import sys
from pathlib import Path


def ranks(folder: Path, text: str, **given: object) -> dict[str, str]:
    """What each process says at the end of its training, by its rank."""
    script = folder / "train.py"
    script.write_text(text.format(tests=str(Path(__file__).parent.parent), folder=str(folder), **given))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name[-1]: path.read_text() for path in folder.glob("rank[01]")}  # they may share lines of output

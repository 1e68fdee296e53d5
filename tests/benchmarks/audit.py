"""Throughput of `audit_dataset` beside CleanVision's `find_issues` on the same files, in turns.

CleanVision needs an environment of its own, say ``python -m venv cv && cv/bin/pip install cleanvision``; then
``python tests/benchmarks/audit.py --cleanvision cv/bin/python``. Both get the same number of workers and read every
file; imports are not counted.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

OURS = """
import sys, time
from lightning_cam.audit import audit_dataset
start = time.perf_counter()
result = audit_dataset(sys.argv[1], per_class=10**9, workers=int(sys.argv[2]))
print(time.perf_counter() - start)
print(sum(result.n_read), "read,", len(result.findings), "findings", file=sys.stderr)
"""
THEIRS = """
import contextlib, io, sys, time
from cleanvision import Imagelab
if __name__ == "__main__":
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        Imagelab(data_path=sys.argv[1]).find_issues(n_jobs=int(sys.argv[2]), verbose=False)
    print(time.perf_counter() - start)
"""


def photo(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Clouds of three sizes and a little noise: about as hard to encode as a photograph."""
    clouds = [Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(size, 3) for n in (4, 12, 40)]
    mean = np.mean([np.asarray(cloud, np.float32) for cloud in clouds], axis=0)
    noise = rng.normal(0, 3, mean.shape)
    return Image.fromarray((mean + noise).clip(0, 255).astype(np.uint8))


def write_files(root: Path, n: int, size: tuple[int, int], png_share: float) -> None:
    rng = np.random.default_rng(0)
    for i in range(n):
        folder = root / ("even", "odd")[i % 2]
        folder.mkdir(exist_ok=True)
        if rng.random() < png_share:
            photo(rng, size).save(folder / f"{i}.png", compress_level=3)
        else:
            photo(rng, size).save(folder / f"{i}.jpg", quality=90)


def seconds(python: str, script: Path, root: Path, workers: int) -> float:
    done = subprocess.run(
        [python, str(script), str(root), str(workers)], check=True, capture_output=True, text=True, cwd=script.parent
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--size", type=int, nargs=2, default=(500, 375))
    parser.add_argument("--png-share", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cleanvision", metavar="PYTHON", help="interpreter that has cleanvision")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "pictures"
        root.mkdir()
        write_files(root, options.n, tuple(options.size), options.png_share)
        runs = {"audit": (sys.executable, OURS)}
        if options.cleanvision:
            runs["cleanvision"] = (options.cleanvision, THEIRS)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, (python, code) in runs.items():
                script = Path(scratch) / f"{name}_run.py"
                script.write_text(code)
                times[name].append(seconds(python, script, root, options.workers))
                print(f"{name:<12} {times[name][-1]:7.2f} s  {options.n / times[name][-1]:7.0f} files/s", flush=True)
        if options.cleanvision:
            ratios = [theirs / ours for ours, theirs in zip(times["audit"], times["cleanvision"], strict=True)]
            spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
            print(f"audit is {statistics.median(ratios):.1f} times as fast (rounds {spread})")


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Runs every test that needs a GPU, on a machine that has torch, torchvision, pytorch-lightning, torchmetrics, tensorboard,
# scipy, timm and pytest. It needs no network, no installation of this package and no plugin of pytest.
#
#     bash tests/gpu.sh                # PYTHON=/path/to/python for another interpreter; more arguments go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export CUBLAS_WORKSPACE_CONFIG=:4096:8 # two trainings can only be compared where cuBLAS adds in the same order each time
mapfile -t files < <(grep -l "needs a GPU" tests/test_*.py)
# The options in pyproject.toml are for plugins that may be missing here, so they give way and may be unknown.
exec "${PYTHON:-python3}" -m pytest -o addopts= -W ignore::pytest.PytestConfigWarning -p no:cacheprovider -ra \
    "${files[@]}" "$@"

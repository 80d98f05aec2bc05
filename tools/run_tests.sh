#!/usr/bin/env bash
# Run the tests in .venv, which is created first if it is missing. Arguments
# are passed to pytest, for example: bash tools/run_tests.sh tests/ops -k exact
# With --integrations first: in .venv-integrations, which has timm, mmpretrain
# and torchvision, and another version of torch.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup_env.sh "${1:-}"
if [ "${1:-}" = --integrations ]; then shift; fi

# Several processes with one thread each, since the problems are small. The
# tests of a file run in one process, since they share trained models.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python -m pytest -q -n auto --maxprocesses 8 --dist loadfile "$@"

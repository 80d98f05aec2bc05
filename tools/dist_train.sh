#!/usr/bin/env bash
# Train on several GPUs of this machine, or in several processes on its CPU:
#   tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# On several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR and
# PORT set. On one, PORT defaults to a free port. For PYTHON see launch.sh.
set -euo pipefail
. "$(dirname "$0")/launch.sh"
need 2 "$0 CONFIG PROCESSES [options of train.py]" "$@"
run_distributed "$2" "$ROOT/tools/train.py" "$1" --launcher pytorch "${@:3}"

#!/usr/bin/env bash
# Train on several GPUs of this machine, or in several processes on its CPU:
#   tools/dist_train.sh CONFIG PROCESSES [--max-restarts N] [options of train.py]
# With --max-restarts and --resume, all processes start again from the newest
# checkpoint when one of them fails, at most N times.
# On several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR and
# PORT set. On one, PORT defaults to a free port. For PYTHON see launch.sh.
set -euo pipefail
. "$(dirname "$0")/launch.sh"
need 2 "$0 CONFIG PROCESSES [--max-restarts N] [options of train.py]" "$@"
take_restarts "${@:3}"
run_distributed "$2" "$ROOT/tools/train.py" "$1" --launcher pytorch \
    ${REST[@]+"${REST[@]}"}

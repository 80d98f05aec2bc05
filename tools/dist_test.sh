#!/usr/bin/env bash
# Test on several GPUs of this machine, or in several processes on its CPU:
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
# On several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR and
# PORT set. On one, PORT defaults to a free port. For PYTHON see launch.sh.
set -euo pipefail
. "$(dirname "$0")/launch.sh"
need 3 "$0 CONFIG CHECKPOINT PROCESSES [options of test.py]" "$@"
run_distributed "$3" "$ROOT/tools/test.py" "$1" "$2" --launcher pytorch \
    "${@:4}"

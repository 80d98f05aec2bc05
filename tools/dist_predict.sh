#!/usr/bin/env bash
# Predict videos on several GPUs of this machine, or in several processes on
# its CPU:
#   tools/dist_predict.sh CONFIG CHECKPOINT PROCESSES --list LIST \
#       --out FILE.jsonl [options of predict.py]
# Each process writes a file of its own; `predict.py --merge` merges them. With
# --resume, a run goes on in any number of processes; with --max-restarts N
# beside it, killed processes start again. On several machines, run it on each
# with NNODES, NODE_RANK, MASTER_ADDR and PORT set, and a common folder for
# FILE.jsonl. On one, PORT defaults to a free port. For PYTHON see launch.sh.
set -euo pipefail
. "$(dirname "$0")/launch.sh"
need 3 "$0 CONFIG CHECKPOINT PROCESSES [options of predict.py]" "$@"
take_restarts "${@:4}"
run_distributed "$3" "$ROOT/tools/predict.py" --config "$1" \
    --checkpoint "$2" --launcher pytorch ${REST[@]+"${REST[@]}"}

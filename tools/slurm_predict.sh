#!/usr/bin/env bash
# Predict videos as a Slurm job:
#   tools/slurm_predict.sh PARTITION JOB_NAME CONFIG CHECKPOINT --list LIST \
#       --out FILE.jsonl [options of predict.py]
# Environment: GPUS (default 8), GPUS_PER_NODE (GPUS, at most 8),
# CPUS_PER_TASK (5), SRUN_ARGS (further words for srun). For PYTHON see
# launch.sh.
set -euo pipefail
. "$(dirname "$0")/launch.sh"
need 4 "$0 PARTITION JOB_NAME CONFIG CHECKPOINT [options of predict.py]" "$@"
run_slurm "$1" "$2" "$ROOT/tools/predict.py" --config "$3" --checkpoint "$4" \
    "${@:5}"

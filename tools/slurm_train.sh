#!/usr/bin/env bash
# Train as a Slurm job:
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# Environment: GPUS (default 8), GPUS_PER_NODE (GPUS, at most 8),
# CPUS_PER_TASK (5), SRUN_ARGS (further words for srun). For PYTHON see
# launch.sh.
set -euo pipefail
. "$(dirname "$0")/launch.sh"
need 3 "$0 PARTITION JOB_NAME CONFIG [options of train.py]" "$@"
run_slurm "$1" "$2" "$ROOT/tools/train.py" "${@:3}"

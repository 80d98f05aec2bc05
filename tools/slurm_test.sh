#!/usr/bin/env bash
# Test as a Slurm job:
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options]
# where the options are those of test.py. Environment: GPUS (default 8),
# GPUS_PER_NODE (GPUS, at most 8), CPUS_PER_TASK (5), SRUN_ARGS (further words
# for srun). For PYTHON see launch.sh.
set -euo pipefail
. "$(dirname "$0")/launch.sh"
need 4 "$0 PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]" "$@"
run_slurm "$1" "$2" "$ROOT/tools/test.py" "${@:3}"

#!/usr/bin/env bash
# The main job on the embedded data set, from nothing: environment, videos,
# training of ATA and its twin with plain temporal attention, multi-view test,
# prediction on one file, a table.
#
#   bash tools/quickstart.sh                  one seed
#   bash tools/quickstart.sh --seeds 0 1 2    three seeds
#   bash tools/quickstart.sh --fast           every step, too short to learn
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup_env.sh

# The runs share the cores; each of them has little to gain from more.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python tools/quickstart.py "$@"

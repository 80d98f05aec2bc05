#!/usr/bin/env bash
# Quick start on generated videos of camera motion: environment, videos,
# training of plain temporal attention, of ATA, and of refined ATA,
# multi-view test, prediction and visualization of one file, and a table of
# accuracies by the speed of the camera.
#
#   bash tools/quickstart.sh                  one seed
#   bash tools/quickstart.sh --seeds 0 1 2    three seeds
#   bash tools/quickstart.sh --fast           every step, too short to learn
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup_env.sh

# The runs share the cores, and more threads would hardly make one faster.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python tools/quickstart.py "$@"

#!/usr/bin/env bash
# Create .venv in the checkout, with ata_mm and the tested versions of what it
# needs. Nothing is done when it is already complete.
#
#   bash tools/setup_env.sh      create or update it
#   source tools/setup_env.sh    the same, and activate it

_ata_say() { echo "[setup_env] $*" >&2; }

# Print the first Python that is 3.8 or newer and can create environments.
_ata_find_python() {
    local python
    for python in python3.11 python3 python; do
        if "$python" -c 'import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    _ata_say 'no Python >= 3.8 with the venv module found; install' \
        'Python 3.11 (on Debian and Ubuntu with python3.11-venv).'
    return 1
}

_ata_create_venv() {
    local python
    python=$(_ata_find_python) || return
    _ata_say "creating .venv with $python ($("$python" --version 2>&1))"
    rm -rf .venv
    "$python" -m venv .venv
}

# mmcv and mmcv-lite share one folder: a full mmcv put into .venv is kept.
_ata_extras() {
    if .venv/bin/python -m pip show --quiet mmcv 2>/dev/null; then
        _ata_say 'keeping the installed mmcv, mmcv-lite is not needed'
        echo tests
    else
        echo lite,tests
    fi
}

_ata_install() {
    local constraints=(-c constraints.txt)
    if ! .venv/bin/python -c 'import sys
sys.exit(sys.version_info < (3, 11))'; then
        _ata_say 'the tested versions need Python 3.11, taking what pip finds'
        constraints=()
    fi
    _ata_say 'installing ata_mm and its dependencies (minutes, first time)'
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        ${constraints[@]+"${constraints[@]}"} -e ".[$(_ata_extras)]"
}

# The stamp is written last, so that an interrupted run is taken up again. The
# folder is part of it, as an environment cannot be moved.
_ata_stamp() { { pwd && cat setup.cfg constraints.txt; } | cksum; }

_ata_setup_env() (
    cd "$1" || exit
    stamp=$(_ata_stamp)
    if [ "$stamp" = "$(cat .venv/stamp 2>/dev/null)" ] &&
        .venv/bin/python -c '' 2>/dev/null; then
        exit 0
    fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        _ata_create_venv || exit
    fi
    _ata_install || exit
    echo "$stamp" >.venv/stamp
    _ata_say "ready: $PWD/.venv"
)

_ata_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_ata_setup_env "$_ata_root" && source "$_ata_root/.venv/bin/activate"

#!/usr/bin/env bash
# Create .venv in the checkout, with ata_mm and the tested versions of its
# dependencies. An environment that is complete is not changed.
#
#   bash tools/setup_env.sh                    create or update it
#   source tools/setup_env.sh                  the same, and activate it
#   bash tools/setup_env.sh --integrations     .venv-integrations instead: with
#                                              timm, mmpretrain, torchvision,
#                                              torchcodec, scikit-image and
#                                              scikit-learn, and a torch that
#                                              they support

if [ "${1:-}" = --integrations ]; then
    _ata_venv=.venv-integrations
    _ata_constraints=constraints-integrations.txt
    _ata_more=,timm,torchvision,mmpretrain,routes,torchcodec,transformers
else
    _ata_venv=.venv
    _ata_constraints=constraints.txt
    _ata_more=,dev,export
fi

_ata_say() { echo "[setup_env] $*" >&2; }

# Print the first Python that is 3.10 or newer and can create environments.
_ata_find_python() {
    local python
    for python in python3.11 python3 python; do
        if "$python" -c 'import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    _ata_say 'no Python >= 3.10 with the venv module found; install' \
        'Python 3.11 (on Debian and Ubuntu with python3.11-venv).'
    return 1
}

_ata_create_venv() {
    local python
    python=$(_ata_find_python) || return
    _ata_say "creating $_ata_venv with $python ($("$python" --version 2>&1))"
    rm -rf "$_ata_venv"
    "$python" -m venv "$_ata_venv"
}

# mmcv and mmcv-lite share one folder: a full mmcv put into it is kept.
_ata_extras() {
    if "$_ata_venv/bin/python" -m pip show --quiet mmcv 2>/dev/null; then
        _ata_say 'keeping the installed mmcv, mmcv-lite is not needed'
        echo "tests,browser$_ata_more"
    else
        echo "lite,tests,browser$_ata_more"
    fi
}

_ata_install() {
    local constraints=(-c "$_ata_constraints")
    if ! "$_ata_venv/bin/python" -c 'import sys
sys.exit(sys.version_info < (3, 11))'; then
        _ata_say 'the tested versions need Python 3.11; installing the newest ones'
        constraints=()
    fi
    _ata_say 'installing ata_mm and its dependencies (minutes, first time)'
    "$_ata_venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        ${constraints[@]+"${constraints[@]}"} -e ".[$(_ata_extras)]"
}

# The stamp is written last: an interrupted installation is repeated. The folder
# is part of it, since an environment cannot be moved.
_ata_stamp() { { pwd && cat setup.cfg "$_ata_constraints"; } | cksum; }

_ata_setup_env() (
    cd "$1" || exit
    stamp=$(_ata_stamp)
    if [ "$stamp" = "$(cat "$_ata_venv/stamp" 2>/dev/null)" ] &&
        "$_ata_venv/bin/python" -c '' 2>/dev/null; then
        exit 0
    fi
    if ! "$_ata_venv/bin/python" -c '' 2>/dev/null; then
        _ata_create_venv || exit
    elif ! "$_ata_venv/bin/python" -m pip --version >/dev/null 2>&1 &&
        ! "$_ata_venv/bin/python" -m ensurepip >/dev/null 2>&1; then
        _ata_say "expected pip in $_ata_venv, which cannot be installed:" \
            'remove the folder, or install pip into it, and start again'
        exit 1
    fi
    _ata_install || exit
    echo "$stamp" >"$_ata_venv/stamp"
    _ata_say "ready: $PWD/$_ata_venv"
)

_ata_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_ata_setup_env "$_ata_root" && source "$_ata_root/$_ata_venv/bin/activate"

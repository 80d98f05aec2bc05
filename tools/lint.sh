#!/usr/bin/env bash
# Check the sources and build the documentation, in .venv, which is created
# first if it is missing. All checks run; the exit status is 1 if one of them fails.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup_env.sh

failed=()

# check COMMAND...: run it under a heading, and record a failure.
check() {
    echo "== $*"
    "$@" || failed+=("$*")
}

check ruff check --output-format concise
check ruff format --check --output-format concise
check mypy
# -E: pages that have not changed are read again, with their warnings.
check sphinx-build -E -q -W --keep-going -b html docs docs/_build/html

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi

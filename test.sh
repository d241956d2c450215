#!/bin/sh
# Makes the virtual environment where it is missing, then runs the tests: ./test.sh [--all] [options of pytest]
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
. "$root/deploy/venv.sh"
ensure_venv "[dev,clients]"

cd "$root"
unset PYTHONDONTWRITEBYTECODE # each of the thousand processes that tests start would compile us anew
exec .venv/bin/python -m pytest --numprocesses auto --dist loadgroup "$@"

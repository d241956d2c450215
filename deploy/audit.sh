#!/bin/sh
# Looks for known holes in what deploy/constraints.txt pins. Ends with 0 only where every package was looked up and none
# has one: what could not be looked up, without a network say, is a failure too. `PIP_AUDIT` names another pip-audit.
set -eu
here=$(dirname "$0")
exec "${PIP_AUDIT:-pip-audit}" --strict --require-hashes --disable-pip --requirement "${1:-$here/constraints.txt}"

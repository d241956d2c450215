#!/bin/sh
# Writes deploy/constraints.txt anew: what oaiproxy needs at run time, each at one version, with the hashes of its files.
#   pip install uv && deploy/constrain.sh
set -eu
cd "$(dirname "$0")/.."
uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet --extra aws --extra gcp \
    --custom-compile-command deploy/constrain.sh --default-index https://pypi.org/simple \
    --output-file deploy/constraints.txt setup.cfg

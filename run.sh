#!/bin/sh
# Makes the virtual environment where it is missing, then starts the proxy: ./run.sh [options of `oaiproxy serve`]
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
. "$root/deploy/venv.sh"
ensure_venv ""

# From any directory: ours is the configuration unless another is named.
for argument in "$@"; do
    case $argument in
    --config | --config=* | -h | --help) exec "$root/.venv/bin/oaiproxy" serve "$@" ;;
    esac
done
exec "$root/.venv/bin/oaiproxy" serve --config "$root/config.yaml" "$@"

# Makes or renews the virtual environment .venv; sourced by run.sh and test.sh, which set `root`.
# shellcheck shell=sh disable=SC2154

say() { printf 'oaiproxy: %s\n' "$*" >&2; }

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        # By running it, since a name on the path may be a shim for a version that is not there.
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    say "needs Python 3.11 or newer with the venv module, and found none"
    say "install one (on Debian and Ubuntu: python3 and python3-venv), or name it: PYTHON=/path/to/python $0"
    return 1
}

# The place is part of the state: an environment that was moved or copied along with its tree does not work.
wanted_state() { printf '%s %s\n' "$(cat "$root/pyproject.toml" "$root/setup.cfg" | cksum)" "$root"; }

is_ready() {
    [ -x "$root/.venv/bin/python" ] && [ "$(cat "$root/.venv/ready$1" 2>/dev/null)" = "$(wanted_state)" ]
}

take_lock() {
    mkdir -p "$root/.venv"
    # A symbolic link that names the owner comes into being at once, name and all.
    until ln -s $$ "$root/.venv/lock" 2>/dev/null; do
        owner=$(readlink "$root/.venv/lock") || owner=0
        [ "$owner" = 0 ] || kill -0 "$owner" 2>/dev/null || rm -f "$root/.venv/lock" # left behind by a run that was killed
        sleep 1
    done
    trap 'rm -f "$root/.venv/lock"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

make_venv() {
    if ! "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || return 1
        say "making .venv with $("$python" --version), this once"
        rm -rf "$root/.venv/bin" "$root/.venv/include" "$root/.venv/lib" "$root/.venv/lib64" "$root/.venv/pyvenv.cfg"
        "$python" -m venv "$root/.venv" || return 1
    fi
    say "installing oaiproxy$1 and what it needs into .venv"
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root$1" || {
        say "could not install: see above; the next run tries again"
        return 1
    }
}

# ensure_venv "" installs the project, ensure_venv "[dev]" what its tests need too. Silent when nothing is to do.
ensure_venv() {
    is_ready "$1" && return
    take_lock
    if ! is_ready "$1"; then # else another run has just made it
        make_venv "$1" || exit 1
        wanted_state >"$root/.venv/ready"
        wanted_state >"$root/.venv/ready$1"
    fi
    rm -f "$root/.venv/lock"
    trap - EXIT INT TERM
}

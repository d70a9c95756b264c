# Sourced by the other scripts. Defines `root`, `venv` and `set_up EXTRA`; the environment is made once and
# found current by a stamp afterwards. PYTHON names another interpreter, GLACMB_VENV another folder.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${GLACMB_VENV:-$root/.venv}
mark=.glacmb_grid-environment
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV  # nothing from outside may shadow the environment

fail() { echo "error: $*" >&2; exit 1; }

# Prints the version of the interpreter "$1" where it runs and is one of ours. A name proves nothing: run it.
python_version() {
    "$1" -c 'import sys
if not (3, 11) <= sys.version_info[:2] < (3, 14): sys.exit(1)
print(*sys.version_info[:3], sep=".")' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        version=$(python_version "$PYTHON") || fail "PYTHON=$PYTHON does not run or is not Python 3.11, 3.12 or 3.13"
        python=$PYTHON
        return
    fi
    for python in python3 python3.13 python3.12 python3.11; do
        if version=$(python_version "$python"); then return; fi
    done
    fail "no Python 3.11, 3.12 or 3.13 found; install one or set PYTHON to its path"
}

# The stamp tells what the environment was made of (`key`) and with which EXTRA; dev includes run.
is_made() { [ -x "$venv/bin/python" ] && [ "$(sed -n 1p "$venv/.stamp" 2>/dev/null)" = "$key" ]; }
is_current() { is_made && case $(sed -n 2p "$venv/.stamp") in "$1" | dev) true ;; *) false ;; esac; }

# An environment of ours carries a mark; nothing else is ever emptied.
require_own() {
    if [ -L "$venv" ] || { [ -e "$venv" ] && [ ! -d "$venv" ]; }; then
        fail "$venv is no folder; name another one by GLACMB_VENV"
    fi
    if [ ! -d "$venv" ] || [ -f "$venv/$mark" ]; then return; fi
    if head -n 1 "$venv/.stamp" 2>/dev/null | grep -Eq '^3\.1[123]\.[0-9]+ [0-9]+ [0-9]+ /'; then return; fi # of earlier versions
    if [ -n "$(ls -A "$venv")" ]; then
        fail "$venv holds something that these scripts did not make (no $mark in it): move it away, or name a new" \
            "folder by GLACMB_VENV=/path; nothing was touched"
    fi
}

# uv installs in seconds what pip does in minutes. Where the machine has none, the environment gets its own.
make_venv() {
    find "$venv" -mindepth 1 -maxdepth 1 ! -name "$mark" -exec rm -rf {} +
    if uv --version >/dev/null 2>&1; then
        uv venv --quiet --allow-existing --python "$python" "$venv" || fail "uv could not make $venv"
        return
    fi
    "$python" -m venv "$venv" || fail "$python cannot make an environment: install its venv and pip, or install uv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv || fail "pip could not install uv"
}

# "run" takes along what reads and writes HDF4, where there are wheels of it: the demonstration's albedo is HDF4.
install_project() {
    if [ "$1" != run ]; then
        install_editable "$root[$1]" || fail "the installation failed; see above"
    elif ! install_editable "$root[modis]" --only-binary pyhdf; then
        echo "pyhdf cannot be installed here: HDF4 cannot be read, and the demonstration's albedo will be GeoTIFF" >&2
        install_editable "$root" || fail "the installation failed; see above"
    fi
}

install_editable() {
    local uv=uv
    if [ -x "$venv/bin/uv" ]; then uv=$venv/bin/uv; fi
    "$uv" pip install --quiet --python "$venv/bin/python" --constraint "$root/constraints.txt" \
        --build-constraint "$root/constraints.txt" "${@:2}" --editable "$1"
}

# set_up EXTRA: make the environment hold the project with its EXTRA ("run" is none). The stamp is written last,
# so whatever was interrupted is made anew; a lock, freed by the kernel, lets one caller work at a time.
set_up() {
    find_python
    key="$version $(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum) $root"
    if is_current "$1"; then return; fi
    require_own
    mkdir -p "$venv" || fail "$venv cannot be made; name another folder by GLACMB_VENV"
    exec 9>>"$venv/$mark"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' # this shell keeps it: they share the open file
    if ! is_current "$1"; then
        echo "setting up $venv for $1 with Python $version (once; minutes on a slow connection)" >&2
        if ! is_made; then make_venv; fi
        rm -f "$venv/.stamp"
        install_project "$1"
        printf '%s\n' "$key" "$1" >"$venv/.stamp"
    fi
    exec 9>&-
}

#!/bin/sh
# Makes .venv with everything that the platform runs on and marks it finished. Safe to repeat: a
# finished environment whose lock has not changed is left alone.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "setup: $1" >&2; exit 1; }

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }

# the build back ends say it each in their own words
lacks_compiler() {
  grep -qE "command '[^']*(cc|\\+\\+|clang)[^']*' failed: No such file" "$log" && return
  grep -qiE 'gcc|g\+\+|clang|compiler' "$log" || return 1
  for name in cc gcc clang; do
    if command -v "$name" >/dev/null 2>&1; then return 1; fi
  done
}

mark=.venv/.finished
wanted=$(cat requirements/dev.txt requirements/setup.txt pyproject.toml | cksum)
if [ -f "$mark" ] && [ "$(cat "$mark")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

python=${PYTHON:-}
if [ -z "$python" ]; then
  for name in python3.13 python3.12 python3.11 python3.14 python3 python; do
    if fits "$name"; then python=$name; break; fi
  done
fi
if [ -z "$python" ] || ! fits "$python"; then
  here=$("${python:-python3}" --version 2>/dev/null || echo "no Python")
  fail "Python 3.11 to 3.14 is needed, and here is $here; install one (Debian: apt-get install python3 python3-venv), or name one: make setup PYTHON=/path/to/python3.11"
fi

if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
  fail "this Python cannot make virtual environments; install its venv package (Debian: apt-get install python3-venv)"
fi

echo "setup: making .venv with $("$python" --version); a minute or two of downloads"
rm -rf .venv
mkdir .venv
log=.venv/setup.log
if ! {
  "$python" -m venv .venv \
    && .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/setup.txt \
    && .venv/bin/uv pip install --python .venv/bin/python --require-hashes -r requirements/dev.txt \
    && .venv/bin/uv pip install --python .venv/bin/python --no-deps --editable .
} >"$log" 2>&1; then
  if lacks_compiler; then
    fail "a package has to be compiled, and there is no C compiler ($PWD/$log); install one (Debian: apt-get install build-essential), then: make setup"
  fi
  tail -n 20 "$log" >&2
  fail "the packages could not be installed; the reason stands above, and in $PWD/$log. Mend it, then: make setup"
fi
printf '%s' "$wanted" >"$mark"

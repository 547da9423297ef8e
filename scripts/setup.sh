#!/bin/sh
# Make .venv and install allmlp with the pinned, hashed versions of locks/.
#   scripts/setup.sh run    what training and predicting need
#   scripts/setup.sh dev    that, and the tools for tests and checks
# Does nothing when .venv already has it.
set -eu
cd "$(dirname "$0")/.."
what=${1:-run}
lock=locks/$what.txt
[ -f "$lock" ] || { echo "setup: there is no $lock; use run or dev" >&2; exit 2; }
# the machine's own certificates, so that a company's proxy works as it does for everything else
export UV_SYSTEM_CERTS=1
say() { echo "setup: $*" >&2; }

stamp=.venv/.allmlp-$what
now=$(cat "$lock" pyproject.toml | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && .venv/bin/python -c "" 2>/dev/null; then exit 0; fi

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null; }
python=
for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
  if command -v "$name" >/dev/null 2>&1 && fits "$name"; then python=$name; break; fi
done
if [ -z "$python" ] && ! command -v uv >/dev/null 2>&1; then
  say "no Python ≥ 3.11 was found"; say "hint: install one (Debian, Ubuntu: apt install python3), or set PYTHON=/path/to/python3.12"
  exit 2
fi

if [ ! -x .venv/bin/python ] || ! fits .venv/bin/python; then
  say "making .venv with $($python --version 2>&1)"
  if command -v uv >/dev/null 2>&1; then
    uv venv -q --clear ${python:+--python "$python"} .venv
  elif ! "$python" -m venv --clear .venv >/tmp/allmlp-venv.$$ 2>&1; then
    # Debian and Ubuntu keep venv's second half in a package of its own
    package=$("$python" -c 'import sys; print(f"python3.{sys.version_info[1]}-venv")')
    say "this Python cannot make environments; installing $package"
    as_root=; [ "$(id -u)" = 0 ] || as_root="sudo -n"
    if ! command -v apt-get >/dev/null || ! { $as_root apt-get -qq update && $as_root apt-get -qq install -y "$package"; } >/dev/null 2>&1; then
      cat /tmp/allmlp-venv.$$ >&2; rm -f /tmp/allmlp-venv.$$
      say "hint: apt install $package, as root, then again"
      exit 2
    fi
    "$python" -m venv --clear .venv
  fi
  rm -f /tmp/allmlp-venv.$$
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  .venv/bin/python -m pip install -q --disable-pip-version-check uv 2>/dev/null && uv=.venv/bin/uv
fi
say "installing $(grep -c '==' "$lock") pinned packages (torch and its libraries are several GB)"
if [ -n "$uv" ]; then
  "$uv" pip install -q --python .venv --require-hashes -r "$lock"
  "$uv" pip install -q --python .venv --no-deps -e .
else
  .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
fi
printf '%s' "$now" > "$stamp"
[ "$what" = dev ] && printf '%s' "$(cat locks/run.txt pyproject.toml | cksum)" > .venv/.allmlp-run
say "ready: .venv/bin/allmlp"

#!/bin/sh
# The tests with other versions than those of locks/, in an environment of its own below build/. Needs uv.
#   scripts/versions.sh lowest     the least that pyproject.toml allows, of what it names
#   scripts/versions.sh newest     the newest there is of everything
# More words are pytest's; without any, all fast tests run.
set -eu
cd "$(dirname "$0")/.."
which=${1:-}
case $which in
  lowest) how="--resolution lowest-direct" ;;
  newest) how=--upgrade ;;
  *) echo "versions: lowest or newest?" >&2; exit 2 ;;
esac
shift
command -v uv >/dev/null || { echo "versions: uv is missing" >&2; echo "hint: pip install uv" >&2; exit 2; }
export UV_SYSTEM_CERTS=1
place=build/versions
mkdir -p $place
# shellcheck disable=SC2086
uv pip compile -q $how --python-version 3.11 --no-header --no-annotate --extra test pyproject.toml -o "$place/$which.txt"
[ -x "$place/$which/bin/python" ] || uv venv -q --python 3.11 "$place/$which"
uv pip sync -q --python "$place/$which" "$place/$which.txt"
uv pip install -q --python "$place/$which" --no-deps -e .
exec "$place/$which/bin/python" -m pytest "$@"

#!/bin/sh
# From nothing to a trained and judged classifier, on the images that come with allmlp.
#   scripts/demo.sh [anything allmlp train takes, such as --train.epochs 1]
set -eu
cd "$(dirname "$0")/.."
run=${RUN:-runs/demo-$(date +%Y%m%d-%H%M%S)}
allmlp=.venv/bin/allmlp
step() { printf '\n> %s\n' "$*" >&2; "$@"; }
step $allmlp train --recipe demo --out "$run" "$@"
step $allmlp evaluate "$run"
step $allmlp predict "$run" examples
step $allmlp report "$run" >/dev/null
printf '\nThe report: %s\n' "$PWD/$run/report.html"

#!/usr/bin/env bash
# Installs the package into .venv, trains configs/synthetic.gin and draws a
# grid of samples and a page of it. Safe to run again: it resumes where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh export  # For the page.
run=runs/quickstart
configs=(--gin_config=configs/synthetic.gin)
# Half the time where the processor computes in bfloat16.
if grep -qs avx512_bf16 /proc/cpuinfo; then
  configs+=(--gin_config=configs/mixed_bfloat16.gin)
fi
.venv/bin/python -m sagan.train "${configs[@]}" --workdir="$run" "$@"
.venv/bin/python -m sagan.sample --workdir="$run" --out="$run/grid.png"
.venv/bin/python -m sagan.explore --workdir="$run" --out="$run/run.html"
echo "The grid: $PWD/$run/grid.png (real images: $PWD/$run/samples/real.png)"
echo "The run as a page, to open and to share: file://$PWD/$run/run.html"

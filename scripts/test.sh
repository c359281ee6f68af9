#!/usr/bin/env bash
# Lints and tests the project in an environment of its own: .venv.
# Safe to run again. Arguments go to pytest:  bash scripts/test.sh -k pointwise
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh dev
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .
# Two workers: most tests trace graphs, which takes one core.
exec .venv/bin/python -m pytest -q -n 2 --dist loadfile "$@"

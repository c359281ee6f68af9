# Sourced by the other scripts, in the project's root: makes .venv with the
# package in it. The argument names an extra of setup.py, or is empty.
find_python() {
  local name
  for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
        2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "Error: no Python 3.11, 3.12 or 3.13 found. Install one, or name it:" \
    "PYTHON=/path/to/python bash $0" >&2
  return 1
}

install_package() {
  local extras=$1 python stamp wanted
  python=$(find_python)
  # A stamp, so that a second run installs nothing unless setup.py changed.
  stamp=.venv/installed_${extras:-plain}
  wanted=$(cksum setup.py)
  if [[ -x .venv/bin/python && $(cat "$stamp" 2>/dev/null) == "$wanted" ]]; then
    return
  fi
  echo "Installing sagan into .venv (TensorFlow is a download of 600 MB) ..."
  if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    "$python" -m venv .venv
  fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -e ".${extras:+[$extras]}"
  echo "$wanted" > "$stamp"
}

install_package "$1"

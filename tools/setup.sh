#!/usr/bin/env bash
# Makes .venv with exactly the versions and hashes of requirements.lock, and installs what Debian must bring for them.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }
"$PYTHON" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 13)))' 2>/dev/null ||
  { say "Tanuki needs Python 3.11 or 3.12; '$PYTHON' is $("$PYTHON" --version 2>&1 || true). Name another one: make PYTHON=python3.11 …"; exit 1; }

wanted=()
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || wanted+=("python3-venv")
"$PYTHON" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || wanted+=("libgomp1")
if [ ${#wanted[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
  else
    say "Missing Debian packages: ${wanted[*]}. Install them first: sudo apt-get install ${wanted[*]}"
    exit 1
  fi
fi

[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
say "Installing the pinned packages (about two minutes the first time) …"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch .venv/ready

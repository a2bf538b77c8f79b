#!/bin/sh
# Makes .venv with locked packages. Needs Python 3.11 or newer with venv; installs those where it may.
set -eu
cd "$(dirname "$0")/.."

newest() { for python in python3.14 python3.13 python3.12 python3.11 python3; do
  if command -v "$python" >/dev/null && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
  then echo "$python"; return; fi; done; }

python=$(newest)
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "→ installing python3 and python3-venv"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv >/dev/null
  python=$(newest)
fi
if [ -z "$python" ]; then
  echo "error: Python 3.11 or newer with the venv module is missing" >&2
  echo "  hint: on Debian or Ubuntu: sudo apt-get install python3 python3-venv" >&2
  exit 1
fi

echo "→ Python packages into .venv ($("$python" --version))"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
# Start-up is half imports: without bytecode, of ours as well, every verb would pay them twice.
.venv/bin/python -m compileall -q toolkit
touch .venv/ready

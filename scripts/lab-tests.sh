#!/bin/sh
# Runs the tests that need the lab, one at a time: some take a service away for a while. They start the lab themselves
# and end what they started.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/pytest tests "$@" --durations=20 -v

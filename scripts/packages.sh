#!/bin/sh
# Has the named Debian packages installed: packages.sh COMMAND=PACKAGE… Installs them where it may, else says which.
set -eu
missing=
for pair in "$@"; do
  command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "→ installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  # The lists may be old or not there at all: only then are they fetched.
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
  exit 0
fi
echo "error: missing on this machine:$missing" >&2
echo "  hint: install them, on Debian or Ubuntu: sudo apt-get install$missing" >&2
exit 1

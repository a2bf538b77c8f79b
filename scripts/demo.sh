#!/bin/sh
# The main job on this machine alone: a bare lab VPS becomes a hardened Docker host that runs an example stack, is backed
# up, drilled, lost, and recovered onto another one.
set -eu
cd "$(dirname "$0")/.."
stack=$1
invoke=.venv/bin/invoke
began=$(date +%s)

passed() { echo "$(($(date +%s) - began)) s"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { say "$ invoke $*"; "$invoke" "$@"; }

if [ ! -f "examples/$stack/host.yml" ]; then
  echo "error: no example named $stack" >&2
  echo "  hint: make demo STACK=NAME, with a NAME of: $(cd examples && ls -d */host.yml | sed 's,/.*,,' | tr '\n' ' ')" >&2
  exit 10
fi

TOOLKIT_IDENTITY=$PWD/.lab/backup-identity TOOLKIT_DRILL_KEY=$PWD/.lab/drill-key
export TOOLKIT_IDENTITY TOOLKIT_DRILL_KEY
# Who signs a lab's reports is nobody that a team would believe.
[ -e backups/drill.keys ] || trap 'rm -f backups/drill.keys' EXIT

# Its host was lost and is another one now, with another key: the story begins anew, with nothing of that lab.
if [ -e backups/lab.head ]; then
  say "An earlier demo has left its lab, which goes first. Its images stay."
  run lab.down
fi
run lab.up --example "$stack"
run lab.publish --example "examples/$stack"
run lab.backups
run backup.init --host lab --create --fix
run provision --host lab
run deploy --host lab
run status --host lab
say "The stack runs on the lab host, $(passed) after the first line, and is given something to do."
"$invoke" ssh --host lab -- sh -s <"examples/$stack/work.sh"
say "Now it is backed up, and its host is lost."
run backup --host lab
run backup.trust --host lab
say "The backup is brought back on a third host, as a rehearsal: everything is loaded, counted and asked."
run drill --host lab --on lab
run lab.up --hosts 2 --example "$stack"
run lab.lose
run recover --host lab --to lab2
run status --host lab2
say "The stack runs again on another host, with its data, after $(passed) in all. What you would do on a real night:  invoke runbook --host lab"
echo "  the drill's report:  $(ls -t backups/reports/lab-*.html | head -1)"
echo "  look around:  invoke ssh --host lab2 · invoke logs --host lab2 · examples/$stack/README.md says what it can do"
echo "  switch it off and on again:  invoke lab.reboot --name vps2, and then  invoke status --host lab2"
echo "  take it all away:  invoke lab.down"

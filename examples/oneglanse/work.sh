#!/bin/sh
# Twelve events and four runs of the agent, through the stack's own door, on the host:
#   invoke ssh --host prod -- sh -s < examples/oneglanse/work.sh
set -eu
ask="curl --fail --silent --show-error --output /dev/null --max-time 20 --retry 5"
for number in $(seq 12); do
  $ask --json "{\"site\": \"example\", \"kind\": \"view\", \"path\": \"/$number\"}" http://127.0.0.1:3001/events
done
for number in $(seq 4); do
  $ask --json "{\"site\": \"site$number\"}" http://127.0.0.1:3001/runs
done
echo "12 events are kept and 4 runs are asked for; the agent does them"

#!/bin/sh
# Twelve tasks, through the stack's own door, on the host:
#   invoke ssh --host prod -- sh -s < examples/taskflow/work.sh
set -eu
ask="curl --fail --silent --show-error --output /dev/null --max-time 20 --retry 5 --insecure"
for number in $(seq 12); do
  $ask --json "{\"title\": \"task $number\"}" https://localhost/tasks
done
echo "12 tasks are posted; the workers do them"

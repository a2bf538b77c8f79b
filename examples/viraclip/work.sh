#!/bin/sh
# Three clips, through the stack's own door, on the host:
#   invoke ssh --host prod -- sh -s < examples/viraclip/work.sh
set -eu
ask="curl --fail --silent --show-error --output /dev/null --max-time 20 --retry 5"
for number in $(seq 3); do
  $ask --json "{\"title\": \"walk $number\", \"frames\": 24}" http://127.0.0.1:8000/clips
done
echo "3 clips are asked for; the worker draws them"

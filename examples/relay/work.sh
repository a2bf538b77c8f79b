#!/bin/sh
# Twelve messages, through the stack's own door, on the host:
#   invoke ssh --host prod -- sh -s < examples/relay/work.sh
set -eu
ask="curl --fail --silent --show-error --output /dev/null --max-time 20 --retry 5 --insecure"
for number in $(seq 12); do
  $ask --json "{\"to\": \"reader$number@example.com\", \"subject\": \"number $number\"}" https://localhost/api/messages
done
echo "12 messages are accepted; the workers send them"

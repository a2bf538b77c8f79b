#!/bin/sh
# The store listens on this container's loopback only: nginx is the way in for hosts, skopeo in here for the lab.
set -eu
cat >/etc/registry.yml <<YML
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
http:
  addr: 127.0.0.1:5001
  relativeurls: true
YML
docker-registry serve /etc/registry.yml &
store=$!
nginx -g 'daemon off;' &
door=$!
trap 'kill $store $door 2>/dev/null' TERM INT
# The container lives as long as both do, so that a half-dead registry shows as Exited and is started again.
while kill -0 $store 2>/dev/null && kill -0 $door 2>/dev/null; do sleep 1 & wait $! || true; done
kill $store $door 2>/dev/null || true

#!/bin/bash
# One monitor, one object store daemon, one gateway. Everything lives in /data, so a restart finds it again.
set -euo pipefail
export CEPH_CONF=/data/ceph.conf
as_root=(--setuser root --setgroup root)
mon='[v1:127.0.0.1:16789]'
running=

start() { "$@" & running="$running $!"; }
trap 'kill $running 2>/dev/null; wait; exit 0' TERM INT

configure() {
  # No cephx: the daemons talk on this container's loopback alone. Single copies: it is a lab.
  cat >$CEPH_CONF <<CONF
[global]
fsid = $1
mon host = $mon
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
mon allow pool size one = true
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
mon data = /data/mon
osd data = /data/osd
osd objectstore = bluestore
bluestore block size = 21474836480
osd memory target = 939524096
osd max object name len = 460
osd max object namespace len = 64
osd fast shutdown = true
run dir = /run/ceph
pid file = /run/ceph/\$name.pid
admin socket = /run/ceph/\$name.\$pid.asok
log file = /dev/null
ms bind msgr2 = false
public addr = 127.0.0.1
ms bind port min = 16800
ms bind port max = 16900
[client.rgw]
rgw frontends = beast tcp_nodelay=1 endpoint=0.0.0.0:8080 ssl_endpoint=0.0.0.0:8443 ssl_certificate=/etc/s3/server.crt ssl_private_key=/etc/s3/server.key
rgw lc debug interval = 10
CONF
}

create() {
  rm -rf /data/mon /data/osd /data/users
  mkdir -p /data/mon /data/osd
  mkdir -m 700 /data/users
  configure "$(cat /proc/sys/kernel/random/uuid)"
  monmaptool --create --clobber --fsid "$(sed -n 's/^fsid = //p' $CEPH_CONF)" --addv a "$mon" /data/monmap
  ceph-mon --mkfs -i a --monmap /data/monmap --keyring /dev/null "${as_root[@]}"
}

user() {
  # The gateway draws the keys itself, so they never appear among any command's arguments.
  [ -s "/data/users/$1.json" ] && return
  radosgw-admin -n client.rgw user create --uid "$1" --display-name "$1" >"/data/users/$1.draft"
  mv "/data/users/$1.draft" "/data/users/$1.json"
}

mkdir -p /run/ceph
rm -f /run/ready
[ -e /data/complete ] || create
start ceph-mon -f -i a "${as_root[@]}"
if [ ! -e /data/complete ]; then
  timeout 60 ceph osd create >/dev/null
  # Left to the daemon this races: its first words may precede the monitor map, and are refused ("wrong fsid").
  timeout 60 ceph osd crush add osd.0 1.0 root=default host=s3
  ceph-osd -i 0 --mkfs --osd-uuid "$(cat /proc/sys/kernel/random/uuid)" "${as_root[@]}"
else
  # After a hard kill the monitor takes the store for up, and the new one, with the same address and process id as the
  # old, for the old: it would wait for ever to be let in.
  timeout 60 ceph osd down 0 >/dev/null
fi
start ceph-osd -f -i 0 "${as_root[@]}"
start radosgw -f -n client.rgw "${as_root[@]}"
until curl --silent --output /dev/null http://127.0.0.1:8080/; do sleep 0.2; done
user operator
user host
touch /data/complete /run/ready
wait -n
kill $running 2>/dev/null

#!/bin/sh
# What a lab's host file asks for. Debian 12 takes Docker from the next release, and forgets where it had it from.
set -eu
export DEBIAN_FRONTEND=noninteractive
docker="docker.io docker-cli docker-compose"
. /etc/os-release
if [ "$VERSION_CODENAME" = bookworm ]; then
  mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 'Component: main' |
    sed -n 's/^bookworm //p' | head -n 1)
  echo "deb $mirror trixie main" >/etc/apt/sources.list.d/next.list
  printf 'Package: *\nPin: release n=trixie\nPin-Priority: 50\n\nPackage: %s\nPin: release n=trixie\nPin-Priority: 990\n' \
    "$docker" >/etc/apt/preferences.d/next
fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $docker unattended-upgrades systemd-timesyncd >/dev/null
apt-get clean
rm -f /etc/apt/sources.list.d/next.list /etc/apt/preferences.d/next
# Docker is started by who sets it up: from its first start on, nobody can look into a guest from outside.
systemctl disable docker.service docker.socket containerd.service

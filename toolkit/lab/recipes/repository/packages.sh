#!/bin/sh
# Debian's packages under Docker's names: Debian's own forbid those names beside them, so their content moves over.
# Two versions of the engine, so that a pin has something to choose from.
set -eu
pool=/srv/linux/debian/pool
work=$(mktemp -d)
mkdir -p $pool
cd "$work"
# apt drops its rights for downloads, and must be able to write here.
chmod 777 "$work"
apt-get download -qq docker.io docker-cli containerd docker-compose docker-buildx

package() { # Debian's name, Docker's name, versions
  dpkg-deb --raw-extract "$1"_*.deb "$1"
  sed -i \
    -e '/^\(Conflicts\|Breaks\|Replaces\|Provides\|Recommends\|Suggests\|Enhances\|Built-Using\|Static-Built-Using\|Source\): /d' \
    -e '/^Depends: /{s/containerd ([^)]*)/containerd.io/; s/containerd,/containerd.io,/; s/docker-cli\( ([^)]*)\)\?/docker-ce-cli/}' \
    -e "s/^Package: .*/Package: $2/" "$1/DEBIAN/control"
  source=$1 name=$2
  shift 2
  for version in "$@"; do
    sed -i "s/^Version: .*/Version: $version-1~debian.13~trixie/" "$source/DEBIAN/control"
    dpkg-deb -Zgzip -z1 --build "$source" "$pool/${name}_$(echo "$version" | tr -d :).deb" >/dev/null
  done
}

package docker.io docker-ce 5:27.5.1 5:28.5.2
package docker-cli docker-ce-cli 5:27.5.1 5:28.5.2
package containerd containerd.io 1.7.28
package docker-compose docker-compose-plugin 2.40.3
package docker-buildx docker-buildx-plugin 0.29.1
cd /
rm -r "$work"

#!/bin/sh
# Each container draws its own signing key, so a host that trusts one lab's repository trusts no other.
set -eu
cd /srv/linux/debian
export GNUPGHOME=/root/gnupg
dist=dists/trixie
index=$dist/stable/binary-$(dpkg --print-architecture)
if [ ! -e $dist/InRelease ]; then
  install -d -m 700 $GNUPGHOME
  gpg --batch --quiet --passphrase '' --quick-generate-key 'Lab repository' ed25519 sign never
  gpg --batch --armor --export >gpg
  mkdir -p "$index"
  apt-ftparchive packages pool >"$index/Packages"
  apt-ftparchive -o APT::FTPArchive::Release::Origin=Docker -o APT::FTPArchive::Release::Suite=trixie \
    -o APT::FTPArchive::Release::Codename=trixie -o APT::FTPArchive::Release::Components=stable \
    -o APT::FTPArchive::Release::Architectures="$(dpkg --print-architecture)" release $dist >/tmp/Release
  mv /tmp/Release $dist/Release
  gpg --batch --yes --clearsign --output $dist/InRelease $dist/Release
fi
cat >/etc/nginx/conf.d/repository.conf <<CONF
server { listen 80; root /srv; }
CONF
exec nginx -g 'daemon off;'

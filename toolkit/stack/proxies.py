"""Proxies beside a service that moved: those that know addresses only from their start are told to look again."""

from collections.abc import Collection

from toolkit.stack.manifest import Manifest
from toolkit.stack.site import Site
from toolkit.words.command import script

# nginx hands over to its new workers within this many seconds.
SETTLES = 1.0

# nginx resolves names when it reads its configuration: it has to read it again to see other containers. Whether a
# container is nginx is seen from its processes, whatever its image is called. Arguments are pairs: a container's id,
# and its first process.
_RELOAD = """
found=$(grep -lx nginx /proc/[0-9]*/comm 2>/dev/null)
while [ $# -gt 0 ]; do
  space=$(readlink "/proc/$2/ns/pid")
  for comm in $found; do
    [ "$(readlink "${comm%comm}ns/pid")" = "$space" ] || continue
    docker exec "$1" nginx -s reload >/dev/null 2>&1 && echo "$1"
    break
  done
  shift 2
done
"""


def reload(site: Site, manifest: Manifest, moved: Collection[str]) -> None:
    """Have every nginx that shares a network with services that moved read its configuration again, and wait for it."""
    networks = {network for name in moved for network in manifest.services[name].networks}
    beside = {name for name, one in manifest.services.items() if networks & set(one.networks)} - set(moved)
    running = [one for one in site.containers() if one.service in beside and one.status == "running"]
    words = [str(word) for one in running for word in (one.id, one.pid)]
    if words and site.host.run(script(_RELOAD, *words, called="reload nginx")).text.strip():
        site.clock.sleep(SETTLES)

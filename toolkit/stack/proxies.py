"""Proxies beside a service that moved: those that know addresses only from their start are told to look again."""

from collections.abc import Collection

from toolkit.stack.manifest import Manifest
from toolkit.stack.site import Site
from toolkit.words.command import script

# nginx resolves names when it reads its configuration: it has to read it again to see other containers. Whether a
# container is nginx is seen from its processes, whatever its image is called. It has done so once all of its workers
# from before are gone, or say in their title that they are shutting down; where a name does not resolve, or the machine
# is busy, it is told again. Arguments are pairs: a container's id, and its first process. Prints who did not, and why.
_RELOAD = """
titled() {
  for comm in $(grep -lx nginx /proc/[0-9]*/comm 2>/dev/null); do
    process=${comm%/comm}
    [ "$(readlink "$process/ns/pid")" = "$space" ] || continue
    case $(tr -d '\\0' <"$process/cmdline" 2>/dev/null) in $1) printf '%s ' "${process#/proc/}" ;; esac
  done
}
handed_over() {
  before=$(titled "nginx: worker process")
  # Told in vain, it is looked at once: one that has ended meanwhile resolves names when it starts.
  if said=$(timeout 30 docker exec "$1" nginx -s reload 2>&1); then looks=50; else looks=1; fi
  # Without workers it serves by itself, and its title tells nothing.
  [ -n "$before" ] || { sleep 1; [ $looks -gt 1 ]; return; }
  while [ $looks -gt 0 ]; do
    now=" $(titled "nginx: worker process")"; left=
    for one in $before; do case $now in *" $one "*) left=1 ;; esac; done
    [ -n "$left" ] || return 0
    looks=$((looks - 1)); sleep 0.1
  done
  return 1
}
while [ $# -gt 0 ]; do
  space=$(readlink "/proc/$2/ns/pid")
  if [ -n "$space" ] && [ -n "$(titled '*')" ]; then
    again=3
    until handed_over "$1"; do
      again=$((again - 1))
      [ $again -gt 0 ] || { printf '%s %s\\n' "$1" "$(printf '%s' "$said" | tail -n 1)"; break; }
      sleep 0.5
    done
  fi
  shift 2
done
"""


def reload(site: Site, manifest: Manifest, moved: Collection[str]) -> str:
    """Have every nginx that shares a network with services that moved read its configuration again, and wait for it.

    Returns which one did not, and what it said; nothing where all did.
    """
    networks = {network for name in moved for network in manifest.services[name].networks}
    beside = {name for name, one in manifest.services.items() if networks & set(one.networks)} - set(moved)
    running = [one for one in site.containers() if one.service in beside and one.status == "running"]
    words = [str(word) for one in running for word in (one.id, one.pid)]
    if not words:
        return ""
    told = site.host.run(script(_RELOAD, *words, called="reload nginx")).text
    names = {one.id: one.name for one in running}
    return "; ".join(
        f"{names[identity]} did not read its configuration again: {said or 'it said nothing'}"
        for identity, _, said in (line.partition(" ") for line in told.splitlines())
        if identity in names
    )

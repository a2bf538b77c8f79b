"""Stopping containers: as gently as they ask for, and with somebody told how long that still takes."""

from collections.abc import Sequence

from toolkit.stack.containers import Container
from toolkit.stack.site import Site
from toolkit.words.command import command, script
from toolkit.words.values import Duration

# Whoever stops within this many seconds is left to Compose; others are waited for in the open.
QUICK = 15.0

# A word every few seconds while `docker stop` waits for the containers, and its exit code at the end.
_STOP = """
docker stop "$@" >/dev/null & stop=$!
waited=0
while kill -0 "$stop" 2>/dev/null; do
  sleep 0.2; waited=$((waited + 1))
  [ $((waited % 25)) -ne 0 ] || echo "$((waited / 5))"
done
wait "$stop"
"""


def stop(site: Site, found: Sequence[Container]) -> None:
    """Stop containers side by side, each within its own grace period."""
    running = [one for one in found if one.status in ("running", "restarting", "paused")]
    if not running:
        return
    names, longest = ", ".join(sorted({one.service for one in running})), max(one.grace for one in running)

    def told(waited: str) -> None:
        left = Duration(max(0.0, longest - float(waited or 0)))
        site.listener.progress(float(waited or 0), longest, f"{names} may take another {left} to stop")

    site.host.run(script(_STOP, *(one.id for one in running), called=f"docker stop {names}"), follow=told)


def remove(site: Site, found: Sequence[Container]) -> None:
    """Stop containers and remove them; volumes stay."""
    if found:
        stop(site, found)
        site.host.run(command("docker", "rm", "--force", *(one.id for one in found)))

"""Time: the zone the machine shows, and a clock that is kept in time over the network."""

from collections.abc import Container, Iterator

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.machine import apt, systemd
from toolkit.words.command import script

# Whoever already keeps the time goes on doing so: apt would remove one for the other.
KEEPERS = {
    "chrony": "chrony.service",
    "ntpsec": "ntpsec.service",
    "openntpd": "openntpd.service",
    "systemd-timesyncd": "systemd-timesyncd.service",
}
USUAL = "systemd-timesyncd"

# Zones have several names (UTC, Etc/UTC, Zulu): what counts is the content. No file at all means UTC.
LOOK = """
if [ -e /etc/localtime ]; then
  cmp --silent /etc/localtime "/usr/share/zoneinfo/$1" && echo same
elif [ "$1" = UTC ]; then echo same; fi
exit 0
"""

# Long-running services keep the zone they were started in; cron's jobs are the ones people notice.
SET = """
[ -f "/usr/share/zoneinfo/$1" ] || { echo "there is no time zone $1 on this machine" >&2; exit 1; }
ln --symbolic --force --no-dereference "/usr/share/zoneinfo/$1" /etc/localtime || exit 1
[ ! -e /etc/timezone ] || echo "$1" >/etc/timezone
systemctl --quiet try-restart cron.service 2>/dev/null || true
"""


def in_zone(name: str) -> Fact[bool]:
    """Return the fact of whether the machine shows the time of this zone."""
    return Fact(f"time zone {name}", script(LOOK, name), lambda text: text.strip() == "same")


def keeper(installed: Container[str]) -> str:
    """Return the package that keeps the time, or the one that should."""
    return next((name for name in KEEPERS if name in installed), USUAL)


@operation
def zone(facts: Facts, name: str) -> Iterator[Change]:
    """Ensure the machine's time zone. Needs the package tzdata."""
    if not facts.get(in_zone(name)):
        yield Change(f"set the time zone to {name}", script(SET, name))


@operation
def synchronised(facts: Facts) -> Iterator[Change]:
    """Ensure that somebody keeps the clock in time, by the service that is there or by systemd's own."""
    # The usual one is asked about together with the packages: on most machines it is the answer.
    facts.need(apt.INSTALLED, systemd.state(KEEPERS[USUAL]))
    installed = facts.get(apt.INSTALLED)
    package = keeper(installed)
    facts.need(systemd.state(KEEPERS[package]))
    yield from apt.packages(package)(facts)
    yield from systemd.service(KEEPERS[package])(facts)

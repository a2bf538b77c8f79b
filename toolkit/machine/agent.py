"""The agent on the host: its release under `/opt/toolkit`, and the unit that brings secrets back before Docker starts.

A release is unpacked beside the others, has to say who it is, and only then becomes `current` by one rename. One that
is still there from before is not sent again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from toolkit.converge import Change, Fact, Facts, Fed, Operation, operation
from toolkit.machine import apt, systemd
from toolkit.machine.os import PYTHON_OF, SYSTEM
from toolkit.words.command import Command, script

FOLDER = "/opt/toolkit"
ENTRY = f"{FOLDER}/current/bin/agent"
UNIT = "toolkit-secrets.service"
WAITS = "toolkit-secrets"
SETTLE = "toolkit-settle.service"
KEEP = 2


class Release(Protocol):
    """A build of the agent: its name is cheap, its archive is not."""

    @property
    def name(self) -> str: ...

    @property
    def archive(self) -> bytes: ...


Builds = Callable[[str, str], Release]
"""From a Python version and an architecture to the build for them."""


@dataclass(frozen=True)
class Installed:
    """Which release is current, empty for none, and which ones are there whole."""

    current: str
    releases: tuple[str, ...]


def parse_installed(text: str) -> Installed:
    current, *releases = text.split("\n")
    return Installed(current.removeprefix("releases/"), tuple(filter(None, releases)))


# A release whose entry point is gone is not there.
LOOK = f"""
cd {FOLDER} 2>/dev/null || {{ echo; exit 0; }}
if [ -x current/bin/agent ]; then readlink current; else echo; fi
for entry in releases/*/bin/agent; do
  [ -x "$entry" ] || continue
  entry=${{entry%/bin/agent}}; echo "${{entry##*/}}"
done
"""
INSTALLED = Fact("installed agent", script(LOOK), parse_installed)

# $1 the release, $2 how many to keep. Bytecode is made here, once: root alone writes here, and start-up is half of it.
UNPACK = f"""
set -e
umask 022
mkdir -p {FOLDER}/releases
cd {FOLDER}/releases
# It went ahead, and is here.
[ ! -x "$1/bin/agent" ] || exit 0
rm -rf -- ".$1.draft" "$1"
mkdir -- ".$1.draft"
trap 'rm -rf -- ".$1.draft"' EXIT
tar --extract --gzip --no-same-owner --directory ".$1.draft" --file -
"$2" -I -S -m compileall -q ".$1.draft/lib" >&2
told=$(".$1.draft/bin/agent" version)
case $told in *"\\"$1\\""*) ;; *) echo "the new agent calls itself $told" >&2; exit 1 ;; esac
mv -T -- ".$1.draft" "$1"
"""
SWITCH = f"""
set -e
cd {FOLDER}
"releases/$1/bin/agent" version >/dev/null
touch -- "releases/$1"
ln -sfn -- "releases/$1" current.new
mv -fT -- current.new current
ls -1t releases | tail -n "+$(($2 + 1))" | while read -r old; do rm -rf -- "releases/$old"; done
"""

SECRETS = f"""\
[Unit]
Description=Secrets of deployed stacks, back in memory before Docker starts
Documentation=file:{FOLDER}
RequiresMountsFor=/var/lib/toolkit {FOLDER}
Before=docker.service
# Stopping it would stop Docker, which requires it.
RefuseManualStop=yes

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={ENTRY} secrets restore
UMask=0077
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""
# What a crash of the machine left of a deploy: the release before comes back, whole, or the new one is finished.
SETTLES = f"""\
[Unit]
Description=Deploys that a reboot cut off
Documentation=file:{FOLDER}
After=docker.service {UNIT}

[Service]
Type=oneshot
ExecStart={ENTRY} deploy settle
UMask=0077
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""
DOCKER_WAITS = f"""\
# A container that starts without its secrets gets directories in their place, or nothing: Docker waits.
[Unit]
Requires={UNIT}
After={UNIT}
"""


def operations(builds: Builds, *, docker: bool, others: Iterable[systemd.Wanted] = ()) -> list[Operation]:
    """Return what a host needs to work on its own. `others` are units that systemd is to read in the same go."""
    units = [systemd.Wanted(UNIT, SECRETS, enabled=True, restarts=False)]
    if docker:
        units.append(systemd.Wanted(SETTLE, SETTLES, enabled=True, restarts=False))
        units.append(systemd.Wanted("docker.service", DOCKER_WAITS, beside=WAITS))
    settled = [systemd.service(SETTLE, running=None)] if docker else []
    return [
        apt.packages("python3"),
        installed(builds),
        systemd.units(*units, *others),
        systemd.service(UNIT),
        *settled,
    ]


@operation
def installed(facts: Facts, builds: Builds) -> Iterator[Change]:
    """Ensure that the agent of this very toolkit is the current one."""
    facts.need(SYSTEM, INSTALLED)
    release = builds(python(facts), facts.get(SYSTEM).architecture)
    if facts.get(INSTALLED).current == release.name:
        return
    yield from unpacked(builds)(facts)
    yield Change(f"switch to agent {release.name}", script(SWITCH, release.name, KEEP, called="switch to the agent"))


@operation
def unpacked(facts: Facts, builds: Builds) -> Iterator[Change]:
    """Ensure that a release is there beside the current one, which stays what it is: for work that passes by."""
    facts.need(SYSTEM, INSTALLED)
    version = python(facts)
    release = builds(version, facts.get(SYSTEM).architecture)
    if release.name not in facts.get(INSTALLED).releases:
        yield Change(f"unpack agent {release.name}", Fed(unpack(release.name, version), lambda: release.archive))


def python(facts: Facts) -> str:
    """Return the version of Python that the host has, or will have by the time it needs one."""
    system = facts.get(SYSTEM)
    return ".".join(map(str, system.python or PYTHON_OF[system.name, system.version]))


def unpack(name: str, version: str) -> Command:
    """Return the command that unpacks a release from its standard input."""
    return script(UNPACK, name, f"python{version}", called="unpack the agent")

"""The agent on a real host: no package index there, secrets in memory, and a reboot with and without holes."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from toolkit.config.load import load
from toolkit.config.models import Docker, HostFile, Machine
from toolkit.converge import Facts, Operation, Outcome, apply, plan
from toolkit.crypto import tags
from toolkit.host import File, Host
from toolkit.host.connect import connect
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.machine import agent as machine
from toolkit.machine import docker
from toolkit.vault.delivery import Delivery, Entry
from toolkit.words.command import command, script
from toolkit.words.errors import HostError
from toolkit.words.report import Silent
from toolkit.words.values import Secret
from toolkit.workflows import agent, wheelhouse
from toolkit.workflows.wheelhouse import Release

pytestmark = pytest.mark.lab

KEY = b"a7" * 32


def operations(host_file: HostFile, builds: Callable[[str, str], Release] = wheelhouse.release) -> list[Operation]:
    return [*machine.operations(builds, docker=True), *docker.operations(host_file)]


class Guest:
    """A host of the lab with Docker and the agent, and a connection that survives reboots."""

    def __init__(self, lab: Lab, vps: Vps) -> None:
        self.lab, self.vps = lab, vps
        self.file = replace(load(lab.host_file(vps.name)), machine=Machine(docker=Docker(source="distro")))
        self.host: Host = connect(self.file)

    def apply(self, builds: Callable[[str, str], Release] = wheelhouse.release) -> Outcome:
        return apply(Facts(self.host), operations(self.file, builds), Silent())

    def reboot(self) -> None:
        self.host.close()
        self.lab.reboot(self.vps.name)
        self.host = connect(self.file)
        # sshd answers before the last unit has started, or has been told that it will not.
        self.says("timeout 120 systemctl is-system-running --wait")

    def says(self, text: str) -> str:
        return self.host.run(script(text), check=False).text.strip()

    def put(self, values: dict[str, bytes], keep: dict[str, bytes] | None = None) -> dict:
        entries = tuple(
            Entry(name, tags.tag(KEY, name, value), 0o400, 1000, 1000, len(value)) for name, value in values.items()
        )
        kept = frozenset(tags.tag(KEY, name, value) for name, value in (keep or {}).items())
        return agent.put(self.host, Delivery("shop", "r1", entries, kept), [Secret(value) for value in values.values()])

    def path(self, name: str, value: bytes) -> str:
        return f"/run/secrets/shop/{name}-{tags.tag(KEY, name, value)}"


@pytest.fixture
def guest(lab: Lab, vps: Vps) -> Iterator[Guest]:
    guest = Guest(lab, vps)
    guest.apply()
    guest.host.send([File("/var/lib/toolkit/key", Secret(KEY), 0o600)])
    yield guest
    guest.host.close()


def test_the_agent_from_a_bare_host_to_a_reboot_with_a_hole(guest: Guest) -> None:
    assert_installed(guest)
    assert_delivered_to_their_owner_alone(guest)
    assert_a_full_tmpfs_changes_nothing(guest)
    assert_back_after_a_reboot(guest)
    assert_docker_waits_for_a_hole_to_be_filled(guest)
    assert_upgrades_and_downgrades(guest)


def assert_installed(guest: Guest) -> None:
    again = plan(Facts(guest.host), operations(guest.file))
    assert (again.changes, again.round_trips) <= (0, 2)
    assert guest.says("systemctl is-active toolkit-secrets docker").split() == ["active", "active"]
    assert guest.says("stat -c '%a %U' /opt/toolkit/current/bin/agent") == "755 root"
    assert guest.says("systemctl stop toolkit-secrets; systemctl is-active docker") == "active"


def assert_delivered_to_their_owner_alone(guest: Guest) -> None:
    fifty = {f"secret{number}": b"value %d" % number for number in range(50)}
    receipt = guest.put(fifty)
    assert len(receipt["written"]) == 50
    assert receipt["in_memory"] == (guest.says("grep -c noswap /proc/mounts") != "0")
    place = guest.path("secret7", b"value 7")
    assert guest.says(f"stat -c '%a %u %g' {place}") == "400 1000 1000"
    assert guest.says(f"setpriv --reuid 1000 --clear-groups cat {place}") == "value 7"
    assert guest.says(f"setpriv --reuid 1001 --clear-groups cat {place}") == ""
    assert guest.says("findmnt -no FSTYPE /run/secrets") == "tmpfs"
    told = agent.listing(guest.host)
    assert [len(stack["files"]) for stack in told["stacks"]] == [50]
    assert told["stacks"][0]["holes"] == []


def assert_a_full_tmpfs_changes_nothing(guest: Guest) -> None:
    guest.put({"db": b"one"})
    before = guest.says("find /run/secrets /var/lib/toolkit/secrets -type f | sort | xargs sha256sum")
    guest.host.run(command("mount", "-o", "remount,size=64k", "/run/secrets"))
    with pytest.raises(HostError, match="No space left on device") as caught:
        guest.put({"db": b"two", "large": b"x" * 200_000})
    assert "nothing was changed" in caught.value.hint
    guest.host.run(command("mount", "-o", "remount,size=64m", "/run/secrets"))
    assert guest.says("find /run/secrets /var/lib/toolkit/secrets -type f | sort | xargs sha256sum") == before


def assert_back_after_a_reboot(guest: Guest) -> None:
    guest.put({"db": b"two"}, keep={"db": b"one"})
    guest.reboot()
    assert guest.says(f"cat {guest.path('db', b'one')} {guest.path('db', b'two')}") == "onetwo"
    assert guest.says("systemctl is-active toolkit-secrets docker").split() == ["active", "active"]
    order = guest.says("systemctl show --property=ActiveEnterTimestampMonotonic --value toolkit-secrets docker").split()
    assert int(order[0]) <= int(order[1])


def assert_docker_waits_for_a_hole_to_be_filled(guest: Guest) -> None:
    sealed = guest.path("db", b"two").replace("/run/secrets", "/var/lib/toolkit/secrets") + ".age"
    guest.host.run(command("truncate", "--size=-1", sealed))
    guest.reboot()
    assert guest.says("systemctl is-active toolkit-secrets docker").split() == ["failed", "inactive"]
    assert f"{sealed}: a damaged age file" in guest.says("journalctl -u toolkit-secrets -o cat")
    with pytest.raises(HostError, match="a damaged age file"):
        guest.apply()
    assert sealed in str(agent.listing(guest.host)["stacks"][0]["holes"])
    guest.put({"db": b"two"})
    guest.host.run(command("systemctl", "start", "toolkit-secrets", "docker"))
    assert plan(Facts(guest.host), operations(guest.file)).changes == 0


class Other(Release):
    """Another version of the agent."""

    @property
    def _entry(self) -> bytes:
        return super()._entry + b"# other\n"


def assert_upgrades_and_downgrades(guest: Guest) -> None:
    other = Other("3.13", "amd64")
    guest.apply(lambda _python, _architecture: other)
    with pytest.raises(HostError, match="is not the one of this toolkit") as caught:
        guest.put({"db": b"two"})
    assert caught.value.hint == f"invoke provision --host {guest.host.name}"
    back = guest.apply()
    assert [change.summary.split()[0] for step in back.steps for change in step.changes] == ["switch"]
    guest.put({"db": b"two"})
    assert len(guest.says("ls /opt/toolkit/releases").split()) == 2


def test_an_older_system_without_docker_gets_its_own_agent(lab: Lab, fresh_host: Callable[..., Vps]) -> None:
    host = connect(load(lab.host_file(fresh_host(os="debian12").name)))
    nothing = Delivery("shop", "r1", ())
    with pytest.raises(HostError, match="no answer from the agent") as caught:
        agent.put(host, nothing, [])
    assert "invoke provision" in caught.value.hint
    apply(Facts(host), machine.operations(wheelhouse.release, docker=False), Silent())
    host.send([File("/var/lib/toolkit/key", Secret(KEY), 0o600)])
    assert agent.put(host, nothing, [])["written"] == []
    assert agent.listing(host)["python"] == "3.11"
    host.close()

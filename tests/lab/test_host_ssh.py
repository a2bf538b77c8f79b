"""SSH to a real sshd: the host contract, every way to root, and every way it can be refused."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.host import HostContract
from toolkit.config.models import Connection
from toolkit.host.ssh import SshHost
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.link import Link
from toolkit.words.command import command, script
from toolkit.words.errors import Error, Unreachable, UntrustedHost
from toolkit.words.values import Secret

pytestmark = pytest.mark.lab

Reach = Callable[..., SshHost]
FOREIGN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqbVdWGCkXkpVPPo6UXNyB6HAOtU2gkw5vJqZ1kDqeE"


def nobody() -> Secret:
    raise AssertionError("no password is needed here")


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Vps]:
    yield lab.host("ssh")
    lab.remove("ssh")


@pytest.fixture
def reach(machine: Vps) -> Iterator[Reach]:
    """Connect to the machine, with some of its connection changed."""
    opened: list[SshHost] = []

    def connect(ask: Callable[[], Secret] = nobody, **changes: object) -> SshHost:
        settings = {
            "address": "127.0.0.1",
            "port": machine.port,
            "user": "admin",
            "identity": str(machine.identity),
            "host_key": machine.host_key,
        }
        connection = Connection.model_validate({**settings, **changes})
        opened.append(SshHost("box", connection, root=Path("/"), ask=ask))
        return opened[-1]

    yield connect
    for host in opened:
        host.close()


def accepted(machine: Vps) -> int:
    """Count the logins in sshd's own log."""
    words = ["docker", "exec", machine.container, "journalctl", "--unit=ssh", "--output=cat", "--no-pager"]
    log = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return log.count("Accepted publickey")


class TestSshHost(HostContract):
    @pytest.fixture
    def host(self, reach: Reach) -> SshHost:
        return reach()

    @pytest.fixture
    def folder(self, host: SshHost) -> str:
        return host.run(command("mktemp", "--directory")).text.strip()


def test_everything_a_run_does_travels_over_one_connection(reach: Reach, machine: Vps) -> None:
    before = accepted(machine)
    host = reach()
    for number in range(20):
        host.run(command("echo", number))
    host.open(command("true")).wait()
    assert accepted(machine) == before + 1


def test_commands_run_as_root_for_a_user_who_may_without_a_password(reach: Reach) -> None:
    assert reach().run(command("id", "--user", "--name")).text == "root\n"


def test_a_password_for_sudo_is_asked_once_and_reaches_no_command(reach: Reach, lab: Lab) -> None:
    asked: list[None] = []

    def password() -> Secret:
        asked.append(None)
        return lab.home.secret("operator-password")

    host = reach(password, user="operator")
    assert host.run(command("id", "--user", "--name")).text == "root\n"
    process = host.open(command("cat", stdin=b"mine"))
    process.finish()
    assert process.read()[0] == b"mine"
    assert len(asked) == 1


def test_a_wrong_sudo_password_is_told_at_once(reach: Reach) -> None:
    with pytest.raises(Unreachable, match="wrong sudo password") as caught:
        reach(lambda: Secret.of("wrong"), user="operator").run(command("true"))
    assert caught.value.exit_code == 13
    assert "sudo_password" in caught.value.hint


def test_a_user_without_sudo_is_told(reach: Reach) -> None:
    with pytest.raises(Unreachable, match="sudo"):
        reach(lambda: Secret.of("whatever"), user="guest").run(command("true"))


@pytest.mark.parametrize(
    ("changes", "message", "code"),
    [
        ({"port": 1}, "nobody listens there", 13),
        ({"address": "no-such-name.invalid"}, "this name has no address", 13),
        ({"user": "stranger"}, "the login was refused", 13),
        ({"identity": "/nowhere/id"}, "no identity file", 13),
        ({"host_key": None}, "this host's key is not known", 14),
        ({"host_key": FOREIGN_KEY}, "THE HOST KEY HAS CHANGED", 14),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_connection_that_fails_says_why_and_what_to_do(
    reach: Reach, machine: Vps, changes: dict[str, object], message: str, code: int
) -> None:
    before = accepted(machine)
    with pytest.raises(Error, match=message) as caught:
        reach(**changes).run(command("true"))
    assert caught.value.exit_code == code
    assert caught.value.hint
    assert accepted(machine) == before


def test_a_port_that_does_not_speak_ssh_is_told(reach: Reach, registry: str, lab: Lab) -> None:
    with pytest.raises(Unreachable, match="does not speak SSH"):
        reach(port=lab.port("registry", 5000)).run(command("true"))


def test_an_unknown_key_is_shown_so_that_it_can_be_pinned(reach: Reach, machine: Vps) -> None:
    with pytest.raises(UntrustedHost) as caught:
        reach(host_key=None).run(command("true"))
    assert machine.host_key in caught.value.hint


def test_a_cut_connection_is_told_and_the_next_one_works(reach: Reach, machine: Vps) -> None:
    with Link(machine.port) as link:
        host = reach(port=link.port)
        host.run(command("true"))
        link.cut()
        with pytest.raises(Unreachable):
            host.run(script("sleep 5"))
        again = reach(port=link.port)
        assert again.run(command("echo", "back")).text == "back\n"


def test_a_machine_is_reached_through_another(
    reach: Reach, lab: Lab, machine: Vps, fresh_host: Callable[[], Vps], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = fresh_host()
    home = tmp_path / ".ssh"
    home.mkdir(mode=0o700)
    # The jump host's own key and identity come from the user's ssh configuration, as for plain ssh.
    (home / "known_hosts").write_text(f"[127.0.0.1]:{machine.port} {machine.host_key}\n")
    (home / "config").write_text(f"Host *\n  IdentityFile {machine.identity}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    host = reach(address=behind.address, port=22, host_key=behind.host_key, jump=f"admin@127.0.0.1:{machine.port}")
    assert host.run(command("hostname")).text.strip() == behind.name

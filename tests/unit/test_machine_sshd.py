"""sshd: what is wanted, what it says it does, and the way from one to the other."""

import pytest

from toolkit.config.models import Sshd
from toolkit.converge import Change, Check
from toolkit.converge.fake import FakeFacts
from toolkit.machine import files, guard, sshd, systemd
from toolkit.words.errors import ConfigError

ACTIVE = """\
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no
ConditionResult=yes
ConditionTimestampMonotonic=17
"""
OFF = ACTIVE.replace("=active", "=inactive").replace("=enabled", "=disabled")
MAIN = "regular file|644|root|root\n# comment\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n"
# A part of what Debian 13 says, before and after.
STOCK = "port 22\nmaxauthtries 6\npermitrootlogin without-password\npasswordauthentication yes\nx11forwarding yes\n"
MEANT = "port 22\nmaxauthtries 3\npermitrootlogin no\npasswordauthentication no\nx11forwarding no\n"


class Machine:
    """A machine as recorded; each part can be told otherwise."""

    def __init__(self, spec: Sshd | None = None) -> None:
        self.facts, self.spec = FakeFacts(), spec or Sshd()
        self.ours = sshd.render(self.spec)
        for fact, output in (
            (sshd.EFFECTIVE, MEANT),
            (self.meant, MEANT),
            (files.text(sshd.MAIN), MAIN),
            (files.text(sshd.OURS), f"regular file|644|root|root\n{self.ours}"),
            (sshd.STRAY_FILES, ""),
            (guard.ARMED, ""),
            (systemd.state(sshd.SOCKET), OFF),
            (systemd.state(sshd.SERVICE), ACTIVE),
            (self.stale, ""),
        ):
            self.facts.tell(fact, output)

    @property
    def meant(self):
        return sshd.meant(self.ours)

    @property
    def stale(self):
        return systemd.stale(sshd.SERVICE, sshd.MAIN, sshd.FOLDER, sshd.OURS)

    def changes(self) -> list[Change]:
        return list(sshd.hardened(self.spec)(self.facts))

    def summaries(self) -> str:
        return "\n".join(change.summary for change in self.changes())


def test_a_machine_that_does_as_told_is_left_alone() -> None:
    assert Machine().changes() == []


def test_a_stock_machine_is_changed_inside_the_guard() -> None:
    machine = Machine()
    machine.facts.tell(sshd.EFFECTIVE, STOCK)
    machine.facts.tell(files.text(sshd.OURS), "absent\n")
    keep, arm, write, check, restart, proof, disarm = machine.changes()
    assert keep.summary.startswith("keep a copy")
    assert arm.summary.startswith("arm the way back")
    assert write.action.path == sshd.OURS
    assert check.action.argv == ("sshd", "-t")
    assert "PasswordAuthentication" in check.summary
    assert restart.summary.startswith("restart sshd")
    assert isinstance(proof.action, Check)
    assert disarm.summary.startswith("disarm")


def test_a_file_that_is_written_but_not_obeyed_is_seen() -> None:
    machine = Machine()
    machine.facts.tell(sshd.EFFECTIVE, MEANT.replace("passwordauthentication no", "passwordauthentication yes"))
    assert "check sshd's configuration: PasswordAuthentication" in machine.summaries()


def test_a_daemon_that_has_not_read_its_files_is_restarted() -> None:
    machine = Machine()
    machine.facts.tell(machine.stale, sshd.OURS)
    assert "restart sshd" in machine.summaries()


def test_a_stopped_daemon_is_started() -> None:
    machine = Machine()
    machine.facts.tell(systemd.state(sshd.SERVICE), OFF)
    assert "start ssh.service" in machine.summaries()


def test_without_sshd_there_is_nothing_to_harden() -> None:
    machine = Machine()
    machine.facts.tell(sshd.EFFECTIVE, "absent\n")
    machine.facts.tell(machine.meant, "absent\n")
    machine.facts.tell(files.text(sshd.MAIN), "absent\n")
    assert machine.changes() == []


def test_a_setting_sshd_does_not_know_is_a_fault_of_the_host_file() -> None:
    machine = Machine(Sshd(settings={"Foo": "bar"}))
    complaint = "/dev/stdin: line 11: Bad configuration option: Foo\n/dev/stdin: terminating, 1 bad options\nrefused\n"
    machine.facts.tell(machine.meant, complaint)
    with pytest.raises(ConfigError, match="line 11: Bad configuration option: Foo") as caught:
        machine.changes()
    assert "machine.sshd.settings" in caught.value.hint


def test_a_socket_that_listens_for_sshd_is_given_up() -> None:
    machine = Machine()
    machine.facts.tell(systemd.state(sshd.SOCKET), ACTIVE)
    assert "let sshd listen by itself" in machine.summaries()
    arm = machine.changes()[1]
    assert arm.action.argv[-1] == "socket"


def test_a_port_that_adds_up_is_silenced_and_allowed_users_elsewhere_stay() -> None:
    machine = Machine()
    machine.facts.tell(sshd.EFFECTIVE, f"{MEANT}port 2022\n")
    machine.facts.tell(sshd.STRAY_FILES, "/etc/ssh/sshd_config\n/etc/ssh/sshd_config.d/10-mine.conf\n")
    assert "silence Port in /etc/ssh/sshd_config, /etc/ssh/sshd_config.d/10-mine.conf" in machine.summaries()
    silence = next(change for change in machine.changes() if change.summary.startswith("silence"))
    assert "Port" in silence.action.argv


@pytest.mark.parametrize(("effective", "port"), [(MEANT, None), (MEANT.replace("port 22", "port 2022"), 22)])
def test_a_new_port_is_where_the_second_login_knocks(effective: str, port: int | None) -> None:
    knocked: list[int | None] = []

    class Door:
        def prove_login(self, port: int | None = None) -> None:
            knocked.append(port)

    machine = Machine()
    machine.facts.tell(sshd.EFFECTIVE, effective)
    machine.facts.tell(machine.stale, sshd.OURS)
    proof = next(change.action for change in machine.changes() if isinstance(change.action, Check))
    proof.prove(Door())
    assert knocked == [port]


def test_the_host_files_own_settings_beat_the_defaults_whatever_their_case() -> None:
    keywords = sshd.wanted(Sshd(settings={"logingracetime": "2m", "ClientAliveInterval": "60"}, allow_users=("a", "b")))
    assert keywords["LoginGraceTime"] == "2m"
    assert "logingracetime" not in keywords
    assert keywords["ClientAliveInterval"] == "60"
    assert keywords["AllowUsers"] == "a b"


def test_no_allowed_users_means_no_such_line() -> None:
    assert "AllowUsers" not in sshd.render(Sshd())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# c\n\nInclude /etc/ssh/sshd_config.d/*.conf\nPort 22\n", None),
        ("Port 22\n", "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n"),
        ("", "Include /etc/ssh/sshd_config.d/*.conf\n"),
        (
            "PasswordAuthentication yes\ninclude /etc/ssh/sshd_config.d/*.conf\n",
            "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\n",
        ),
    ],
)
def test_the_folder_of_additions_is_read_first_and_once(before: str, after: str | None) -> None:
    assert sshd.with_include(before) == (after or before)


def test_values_of_one_keyword_are_compared_in_any_order() -> None:
    assert sshd.parse_settings("allowusers b\nallowusers a\nport 22\n") == {"allowusers": ("a", "b"), "port": ("22",)}

"""Accounts, their keys and who may become root."""

import pytest

from toolkit.converge import Change
from toolkit.converge.fake import FakeFacts
from toolkit.host import File
from toolkit.machine import files, users

DEPLOY = "deploy:x:1001:1001::/home/deploy:/bin/bash\ndeploy\n"
KEY = "ssh-ed25519 AAAAC3Nz one@laptop"
OTHER = "ssh-ed25519 AAAAOTHER two@laptop"
FOLDER = "directory|700|deploy|deploy\n"
RULES = """\
Matching Defaults entries for admin on vps:
    env_reset, mail_badpass, secure_path=/usr/local/sbin\\:/usr/bin, use_pty

User admin may run the following commands on vps:
"""


@pytest.fixture
def facts() -> FakeFacts:
    facts = FakeFacts()
    facts.tell(users.account("deploy"), DEPLOY)
    facts.tell(users.LOGIN, "admin")
    facts.tell(files.text("/home/deploy/.ssh"), FOLDER)
    return facts


def authorized(facts: FakeFacts, found: str, *keys: str) -> list[Change]:
    facts.tell(files.text("/home/deploy/.ssh/authorized_keys"), found)
    return list(users.authorized("deploy", keys)(facts))


def holding(*lines: str) -> str:
    return "regular file|600|deploy|deploy\n" + "".join(f"{line}\n" for line in lines)


def test_an_account_is_created_once(facts) -> None:
    assert list(users.present("deploy")(facts)) == []
    facts.tell(users.account("new"), "")
    [change] = users.present("new")(facts)
    assert change.action.argv[0] == "useradd"
    assert change.action.argv[-1] == "new"


def test_exactly_the_given_keys_open_an_account(facts) -> None:
    [change] = authorized(facts, holding(KEY, OTHER), KEY)
    assert change.action.body.decode() == f"{users.HEADER}\n{KEY}\n"
    assert (change.action.mode, change.action.owner) == (0o600, "deploy")
    assert "-" + OTHER in change.diff
    assert authorized(facts, holding(users.HEADER, KEY), KEY) == []


def test_the_keys_of_the_account_we_came_in_with_are_only_added_to(facts) -> None:
    facts.tell(users.LOGIN, "deploy")
    [change] = authorized(facts, holding("# mine", OTHER), KEY)
    assert change.action.body.decode() == f"# mine\n{OTHER}\n{KEY}\n"
    assert authorized(facts, holding(OTHER, "ssh-ed25519 AAAAC3Nz under another comment"), KEY) == []


def test_keys_for_an_account_that_is_yet_to_come_are_planned(facts) -> None:
    facts.tell(users.account("new"), "")
    facts.tell(files.text("/home/new/.ssh"), "absent\n")
    facts.tell(files.text("/home/new/.ssh/authorized_keys"), "absent\n")
    folder, keys = users.authorized("new", [KEY])(facts)
    assert folder.summary == "make /home/new/.ssh/ as 0700 new:new"
    assert keys.action.path == "/home/new/.ssh/authorized_keys"


def test_keys_that_others_may_read_or_own_are_put_right(facts) -> None:
    loose = holding(users.HEADER, KEY).replace("600|deploy", "644|root")
    [change] = authorized(facts, loose, KEY)
    assert change.action == File(
        "/home/deploy/.ssh/authorized_keys", f"{users.HEADER}\n{KEY}\n".encode(), 0o600, "deploy", "deploy"
    )


@pytest.mark.parametrize(
    ("rules", "root"),
    [
        ("    (ALL) NOPASSWD: ALL\n", True),
        ("    (ALL : ALL) ALL\n    (ALL : ALL) NOPASSWD: ALL\n", True),
        ("    (ALL : ALL) NOPASSWD: ALL\n    (ALL : ALL) ALL\n", False),
        ("    (root) NOPASSWD: /usr/bin/apt\n", False),
        ("", False),
    ],
)
def test_the_last_rule_about_all_commands_decides(rules: str, root: bool) -> None:
    assert users.parse_rights(RULES + rules if rules else "") is root


def test_a_sudo_rule_is_checked_before_it_is_written() -> None:
    facts = FakeFacts()
    path = "/etc/sudoers.d/toolkit-j_doe"
    facts.tell(users.rights("j.doe"), "")
    facts.tell(files.text(path), "absent\n")
    check, write = users.sudo("j.doe", allowed=True)(facts)
    assert check.action.argv[0] == "visudo"
    assert check.action.stdin == write.action.content == b"j.doe ALL=(ALL:ALL) NOPASSWD:ALL\n"
    assert (write.action.path, write.action.mode) == (path, 0o440)


def test_a_rule_that_is_written_and_does_not_count_is_not_converged() -> None:
    facts = FakeFacts()
    facts.tell(users.rights("deploy"), RULES + "    (ALL : ALL) ALL\n")
    facts.tell(
        files.text("/etc/sudoers.d/toolkit-deploy"), "regular file|440|root|root\ndeploy ALL=(ALL:ALL) NOPASSWD:ALL\n"
    )
    assert len(list(users.sudo("deploy", allowed=True)(facts))) == 1
    facts.tell(users.rights("deploy"), RULES + "    (ALL : ALL) NOPASSWD: ALL\n")
    assert list(users.sudo("deploy", allowed=True)(facts)) == []


def test_without_sudo_our_rule_goes_and_nobody_elses() -> None:
    facts = FakeFacts()
    facts.tell(files.text("/etc/sudoers.d/toolkit-deploy"), "regular file|440|root|root\nx\n")
    [change] = users.sudo("deploy", allowed=False)(facts)
    assert change.action.argv == ("rm", "--force", "--", "/etc/sudoers.d/toolkit-deploy")

"""People's accounts: a login, the keys that open it, and root for those who may.

Nobody is removed who is not named here, and the keys of the account we come in with are only ever added to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.converge.changes import difference
from toolkit.host import File
from toolkit.machine import files
from toolkit.words.command import command, script

HEADER = "# Written by the toolkit from the host file: what is added here by hand is removed again."

# getent says 2 for nobody of that name.
ACCOUNT = 'getent passwd "$1" || { [ $? -eq 2 ]; exit; }; id -gn -- "$1"'
# `sudo -l` asks sudo itself; whom sudo does not know has no rights.
RIGHTS = 'sudo -n -l -U "$1" 2>/dev/null || true'

LOGIN = Fact("login user", script('printf %s "${SUDO_USER:-root}"'), str)


@dataclass(frozen=True)
class Account:
    """Where an account lives, and its first group."""

    home: str
    group: str


def parse_account(text: str) -> Account | None:
    """Read a line of passwd and one with the group's name; nothing stands for nobody."""
    if not text:
        return None
    entry, group = text.splitlines()
    return Account(entry.split(":")[5], group)


def account(name: str) -> Fact[Account | None]:
    """Return the fact of an account; None where there is none."""
    return Fact(f"account {name}", script(ACCOUNT, name), parse_account)


def parse_rights(text: str) -> bool:
    """Read `sudo -l -U`: whether all commands are allowed as root without a password. The last such rule decides."""
    rules = [line.partition(")")[2].strip() for line in text.splitlines() if line.startswith("    (")]
    about_all = [rule for rule in rules if rule.rpartition(":")[2].strip() == "ALL"]
    return bool(about_all) and about_all[-1].startswith("NOPASSWD")


def rights(name: str) -> Fact[bool]:
    """Return the fact of whether sudo lets this account become root without a password."""
    return Fact(f"sudo rights of {name}", script(RIGHTS, name), parse_rights)


@operation
def present(facts: Facts, name: str) -> Iterator[Change]:
    """Ensure an account with a home and a shell. It has no password, so only a key opens it."""
    if facts.get(account(name)) is None:
        make = command("useradd", "--create-home", "--user-group", "--shell", "/bin/bash", "--", name)
        yield Change(f"create the account {name}", make)


@operation
def authorized(facts: Facts, name: str, keys: Sequence[str]) -> Iterator[Change]:
    """Ensure that exactly these keys open an account; for the one we came in with, that these do as well."""
    facts.need(account(name), LOGIN)
    found = facts.get(account(name)) or Account(f"/home/{name}", name)
    folder, path = f"{found.home}/.ssh", f"{found.home}/.ssh/authorized_keys"
    facts.need(files.text(folder), files.text(path))
    yield from files.directory(folder, 0o700, name, found.group)(facts)
    entry = facts.get(files.text(path))
    before = entry.content if entry else None
    after = _added(before or "", keys) if facts.get(LOGIN) == name else _exactly(keys)
    if before != after or not entry or (entry.mode, entry.owner) != (0o600, name):
        wanted = File(path, after.encode(), 0o600, name, found.group)
        yield Change(f"write {path}", wanted, difference(before, after, path))


def _exactly(keys: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in (HEADER, *keys))


def _added(content: str, keys: Sequence[str]) -> str:
    # A key is its type and its body; the comment behind them is anybody's.
    known = {tuple(line.split()[:2]) for line in content.splitlines()}
    missing = [key for key in keys if tuple(key.split()[:2]) not in known]
    if not missing:
        return content
    return "\n".join([*content.splitlines(), *missing]) + "\n"


@operation
def sudo(facts: Facts, name: str, *, allowed: bool) -> Iterator[Change]:
    """Ensure that an account may become root without a password, or that it may not by our doing."""
    # sudo reads over files with a dot in their names.
    path = f"/etc/sudoers.d/toolkit-{name.replace('.', '_')}"
    if not allowed:
        yield from files.absent(path)(facts)
        return
    rule = f"{name} ALL=(ALL:ALL) NOPASSWD:ALL\n"
    facts.need(rights(name), files.text(path))
    changes = tuple(files.file(path, rule, mode=0o440)(facts))
    if changes:
        check = command("visudo", "--check", "--quiet", "--file=-", stdin=rule.encode())
        yield Change(f"check {path} before it counts", check)
        yield from changes
    elif not facts.get(rights(name)):
        # Written once more, it will not count any more than before: the run ends there and says so.
        yield Change(f"let {name} use sudo, against a later rule in /etc/sudoers.d", File(path, rule.encode(), 0o440))

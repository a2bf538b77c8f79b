"""Heal: a host that came back from a reboot with holes among its secrets, and so keeps Docker down, is helped up again.

The agent knows what belongs there and lacks values; the control side has the values. What the vault has changed since
is not delivered here: its tag is another, and the deploy that follows brings it.
"""

from collections.abc import Iterator
from typing import Any

from toolkit.crypto.tags import tag
from toolkit.stack.manifest import is_internal
from toolkit.vault.delivery import Delivery, Entry
from toolkit.words.command import script
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret
from toolkit.workflows import agent, delivery
from toolkit.workflows.attempt import Attempt

# Whoever asked Docker's socket meanwhile had systemd try again and again, until it gave up on the units: forgotten
# first, or it would refuse to start them now that they can.
START = """
units="toolkit-secrets.service docker.socket docker.service"
systemctl reset-failed $units 2>/dev/null
systemctl start $units
"""


def heal(attempt: Attempt, key: bytes) -> None:
    """Deliver again what is missing and start Docker. Raises SecretError for a value that nobody has any more."""
    attempt.listener.step("bring back secrets that the host lost at its last boot")
    told = agent.listing(attempt.host)
    for stack in told["stacks"]:
        if stack["stack"] == attempt.stack.name and stack["holes"]:
            _deliver(attempt, key, stack)
    attempt.host.run(script(START, called="systemctl start docker"))
    attempt.listener.done()


def _deliver(attempt: Attempt, key: bytes, stack: dict[str, Any]) -> None:
    pairs = dict(_current(attempt, key, stack["files"]))
    if lost := sorted({row["name"] for row in stack["files"]} - {entry.name for entry in pairs}):
        raise SecretError(
            f"{attempt.host.name}: {', '.join(lost)} changed in the vault since, and the host lost the value it had",
            hint="start Docker by hand (`systemctl start --job-mode=ignore-dependencies docker`) and deploy again",
        )
    # Older values may be among the holes, and one hole keeps Docker down: only what is known to be whole is kept.
    keep = frozenset(entry.tag for entry in pairs)
    agent.put(attempt.host, Delivery(attempt.stack.name, stack["release"], tuple(pairs), keep), list(pairs.values()))


def _current(attempt: Attempt, key: bytes, rows: list[dict[str, Any]]) -> Iterator[tuple[Entry, Secret]]:
    """Yield each secret whose value is still the one that the host had; of several tags of a name, that one."""
    env = {name: attempt.env_files[path] for path, name in attempt.env_names.items()}
    for row in rows:
        name = row["name"]
        if is_internal(name) and name not in env:
            continue
        value = delivery.content(env[name]) if name in env else attempt.values.secret(name)
        if tag(key, row["name"], value.reveal()) == row["tag"]:
            yield Entry(row["name"], row["tag"], int(row["mode"], 8), row["uid"], row["gid"], row["size"]), value

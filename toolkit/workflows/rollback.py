"""Rollback by hand: an earlier release, as it was: its images, its files, its secrets, through the same gate."""

from collections.abc import Mapping
from typing import Any

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.stack.request import ROLLBACK, Account, Request
from toolkit.words.clock import Clock
from toolkit.words.errors import ConfigError, HostError
from toolkit.words.report import Listener
from toolkit.workflows import origin, steering
from toolkit.workflows.attempt import Values, required
from toolkit.workflows.deploy import Deployed


def rollback(
    host_file: HostFile, host: Host, *, to: str, listener: Listener, clock: Clock, wait: bool = False
) -> Deployed:
    """Bring an earlier release up again, the one before the current where none is named.

    Raises ConfigError for a release that is not there, and whatever a deploy raises.
    """
    stack = required(host_file)
    told = steering.state(host, stack.name)
    target = _named(told, to) if to else _before(told)
    values = Values(host_file)
    # Only for images that somebody removed from the host: everything else is there.
    tokens = [(one.host, one.user, values.of(one.token)) for one in host_file.registries]
    accounts = tuple(Account(registry, user, len(token.reveal())) for registry, user, token in tokens)
    request = Request(ROLLBACK, stack.name, target, origin.who(), accounts=accounts)
    body = [token for _, _, token in tokens]
    following = steering.start(host, request, body, listener=listener, clock=clock, wait=wait)
    outcome, took = following.finish()
    moved = [move for move in outcome.moves if move.touches]
    return Deployed(host.name, stack.name, outcome.release, True, outcome.services, outcome.recreated, moved, took)


def _named(told: Mapping[str, Any], wanted: str) -> str:
    names = [one["id"] for one in told["releases"]]
    found = [name for name in names if name == wanted or name.startswith(wanted) or name.endswith(wanted)]
    if len(found) != 1:
        problem = f"{wanted} could be {', '.join(found)}" if found else f"there is no release {wanted}"
        raise ConfigError(problem, hint=f"there are: {', '.join(names) or 'none'}")
    return str(found[0])


def _before(told: Mapping[str, Any]) -> str:
    """Return the newest release older than the current one that once passed its gate."""
    for one in told["releases"]:
        if one["id"] < told["current"] and one["passed"]:
            return str(one["id"])
    raise HostError("there is no earlier release to go back to", hint="`invoke releases` lists those there are")

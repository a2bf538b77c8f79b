"""`invoke recover` and `invoke runbook`: a lost host comes back on another machine, and the page that says how."""

import os
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs import recover_shown as shown
from toolkit.verbs.face import host_file, listener, verb
from toolkit.words.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.config.models import Connection, HostFile
    from toolkit.workflows.backups import Backups

PENDING, INCOMPLETE = 2, 3


def _backups(described: "HostFile") -> "Backups":
    from toolkit.vault.identity import Keyring
    from toolkit.workflows.backups import Backups

    return Backups.of(described, Keyring(os.environ))


@verb(
    help={
        "host": "the host that is lost: the name of its file in hosts/, without .yml",
        "to": "the machine that takes its place: the name of another file in hosts/",
        "address": "or the machine's address; the rest is as the lost host's file says",
        "host_key": "with --address: the machine's public key",
        "snapshot": "which one: latest, its name, or its number",
        "plan": "show what would be done and reach no machine; exit code 2",
    }
)
def recover(
    _: Context,
    host: str = "",
    to: str = "",
    address: str = "",
    host_key: str = "",
    snapshot: str = "latest",
    plan: bool = False,
    json: bool = False,
) -> int:
    """Bring a lost host's stack up on a bare machine, with its data. Run it again where it was cut: it goes on."""
    from toolkit.host.connect import connect
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import recover as workflow

    lost = host_file(host)
    if bool(to) == bool(address):
        raise ConfigError("no machine named", hint="add --to NAME, a file in hosts/, or --address ADDRESS")
    if to == lost.name:
        raise ConfigError(f"{to} is the host that is lost", hint="name the machine that takes its place")
    described = workflow.described_as(lost, host_file(to) if to else None, _connection(lost, address, host_key))
    backups, told, clock = _backups(lost), listener(json), SystemClock()
    target = to or address
    if plan:
        shown.plan(workflow.plan(backups, target, snapshot, listener=told, clock=clock), json=json)
        return PENDING
    machine = connect(described)
    try:
        done = workflow.recover(backups, described, machine, target, snapshot, listener=told, clock=clock)
    finally:
        machine.close()
    shown.recovered(done, json=json)
    return INCOMPLETE if done.notes else 0


def _connection(lost: "HostFile", address: str, host_key: str) -> "Connection | None":
    """How the lost host was reached, with another address and key: neither of the lost machine's holds for it."""
    from toolkit.config.models import Connection

    if not address:
        return None
    known = {} if lost.connection == "local" else lost.connection.model_dump()
    try:
        return Connection.model_validate({**known, "address": address, "host_key": host_key or None})
    except ValueError as error:
        raise ConfigError(f"{address!r} with the key {host_key!r} names no machine", hint="correct them") from error


@verb(help={"out": "write it into this file, in place of printing it"})
def runbook(_: Context, host: str = "", out: str = "") -> None:
    """Write the page for the night on which this host is lost: names, commands, keys, and how long each takes."""
    from pathlib import Path

    from toolkit.faces import render
    from toolkit.workflows import runbook as workflow

    text = workflow.page(_backups(host_file(host)))
    if not out:
        render.say(text.rstrip("\n"))
        return
    Path(out).write_text(text)
    render.say(f"{out} is written; print it, and keep it where you look at three in the morning")

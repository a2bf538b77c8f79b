"""`invoke restore` and its kin: a stack's data put back on its host, what that replaced, and the way back."""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from toolkit.verbs import restore_shown as shown
from toolkit.verbs.face import connected, listener, verb
from toolkit.words.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.config.models import HostFile
    from toolkit.workflows.backups import Backups
    from toolkit.workflows.restoring import Plan

PENDING, INCOMPLETE = 2, 3
_KEPT = {"kept": "which one, as restore.kept names it; the newest by default"}


def _backups(described: "HostFile") -> "Backups":
    from toolkit.vault.identity import Keyring
    from toolkit.workflows.backups import Backups

    return Backups.of(described, Keyring(os.environ))


@verb(
    help={
        "snapshot": "which one: latest, its name, or its number",
        "source": "only this source, such as postgres/db; may be given again",
        "at": "a database as it was at this moment, such as 2026-11-28T03:00Z; UTC where it names no zone",
        "to": "a directory of the host, new or empty, in place of the stack",
        "path": "only this file or folder, such as volume/files/a.txt; with --to any path of the snapshot",
        "plan": "show what would be replaced and change nothing; exit code 2",
        "yes": "do not ask for the host's name",
    },
    iterable=["source"],
    default=True,
)
def restore(
    _: Context,
    host: str = "",
    snapshot: str = "latest",
    source: Iterable[str] | None = None,
    at: str = "",
    to: str = "",
    path: str = "",
    plan: bool = False,
    yes: bool = False,
    json: bool = False,
) -> int:
    """Put a stack's data back as a snapshot has it. What was there is kept; a failure puts it back."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import restoring as workflow
    from toolkit.workflows import restoring_moment as moments

    if path and not to and (source or not path.strip("/")):
        hint = "such as --path volume/files/a.txt, without --source; without --path, all of the stack comes back"
        raise ConfigError("--path names a source and what is in it", hint=hint)
    if at and (to or path or snapshot != "latest"):
        hint = "it chooses base and log by itself, and restores in place; leave the others out"
        raise ConfigError("--at goes with --source alone", hint=hint)
    told, clock, sources = listener(json), SystemClock(), tuple(source or ())
    if at:
        moments.parse(at, clock)
    with connected(host) as (described, machine):
        backups = _backups(described)
        if at:
            prepared = moments.prepare(backups, machine, at=at, sources=sources, listener=told, clock=clock)
        else:
            prepared = workflow.prepare(
                backups,
                machine,
                which=snapshot,
                sources=sources,
                path=path.strip("/"),
                to=to,
                listener=told,
                clock=clock,
            )
        if plan:
            shown.plan(prepared.plan, json=json)
            return PENDING
        if not to:
            _confirm(prepared.plan, yes=yes, json=json)
        outcome = workflow.run(prepared, listener=told, clock=clock)
    shown.outcome(outcome, json=json)
    return _code(outcome)


@verb()
def attach(_: Context, host: str = "", json: bool = False) -> int:
    """Follow the newest restore of a host's stack to its end."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import restoring as workflow

    with connected(host) as (described, machine):
        outcome = workflow.attach(described, machine, listener=listener(json), clock=SystemClock())
    shown.outcome(outcome, json=json)
    return _code(outcome)


@verb()
def kept(_: Context, host: str = "", json: bool = False) -> None:
    """List what restores replaced and kept, and how to go back."""
    from toolkit.workflows import restoring as workflow

    with connected(host) as (described, machine):
        shown.kept(described.name, workflow.kept(described, machine), json=json)


@verb(help=_KEPT | {"yes": "do not ask for the host's name"})
def undo(_: Context, host: str = "", kept: str = "", yes: bool = False, json: bool = False) -> int:
    """Go back to the data from before a restore. What the restore brought is kept in its place."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import restoring as workflow

    with connected(host) as (described, machine):
        _named(described.name, "this puts the data from before the restore back", yes=yes)
        outcome = workflow.undo(described, machine, kept, listener=listener(json), clock=SystemClock())
    shown.outcome(outcome, json=json)
    return _code(outcome)


@verb(help={"kept": "which one, as restore.kept names it; all of it by default", "yes": "do not ask"})
def forget(_: Context, host: str = "", kept: str = "", yes: bool = False, json: bool = False) -> int:
    """Remove what restores replaced and kept, for good."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import restoring as workflow

    with connected(host) as (described, machine):
        _named(described.name, "this removes the data from before the restore for good", yes=yes)
        outcome = workflow.forget(described, machine, kept, listener=listener(json), clock=SystemClock())
    shown.outcome(outcome, json=json)
    return _code(outcome)


def _confirm(plan: "Plan", *, yes: bool, json: bool) -> None:
    if not json:
        shown.plan(plan, json=False)
    _named(plan.host, f"this replaces the data of {plan.stack}", yes=yes)


def _named(host: str, what: str, *, yes: bool) -> None:
    """Ask for the host's name. Raises ConfigError where it is not given."""
    if yes:
        return
    said = input(f"{what} on {host}; type the host's name to go on: ").strip() if sys.stdin.isatty() else ""
    if said != host:
        raise ConfigError(f"{host}: nothing was changed: {said!r} is not this host's name", hint="or add --yes")


def _code(outcome: dict[str, Any]) -> int:
    return INCOMPLETE if outcome.get("notes") else 0

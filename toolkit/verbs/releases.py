"""Verbs about deploys past and present: `rollback`, `attach`, `releases`, `hold`, `release-hold`, `audit`."""

from collections.abc import Mapping
from typing import Any

from invoke.context import Context

from toolkit.verbs.face import connected, listener, verb
from toolkit.verbs.stack import WAIT, show
from toolkit.words.report import Table


@verb(help={"to": "id of the release, or its beginning; the healthy one before the current otherwise", **WAIT})
def rollback(_context: Context, host: str = "", to: str = "", wait: bool = False, json: bool = False) -> None:
    """Bring an earlier release up again: its images, its files, its secrets. Volumes stay as they are."""
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import rollback as workflow

    follower = listener(json)
    with connected(host) as (described, machine):
        result = workflow.rollback(described, machine, to=to, listener=follower, clock=SystemClock(), wait=wait)
    show(result, json=json)


@verb()
def attach(_context: Context, host: str = "") -> None:
    """Follow the newest deploy of a host's stack from its beginning, also one that has ended. Exits as it did."""
    from toolkit.faces import render
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import steering
    from toolkit.workflows.attempt import required

    follower = listener()
    with connected(host) as (described, machine):
        stack = required(described).name
        outcome, took = steering.attach(machine, stack, listener=follower, clock=SystemClock()).finish()
    render.say(f"{stack} on {described.name} is now {outcome.release}, after {took:.0f} s")


@verb()
def releases(_context: Context, host: str = "", json: bool = False) -> None:
    """List a stack's releases on its host, newest first: when, by whom, of which commit, and how they ended."""
    from toolkit.faces import data, render
    from toolkit.workflows import operate as workflow

    with connected(host) as (described, machine):
        told = workflow.releases(described, machine)
    if json:
        render.say(data.dumps({key: told[key] for key in ("current", "releases", "driver", "hold", "transaction")}))
        return
    rows = [_row(one, current=one["id"] == told["current"]) for one in told["releases"]]
    render.table(Table(("", "release", "made", "by", "commit", "last deploy", "why"), rows))
    if held := told["hold"]:
        render.say(f"on hold: {held['reason']} ({held['who']})")
    if driver := told["driver"]:
        render.say(f"at work: {driver['who']}, {driver['action']} of {driver['release']}, in {driver['phase']}")


def _row(one: Mapping[str, Any], *, current: bool) -> tuple[str, ...]:
    mark = "→" if current else ""
    return mark, one["id"], one["created"], one["who"], one["commit"] or "-", one["result"], one["said"]


@verb(help={"reason": "why; whoever tries to deploy will read it", "for": "how long, such as 2h"})
def hold(_context: Context, host: str = "", reason: str = "", for_: str = "1h") -> None:
    """Let nobody deploy to a host's stack for a while."""
    from toolkit.faces import render
    from toolkit.words.values import Duration
    from toolkit.workflows import operate as workflow

    lasting = Duration.parse(for_)
    with connected(host) as (described, machine):
        workflow.hold(described, machine, reason=reason, lasting=lasting)
    render.say(f"{described.name}: on hold for {lasting}; `invoke release-hold --host {described.name}` ends it")


@verb()
def release_hold(_context: Context, host: str = "") -> None:
    """End a hold before its time."""
    from toolkit.faces import render
    from toolkit.workflows import operate as workflow

    with connected(host) as (described, machine):
        workflow.release_hold(described, machine)
    render.say(f"{described.name}: no hold any more")


@verb(help={"lines": "how many entries, the newest last"})
def audit(_context: Context, host: str = "", lines: int = 50, json: bool = False) -> None:
    """Show who did what on a host: deploys, rollbacks, deliveries of secrets, holds."""
    from toolkit.faces import data, render
    from toolkit.workflows import operate as workflow

    with connected(host) as (_, machine):
        entries = workflow.audit(machine, lines)
    if json:
        render.say(data.dumps(entries))
        return
    shown = {"at", "verb", "stack", "who"}
    rows = [(*(str(one.get(key, "-")) for key in ("at", "verb", "stack", "who")), _rest(one, shown)) for one in entries]
    render.table(Table(("at", "what", "stack", "by", "how"), rows))


def _rest(entry: Mapping[str, Any], shown: set[str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in entry.items() if key not in shown and value not in ("", [], 0))

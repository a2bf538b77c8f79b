"""Verbs about machines: `hosts`, `plan`, `provision`, `ssh`."""

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs.face import connected, host_file, listener, remainder, verb
from toolkit.words.report import Table

if TYPE_CHECKING:
    from toolkit.config.models import HostFile
    from toolkit.converge import Outcome
    from toolkit.workflows.preview import Preview

CHANGES_PENDING = 2


@verb()
def hosts(_context: Context, json: bool = False) -> None:
    """List the hosts of this repository."""
    from toolkit.config import load
    from toolkit.faces import data, render

    root = load.find_root(Path.cwd())
    found = [load.named(root, name) for name in load.names(root)]
    if json:
        render.say(data.dumps([{"name": one.name, "address": _address(one), "stack": _stack(one)} for one in found]))
    else:
        render.table(Table(("host", "address", "stack"), [(one.name, _address(one), _stack(one)) for one in found]))


def _address(described: "HostFile") -> str:
    return described.connection if isinstance(described.connection, str) else described.connection.address


def _stack(described: "HostFile") -> str:
    return described.stack.name if described.stack else "-"


@verb(help={"machine": "look at the machine alone", "stack": "look at the stack alone"})
def plan(_context: Context, host: str = "", machine: bool = False, stack: bool = False, json: bool = False) -> int:
    """Show what `provision` and `deploy` would change on a host, and what was changed there by hand.

    Exit code 0: nothing; 2: changes pending.
    """
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import preview as stack_workflow
    from toolkit.workflows import provision as workflow

    outcome, preview = None, None
    with connected(host) as (described, reached):
        if machine or not stack:
            outcome = workflow.plan(described, reached)
        # A machine that is still to become a Docker host has nobody to say what Compose files mean.
        bare = outcome is not None and outcome.changes and not stack
        if described.stack and (stack or not (machine or bare)):
            preview = stack_workflow.preview(described, reached, clock=SystemClock())
    if json:
        _dump_plan(outcome, preview)
    else:
        _show_plan(outcome, preview)
    pending = (outcome.changes if outcome else 0) + (preview.changes if preview else 0)
    return CHANGES_PENDING if pending else 0


def _dump_plan(outcome: "Outcome | None", preview: "Preview | None") -> None:
    from toolkit.faces import data, render

    made = {"changes": outcome.changes, "steps": outcome.steps} if outcome else {}
    render.say(data.dumps(made | {"stack": preview}))


def _show_plan(outcome: "Outcome | None", preview: "Preview | None") -> None:
    from toolkit.faces import render

    if outcome:
        _show(outcome, json=False, applied=False)
    if preview is None:
        return
    rows = [(move.service, move.kind, move.why, move.downtime) for move in preview.moves]
    render.table(Table(("service", "a deploy would", "because", "downtime"), rows))
    for line in preview.drift:
        render.say(f"not as release {preview.current} left it: {line}")
    render.say(f"{preview.stack}: {preview.changes} changes to make")


@verb(help={"plan": "show the changes instead of making them; exit code 2 when there are any"})
def provision(_context: Context, host: str = "", plan: bool = False, json: bool = False) -> int:
    """Turn a machine into the hardened Docker host its file describes. Running it again changes nothing."""
    from toolkit.workflows import provision as workflow

    with connected(host) as (described, machine):
        if plan:
            outcome = workflow.plan(described, machine)
        else:
            outcome = workflow.provision(described, machine, listener=listener(json))
    _show(outcome, json=json, applied=not plan)
    return CHANGES_PENDING if plan and outcome.changes else 0


def _show(outcome: "Outcome", *, json: bool, applied: bool) -> None:
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps({"changes": outcome.changes, "steps": outcome.steps}))
        return
    for step in () if applied else outcome.steps:
        render.say(f"{step.name}{f'  ({step.note})' if step.note else ''}")
        for change in step.changes:
            render.say(f"  - {change.summary}")
            render.diff(change.diff)
    verb_of = "made" if applied else "to make"
    render.say(f"{outcome.changes} changes {verb_of}, {outcome.operations} states checked")


@verb()
def ssh(_context: Context, host: str = "") -> int:
    """Open a shell on a host, or run what follows `--` there, with the key and the host key of its file."""
    from toolkit.host import terminal

    words = remainder()
    # One word is a line of shell, as for plain ssh; several are a program and its arguments.
    return terminal.run(host_file(host), ["sh", "-c", *words] if len(words) == 1 else words)

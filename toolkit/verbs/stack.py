"""Verbs about what runs: `deploy`, `status`, `logs`, `exec`, `run`, `down`."""

import sys
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs.face import connected, host_file, listener, remainder, verb
from toolkit.words.errors import ConfigError
from toolkit.words.report import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.stack.containers import Verdict
    from toolkit.workflows.deploy import Deployed

NOT_HEALTHY = 1
WAIT = {"wait": "where somebody else is deploying, wait until that is done"}


@verb(help={"provision": "bring the machine up to its file first, over the same connection", **WAIT})
def deploy(_context: Context, host: str = "", provision: bool = False, wait: bool = False, json: bool = False) -> None:
    """Bring a host's stack up as its Compose files say; it counts once healthy, and is taken back whole otherwise."""
    from toolkit.faces import render
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import deploy as workflow
    from toolkit.workflows import hooks
    from toolkit.workflows import provision as machine_workflow

    follower = listener(json)
    hooks.before(host_file(host), follower)
    with connected(host) as (described, machine):
        if provision:
            made = machine_workflow.provision(described, machine, listener=follower)
            if not json:
                render.say(f"{made.changes} changes made, {made.operations} states checked")
        result = workflow.deploy(described, machine, listener=follower, clock=SystemClock(), wait=wait)
    show(result, json=json)
    if result.changed:
        hooks.after(described, follower, release=result.release)


def show(result: "Deployed", *, json: bool) -> None:
    """Print what a deploy or a rollback did."""
    from toolkit.faces import data, render
    from toolkit.words.values import Duration

    if json:
        render.say(data.dumps(result))
        return
    if result.moves:
        rows = [(move.service, move.kind, move.why, move.downtime) for move in result.moves]
        render.table(Table(("service", "was", "because of", "downtime"), rows))
    render.table(services(result.services))
    took = f" after {Duration(result.took)}" if result.took else ""
    what = f"is now {result.release}{took}" if result.changed else f"is {result.release} already: nothing to do"
    render.say(f"{result.stack} on {result.host} {what}")


@verb()
def status(_context: Context, host: str = "", json: bool = False) -> int:
    """Show how each service of a host's stack is. Exit code 1 while anything is not healthy."""
    from toolkit.faces import data, render
    from toolkit.workflows import status as workflow

    with connected(host) as (described, machine):
        result = workflow.status(described, machine)
    if json:
        render.say(data.dumps(result))
    else:
        render.table(services(result.services))
        render.say(f"{result.stack} on {result.host}: {result.release}, deployed {result.created}")
        if result.at_work:
            render.say(f"somebody is deploying right now: `invoke attach --host {result.host}` follows")
        elif result.unfinished:
            render.say(f"the deploy of {result.unfinished} did not reach its end, nor its way back: deploy again")
    return 0 if result.good else NOT_HEALTHY


def services(verdicts: "Sequence[Verdict]") -> Table:
    """Return the table of a stack's services."""
    rows = [
        (
            verdict.service,
            verdict.state,
            verdict.reason,
            str(len(verdict.containers)),
            ", ".join(sorted({one.image.partition("@")[0] for one in verdict.containers})),
            ", ".join(sorted({port for one in verdict.containers for port in one.ports})),
        )
        for verdict in verdicts
    ]
    return Table(("service", "state", "because", "containers", "image", "ports"), rows)


@verb(
    help={"service": "only this service", "follow": "go on as new lines come", "lines": "how many lines to begin with"}
)
def logs(_context: Context, host: str = "", service: str = "", follow: bool = False, lines: int = 100) -> int:
    """Show what a host's stack has written to its logs."""
    from toolkit.workflows import containers as workflow

    with connected(host) as (described, machine):
        return workflow.logs(described, machine, service=service, follow=follow, lines=lines)


@verb(help={"service": "the service in whose container to run"}, name="exec")
def execute(_context: Context, service: str, host: str = "") -> int:
    """Run what follows `--` in a running container: `invoke exec --host prod --service db -- psql`."""
    from toolkit.host import terminal
    from toolkit.workflows import containers as workflow

    words = _words("invoke exec --service db -- psql")
    with connected(host) as (described, machine):
        command = workflow.inside(described, machine, service, words)
    return terminal.run(host_file(host), command, root=True)


@verb(help={"service": "the service whose image, environment and secrets the command gets"})
def run(_context: Context, service: str, host: str = "") -> int:
    """Run what follows `--` in a new container of a service, which is removed at the end."""
    from toolkit.host import terminal
    from toolkit.workflows import operate as workflow

    words = _words("invoke run --service api -- ./manage.py check")
    with connected(host) as (described, machine):
        command = workflow.one_off(described, machine, service, words, terminal=sys.stdin.isatty())
    return terminal.run(host_file(host), command, root=True)


def _words(example: str) -> list[str]:
    words = remainder()
    if not words:
        raise ConfigError("no command given", hint=f"write it after `--`: {example}")
    return words


@verb(help={"confirm": "the host's name, in place of typing it"})
def down(_context: Context, host: str = "", confirm: str = "") -> None:
    """Stop and remove a host's stack. Volumes stay, always; `invoke deploy` brings it up again."""
    from toolkit.faces import render
    from toolkit.workflows import operate as workflow

    with connected(host) as (described, machine):
        if not confirm and sys.stdin.isatty():
            confirm = input(f"this stops the stack on {machine.name} for everybody; type the host's name to go on: ")
        workflow.down(described, machine, confirmed=confirm.strip())
    render.say(f"{described.name}: the stack is down; its volumes are as they were")

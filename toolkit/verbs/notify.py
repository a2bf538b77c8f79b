"""`invoke notify.…`: who is told what happens on a host while nobody looks."""

from collections.abc import Mapping, Sequence
from typing import Any

from invoke.context import Context

from toolkit.verbs.face import connected, verb
from toolkit.words.report import Table

NOT_TOLD = 1


@verb(name="list")
def listing(_: Context, host: str = "", json: bool = False) -> int:
    """Show who is told, what waits for them and how it went last. Exit code 1 where somebody cannot be told."""
    from toolkit.workflows import watch as workflow

    with connected(host) as (_described, machine):
        return _show(workflow.told(machine), json=json)


@verb()
def test(_: Context, host: str = "", json: bool = False) -> int:
    """Send everybody a test message from the host and wait for it. Exit code 1 where somebody cannot be told."""
    from toolkit.workflows import watch as workflow

    with connected(host) as (_described, machine):
        return _show(workflow.test(machine), json=json)


def _show(targets: Sequence[Mapping[str, Any]], *, json: bool) -> int:
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(targets))
    elif not targets:
        render.say("nobody is told: name somebody under `notify` in the host file, and provision")
    else:
        rows = [(one["name"], one["kind"], ", ".join(one["on"]) or "everything", *_state(one)) for one in targets]
        render.table(Table(("who", "kind", "is told", "waiting", "how it went"), rows))
    return NOT_TOLD if any(one.get("fault") or one["waiting"] for one in targets) else 0


def _state(one: Mapping[str, Any]) -> tuple[str, str]:
    import time

    waiting = str(one["waiting"]) + (f", {one['dropped']} given up" if one["dropped"] else "")
    if one.get("fault"):
        return waiting, f"fails: {one['fault']}"
    sent = one.get("sent")
    return (
        waiting,
        f"took one at {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(sent))} UTC" if sent else "never tried",
    )

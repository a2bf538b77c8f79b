"""`invoke watchdog.…`: what the watchdog of a host's stack sees, and what it did."""

from collections.abc import Mapping
from typing import Any

from invoke.context import Context

from toolkit.verbs.face import connected, verb
from toolkit.words.report import Table

NOT_WELL = 1


@verb()
def status(_: Context, host: str = "", json: bool = False) -> int:
    """Show what the watchdog sees now. Exit code 1 where it does not watch, or something is not well."""
    from toolkit.faces import data, render
    from toolkit.workflows import watch as workflow

    with connected(host) as (described, machine):
        told = workflow.status(described, machine)
    if json:
        render.say(data.dumps({key: told[key] for key in ("watching", "age", "seen", "notify")}))
    else:
        _tell(described.name, told)
    services = told["seen"].get("services", ())
    return 0 if told["watching"] and all(one["state"] != "sick" for one in services) else NOT_WELL


def _tell(name: str, told: Mapping[str, Any]) -> None:
    from toolkit.faces import render
    from toolkit.words.values import Duration

    seen = told["seen"]
    if not told["watching"]:
        since = f" since {Duration(told['age'])}" if seen else ""
        render.say(f"{name}: nobody watches{since}: `invoke provision --host {name}` starts the watchdog")
        return
    rows = [
        (one["service"], one["state"], one["reason"] or "-", "given up" if one["gave_up"] else one["waits"] or "-")
        for one in seen.get("services", ())
    ]
    render.table(Table(("service", "state", "because", "what is done"), rows))
    if seen["aside"]:
        render.say(f"nothing is healed now: {seen['aside']}")
    if left := seen.get("left"):
        render.say(f"left alone: {', '.join(left)}")
    render.say(f"{name}: looked {Duration(told['age'])} ago, every {Duration(seen['every'])}")
    _tell_targets(told["notify"])


def _tell_targets(targets: "list[Mapping[str, Any]]") -> None:
    from toolkit.faces import render

    for one in targets:
        if one.get("fault"):
            render.say(f"{one['name']} cannot be told ({one['waiting']} messages wait): {one['fault']}")


@verb(help={"lines": "how many incidents, the newest last"})
def history(_: Context, host: str = "", lines: int = 20, json: bool = False) -> None:
    """Show what was not well on a host, what was done about it and how that ended."""
    from toolkit.faces import data, render
    from toolkit.workflows import watch as workflow

    with connected(host) as (described, machine):
        incidents = workflow.history(described, machine, lines)
    if json:
        render.say(data.dumps(incidents))
        return
    columns = ("at", "service", "what", "because", "done", "result", "took")
    render.table(Table(columns, [_row(one) for one in incidents]))


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    from toolkit.words.values import Duration

    took = str(Duration(one["took"])) if one["took"] else "-"
    result = f"{one['result']}: {one['said']}" if one["said"] else one["result"]
    first = result.partition("\n")[0]
    return (
        one["at"],
        one["service"] or "-",
        one["kind"] or "-",
        one["reason"],
        ", ".join(one["did"]) or "-",
        first,
        took,
    )

"""What the verbs of restores and recoveries print."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.words.report import Table, printable
from toolkit.words.values import Duration, Size

if TYPE_CHECKING:
    from toolkit.workflows.restoring import Plan


def plan(found: "Plan", *, json: bool) -> None:
    """Print what a restore would replace, stop and lose."""
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(found))
        return
    age = Duration(found.age_seconds)
    if found.at:
        played = f"base {found.snapshot}, taken {found.taken}, and the log after it in {found.shippings} shippings"
        render.say(f"{found.host} as it was at {found.at}, {age} ago: {played}")
    else:
        render.say(f"snapshot {found.snapshot} of {found.host}, taken {found.taken}, {age} ago ({found.outcome})")
    rows = [(one.source, one.replaces, str(Size(one.bytes)), one.moment) for one in found.sources]
    render.table(Table(("source", "replaces", "size", "as of"), rows))
    for name, why in found.left:
        render.say(f"{printable(name)} is not restored: {printable(why)}")
    for path, text in found.problems:
        render.say(f"the snapshot lacks {printable(path)}: {printable(text)}")
    if found.others:
        render.say(f"left as it is: {', '.join(map(printable, found.others))}")
    render.say(f"what these had written in the last {age} is replaced, and kept beside until you forget it")
    render.say(f"stopped around the swap, with what needs them: {', '.join(found.stops) or 'nothing'}")


def outcome(found: Mapping[str, Any], *, json: bool) -> None:
    """Print what a restore, its way back or a recovery did."""
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(found))
        return
    if sources := found.get("sources"):
        render.table(Table(("source", "loaded in", "proven in", "checks"), list(_rows(sources))))
    for note in found.get("notes", ()):
        render.say(f"note: {printable(note)}")
    render.say(_sentence(found))


def _rows(sources: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for one in sources:
        checks = ", ".join(f"{verdict['what']} {verdict['state']}" for verdict in one["verdicts"])
        times = (str(Duration(one["load_seconds"])), str(Duration(one["probe_seconds"])))
        yield printable(one["source"]), *times, printable(checks)


def _sentence(found: Mapping[str, Any]) -> str:
    stack, host, took = found["stack"], found["host"], Duration(found["took"])
    if found["result"] == "restored":
        back = f"`invoke restore.undo --host {host}` goes back, `invoke restore.forget --host {host}` frees its room"
        until = f" (the last commit in it is of {found['last_commit']})" if found.get("last_commit") else ""
        one = found.get("sources", ())
        what = f"{printable(one[0]['source'])} of {stack}" if len(one) == 1 else stack
        return f"{what} on {host} has the data of {found['taken']}{until}, proven and serving after {took}; {back}"
    if found["result"] == "undone":
        return f"{stack} on {host} has the data from before restore {found['kept']} again, after {took}"
    if found["result"] == "aside":
        return f"{found['entries']} entries, {Size(found['bytes'])} of {found['taken']} are in {found['to']} on {host}"
    return f"forgotten on {host}: {', '.join(found['forgotten']) or 'nothing was kept'}"


def kept(host: str, found: Sequence[Mapping[str, Any]], *, json: bool) -> None:
    """Print what restores have kept."""
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(found))
        return
    rows = [
        (one["id"], one["began"], one["who"], one["taken"], ", ".join(one["sources"]), _places(one)) for one in found
    ]
    render.table(Table(("restore", "done", "by", "data of", "sources", "kept in"), rows))
    if found:
        back, free = f"`invoke restore.undo --host {host}`", f"`invoke restore.forget --host {host}`"
        render.say(f"{back} goes back, {free} frees the room")


def _places(one: Mapping[str, Any]) -> str:
    return ", ".join(str(swap["beside_volume"] or swap["beside"]) for swap in one["swaps"])

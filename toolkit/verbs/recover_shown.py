"""What a recovery prints."""

from typing import TYPE_CHECKING

from toolkit.words.report import Table, printable
from toolkit.words.values import Duration, Size

if TYPE_CHECKING:
    from toolkit.workflows.recover import Plan, Recovered


def plan(found: "Plan", *, json: bool) -> None:
    """Print what a recovery would do."""
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(found))
        return
    age = Duration(found.age_seconds)
    render.say(f"snapshot {found.snapshot} of {found.host}, taken {found.taken}, {age} ago ({found.outcome})")
    render.say(f"it holds {Size(found.bytes)}: {', '.join(map(printable, found.sources)) or 'no data of a stack'}")
    again = " (goes on where an attempt before was cut)" if found.continues else ""
    render.say(f"{found.to} would be provisioned as {found.host}, and run {found.stack} with this data{again}")
    render.say(f"what {found.stack} wrote in the {age} after the snapshot is lost with the host")


def recovered(found: "Recovered", *, json: bool) -> None:
    """Print how long each phase took, and what is left to do."""
    from toolkit.faces import data, render

    if json:
        render.say(data.dumps(found))
        return
    rows = [(name, str(Duration(seconds))) for name, seconds in found.seconds.items()]
    render.table(Table(("phase", "took"), [*rows, ("all of it (RTO)", str(Duration(found.rto)))]))
    rows = [(printable(str(one["source"])), "yes" if one["good"] else "not wholly") for one in found.sources]
    render.table(Table(("source", "proven"), rows))
    for note in found.notes:
        render.say(f"note: {printable(note)}")
    attempts = f", in {found.attempts} attempts" if found.attempts > 1 else ""
    render.say(f"{found.stack} serves on {found.to} with the data of {found.taken}{attempts}; see {found.report}")
    render.say(f"now: let hosts/{found.host}.yml name the new machine, point DNS at it, and back it up")
    render.say(
        f"its backups are signed with a new key: after the first, `invoke backup.trust --host {found.host} --replace`"
    )

"""`invoke doctor`: what is wrong with a host and its stack, most likely cause first."""

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs.face import connected, listener, verb

if TYPE_CHECKING:
    from toolkit.stack.doctor.diagnosis import Diagnosis, Finding

FOUND = 1


@verb(
    help={
        "symptom": 'what you see, in your own words: "jobs pile up"; causes of it come first',
        "bundle": "also write an archive (.tar.gz) for asking others: logs, states and versions without secrets",
    }
)
def doctor(_: Context, host: str = "", symptom: str = "", bundle: str = "", json: bool = False) -> int:
    """Find what is wrong with a host and its stack, with the evidence and what mends it; nothing is changed.

    Exit code 1 where something was found.
    """
    from toolkit.faces import data, render
    from toolkit.stack.doctor.diagnosis import diagnose
    from toolkit.workflows.doctor import bundle as bundles
    from toolkit.workflows.doctor import visit as workflow

    follow = listener(json)
    with connected(host) as (described, machine):
        follow.step(f"look at {described.name}")
        seen = workflow.visit(described, machine, bundle=bool(bundle))
        follow.done()
    diagnosis = diagnose(seen.evidence, symptom)
    if bundle:
        bundles.write(Path(bundle), seen)
    if json:
        render.say(data.dumps(diagnosis))
    else:
        _tell(diagnosis, symptom)
        if bundle:
            render.say(f"written for others: {bundle}")
    return 0 if diagnosis.good else FOUND


def _tell(diagnosis: "Diagnosis", symptom: str) -> None:
    from toolkit.faces import render
    from toolkit.words.report import printable

    for number, one in enumerate(diagnosis.findings, 1):
        _say(number, one)
    for line in diagnosis.untold:
        render.say(f"cannot tell {printable(line)}")
    if symptom and diagnosis.findings and not diagnosis.fits:
        render.say(f"nothing that was found is known to look like {printable(symptom)!r}")
    render.say(f"{diagnosis.host}: {_summary(diagnosis)}")


def _say(number: int, one: "Finding") -> None:
    from toolkit.faces import render
    from toolkit.words.report import printable

    render.say(f"{number}. {render.level(one.severity)}  {printable(one.cause)}  ({one.rule})")
    for line in one.seen:
        render.say(f"     {printable(line)}")
    render.say(f"   → {printable(one.fix)}\n")


def _summary(diagnosis: "Diagnosis") -> str:
    count = sum(one.severity != "info" for one in diagnosis.findings)
    if count:
        return f"{count} thing{'' if count == 1 else 's'} found, most likely first"
    return "nothing found" if not diagnosis.untold else "nothing found in what could be looked at"

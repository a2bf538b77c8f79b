"""A drill on another host: the agent that can do it is brought along, lent what it needs, and taken away again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from toolkit.converge import Facts
from toolkit.converge import apply as converge
from toolkit.drill.report import Report, parse
from toolkit.drill.wish import Wish
from toolkit.host import Host
from toolkit.machine import agent as installed
from toolkit.machine.registry import Login
from toolkit.repository.reach import Reach
from toolkit.words import frames
from toolkit.words.command import command, script
from toolkit.words.errors import Error, HostError, Unreachable
from toolkit.words.report import Listener, Silent
from toolkit.words.values import Secret, Size
from toolkit.workflows import agent, wheelhouse


@dataclass(frozen=True)
class Guest:
    """An agent on a host, which may be there for this drill alone."""

    host: Host
    release: str

    @property
    def entry(self) -> str:
        return f"{installed.FOLDER}/releases/{self.release}/bin/agent"


@contextmanager
def guest(host: Host, listener: Listener) -> Iterator[Guest]:
    """Have an agent with the engine of backups on a host; one that was not there before goes again."""

    def builds(python: str, architecture: str) -> wheelhouse.Release:
        return wheelhouse.release(python, architecture, wheelhouse.BACKUP)

    facts, seen = Facts(host), list[str]()

    def noted(python: str, architecture: str) -> wheelhouse.Release:
        found = builds(python, architecture)
        seen.append(found.name)
        return found

    outcome = converge(facts, [installed.unpacked(noted)], listener)
    release, brought = seen[-1], any(step.changes for step in outcome.steps)
    try:
        yield Guest(host, release)
    finally:
        if brought:
            with suppress(Error):
                # Not one that somebody has made the current one meanwhile.
                host.run(script(_REMOVE, release))


_REMOVE = f"""
cd {installed.FOLDER} || exit 0
[ "$(readlink current)" = "releases/$1" ] || rm -rf -- "releases/$1"
"""


def drill(
    host: Host, wish: Wish, reach: Reach, logins: Sequence[Login], others: Sequence[Secret], listener: Listener
) -> Report:
    """Have a drill on a host, and return its report. Raises what the agent raised, and Unreachable when it was cut."""
    with guest(host, listener) as there:
        process = host.open(command(there.entry, "drill", "run"))
        stream = agent.Stream(host, process)
        try:
            _ours(host, there, stream.hear())
            process.write(frames.pack({"wish": wish.dumps(), "reach": reach.header()}, _body(reach, logins, others)))
            return _followed(host, stream, listener)
        except BaseException:
            # Its standard input closes with this: the agent then takes its sandbox away.
            process.kill()
            raise
        finally:
            with suppress(Error):
                stream.close()


def clean(host: Host) -> list[str]:
    """Have a host remove what killed drills left there."""
    with guest(host, Silent()) as there:
        told = frames.parse(host.run(command(there.entry, "drill", "clean")).stdout)
        return [str(name) for name in told.get("removed", ())]


def _ours(host: Host, there: Guest, told: Mapping[str, Any]) -> None:
    # Nothing secret leaves before it is clear who listens.
    if told.get("format") != agent.FORMAT or told.get("release") != there.release:
        raise HostError(f"{host.name}: the agent there is not the one that was sent", hint="drill again")


def _body(reach: Reach, logins: Sequence[Login], others: Sequence[Secret]) -> bytes:
    accounts = [{"registry": one.registry, "user": one.user, "token": one.token.reveal().decode()} for one in logins]
    known = {"reach": json.loads(reach.body().reveal()), "logins": accounts}
    return json.dumps({**known, "others": [one.reveal().decode() for one in others]}).encode()


def _followed(host: Host, stream: agent.Stream, listener: Listener) -> Report:
    for line in stream.lines():
        event = frames.parse(line)
        kind = event.get("kind")
        if kind == "report":
            return parse(event["report"])
        if kind == "fault":
            raise agent.fault(host, event["fault"])
        _tell(listener, event)
    raise Unreachable(f"{host.name}: the connection was lost", hint="the sandbox goes by itself; drill again")


def _tell(listener: Listener, event: Mapping[str, Any]) -> None:
    kind = event.get("kind")
    if kind == "progress":
        done, total = (Size(event[key]) if event["size"] else float(event[key]) for key in ("done", "total"))
        listener.progress(done, total, str(event["note"]))
    elif kind in ("step", "line", "done", "warn"):
        getattr(listener, kind)(str(event["text"]))

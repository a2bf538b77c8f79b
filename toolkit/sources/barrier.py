"""The barrier: all sources of a stack held still one after the other, as close together as they allow.

What points at something is held before what it points at: queues, then analytics, then the database of record, then
files. A job that was captured finds its row, and a row finds its file. Reading comes afterwards, at leisure.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.repository.inputs import Input, Readable, Stream
from toolkit.sources.discover import Found
from toolkit.sources.docker import Docker, Inspected, service_of
from toolkit.sources.pause import NOTES, Pause, paused
from toolkit.sources.protocol import Capture, iso
from toolkit.words.errors import ConfigError, Error, HostError
from toolkit.words.report import Listener, Silent

ORDER = ("redis", "clickhouse", "mysql", "postgres", "sqlite", "path", "volume")


@dataclass(frozen=True)
class Held:
    """Everything to read, and facts for the manifest. Facts are complete when everything was read."""

    inputs: list[Input] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def barrier(
    docker: Docker,
    project: str,
    found: Sequence[Found],
    *,
    pause: Pause | None = None,
    listener: Listener | None = None,
    notes: Path = NOTES,
) -> Iterator[Held]:
    """Hold sources still for as long as the context. One that cannot be held becomes an input that cannot be read.

    So the others are captured, and the snapshot says that it is incomplete. Raises ConfigError for a pause that would
    stop what it captures, HostError where consumers could not be paused or resumed.
    """
    pause, listener, held = pause or Pause(), listener or Silent(), Held()
    consumers = _consumers(docker, project, found, pause) if pause.services else []
    began = time.time()
    moments: dict[str, float] = {}
    with ExitStack() as reading:
        stopping = paused(docker, project, consumers, pause, notes)
        with nullcontext() if pause.until == "read" else stopping:
            if pause.until == "read":
                reading.enter_context(stopping)
            for one in sorted(found, key=lambda one: (ORDER.index(one.source.kind), one.source.name)):
                listener.line(f"hold {one.source.name}")
                _hold(docker, one, reading, held, moments)
        held.facts.update(began=iso(began), held=iso(time.time()), paused=list(pause.services))
        _skew(held, moments)
        yield held


def _hold(docker: Docker, one: Found, stack: ExitStack, held: Held, moments: dict[str, float]) -> None:
    name = one.source.name
    try:
        capture = stack.enter_context(_kept(one.source.capture(docker, one.place), name, held))
    except (Error, OSError) as error:
        held.inputs.append(failed(name, one.source.kind, error))
        return
    if capture.skipped:
        held.facts.setdefault("skipped", {})[name] = capture.skipped
    if capture.moment is not None:
        moments[name] = capture.moment
        held.inputs.extend(capture.inputs)
    else:
        held.inputs.extend(_live(each, held, moments) for each in capture.inputs)


@contextmanager
def _kept(capture: Any, name: str, held: Held) -> Iterator[Capture]:
    """The same context, whose trouble with letting go does not undo what was read."""
    with ExitStack() as stack:
        entered = stack.enter_context(capture)
        yield entered
        try:
            stack.close()
        except (Error, OSError) as error:
            held.facts.setdefault("untidy", {})[name] = str(error)


def failed(name: str, kind: str, error: Exception) -> Stream:
    """An input that stands for a source which could not be held: reading it raises what went wrong."""
    text = error.message if isinstance(error, Error) else str(error)
    return Stream(name, lambda: _Refusal(text, error), kind)


@dataclass(frozen=True)
class _Refusal(AbstractContextManager[Readable]):
    text: str
    error: Exception

    def __enter__(self) -> Readable:
        raise HostError(self.text) from self.error

    def __exit__(self, *_: object) -> None: ...


def _live(given: Input, held: Held, moments: dict[str, float]) -> Input:
    """The same input, whose end of reading counts for the skew."""

    def facts() -> dict[str, Any]:
        found = dict(given.facts())
        moments[f"{given.name} (end)"] = time.time()
        _skew(held, moments)
        return found

    return replace(given, facts=facts)


def _skew(held: Held, moments: dict[str, float]) -> None:
    held.facts["moments"] = {name: iso(moment) for name, moment in sorted(moments.items())}
    held.facts["skew_seconds"] = round(max(moments.values(), default=0.0) - min(moments.values(), default=0.0), 3)


def _consumers(docker: Docker, project: str, found: Sequence[Found], pause: Pause) -> list[str]:
    containers = docker.containers(project)
    captured = {one.place.container for one in found if one.place.container}
    known = {service_of(container) for container in containers}
    for service in pause.services:
        if service not in known:
            raise ConfigError(f"there is no service {service} to pause", hint=f"services: {', '.join(sorted(known))}")
    chosen = [container for container in containers if _pausable(container, pause)]
    if databases := [container for container in chosen if container["Id"] in captured]:
        hint = "a paused database answers nobody; pause those that write to it"
        raise ConfigError(f"{service_of(databases[0])} is a source and cannot be paused", hint=hint)
    return [container["Id"] for container in chosen]


def _pausable(container: Inspected, pause: Pause) -> bool:
    # One that somebody paused or stopped before stays so.
    return service_of(container) in pause.services and container["State"]["Status"] == "running"

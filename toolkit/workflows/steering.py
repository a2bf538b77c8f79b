"""Steering: a driver on the host is started, followed and asked to stop, over a connection that may break."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from toolkit.host import Host
from toolkit.machine.agent import ENTRY
from toolkit.stack import outcome as outcomes
from toolkit.stack.outcome import DEPLOYED, MIXED, ROLLED_BACK, Outcome
from toolkit.stack.request import Request
from toolkit.words import frames
from toolkit.words.clock import Clock
from toolkit.words.command import command
from toolkit.words.errors import Detached, Error, HostError, Locked, Unreachable
from toolkit.words.report import Listener
from toolkit.words.values import Secret
from toolkit.workflows import agent
from toolkit.workflows.interrupts import interrupts

# Seconds before each attempt to reach the host again.
AGAIN = (1.0, 3.0, 10.0)
WAIT = 2.0


@dataclass
class Following:
    """A driver at work, seen through its journal."""

    host: Host
    stack: str
    journal: str
    lines: Iterator[bytes] = field(repr=False)
    listener: Listener
    clock: Clock
    verb: str = "deploy"
    """Whose journal it is: the agent's word for it."""

    heard: list[Mapping[str, Any]] = field(default_factory=list, repr=False)
    """When each phase began, for whoever wants to know how long they took."""

    _seen: int = 0

    def finish(self) -> tuple[Outcome, float]:
        """Follow to the end; return the outcome and the seconds it took.

        Raises what the driver ended with, and HostError where that is lost; Unreachable where the connection is lost
        for good, and Detached where the person lets go of it; in both cases the driver goes on.
        """
        end = self.ended()
        found = outcomes.parse(end["outcome"])
        if found.result != DEPLOYED:
            raise explained(self.host.name, self.stack, found)
        return found, float(end["took"])

    def ended(self) -> Mapping[str, Any]:
        """Follow to the end and return its event, whatever it says. Raises HostError, Unreachable, Detached."""
        with self._interrupts():
            return self._end()

    def _end(self) -> Mapping[str, Any]:
        for pause in (*AGAIN, None):
            with suppress(Unreachable):
                for event in self._events():
                    if event["kind"] == "end":
                        return event
                    self._tell(event)
                raise HostError(
                    f"{self.host.name}: the {self.verb} ended, and its last word is lost; a full disk there loses it",
                    hint=f"`df -h` on the host; `invoke status --host {self.host.name}` shows what runs",
                )
            if pause is not None:
                self.listener.warn(f"{self.host.name}: the connection was lost; the {self.verb} goes on there")
                self.clock.sleep(pause)
                self.lines = self._reached_again()
        raise Unreachable(
            f"{self.host.name}: the connection was lost; the {self.verb} goes on there",
            hint=f"`invoke {self._again} --host {self.host.name}` follows it again",
        )

    def _events(self) -> Iterator[Mapping[str, Any]]:
        for line in self.lines:
            self._seen += 1
            with suppress(ValueError):
                yield json.loads(line)

    def _reached_again(self) -> Iterator[bytes]:
        """Yield the lines behind those that were heard. Raises Unreachable where the host does not answer yet."""
        seen = self._seen
        try:
            self.host.close()
            yield from islice(_journal(self.host, self.stack, self.journal, self.verb), seen, None)
        except Error as error:
            raise Unreachable(error.message, hint=error.hint) from error

    def _tell(self, event: Mapping[str, Any]) -> None:
        tell = self.listener
        kind = event["kind"]
        if kind == "phase":
            self.heard.append(event)
        elif kind == "progress":
            tell.progress(event["done"], event["total"], event["note"])
        elif kind in ("step", "line", "done", "warn"):
            getattr(tell, kind)(event["text"])

    def _interrupts(self) -> AbstractContextManager[None]:
        """Ctrl-C once asks the driver to stop and go back, twice lets go of it."""
        hint = f"`invoke {self._again} --host {self.host.name}` follows it again"
        return interrupts(
            first=lambda: self.listener.warn("asked to stop and go back; once more to leave it to itself"),
            stop=lambda: stop(self.host, self.stack),
            second=Detached(f"{self.host.name}: detached; the driver goes on there", hint=hint),
        )

    @property
    def _again(self) -> str:
        return "attach" if self.verb == "deploy" else f"{self.verb}.attach"


def start(
    host: Host, request: Request, body: Sequence[Secret], *, listener: Listener, clock: Clock, wait: bool
) -> Following:
    """Have the agent start a driver. Raises Locked where somebody else is at work and `wait` is not set, HostError."""
    listener.step("hand over to the host")
    while True:
        try:
            following = _start(host, request, body, listener, clock)
        except Locked as error:
            if not wait:
                raise
            listener.progress(0, 0, error.message)
            clock.sleep(WAIT)
        else:
            listener.done()
            return following


def _start(host: Host, request: Request, body: Sequence[Secret], listener: Listener, clock: Clock) -> Following:
    stream = agent.Stream(host, host.open(command(ENTRY, "deploy", "start")))
    try:
        agent.check(host, stream.hear())
        stream.say(frames.pack(request.header(), b"".join(value.reveal() for value in body)))
        answer = stream.hear()
        if "fault" in answer:
            raise agent.fault(host, answer["fault"])
    except BaseException:
        stream.close()
        raise
    return Following(host, request.stack, answer["journal"], stream.lines(), listener, clock)


def attach(host: Host, stack: str, *, listener: Listener, clock: Clock) -> Following:
    """Follow the newest deploy, which may have ended already. Raises HostError where there never was one."""
    told = state(host, stack)
    if not told["journals"]:
        raise HostError(f"{host.name}: nothing was ever deployed of {stack}", hint="`invoke deploy` does")
    journal = told["journals"][-1]
    return Following(host, stack, journal, _journal(host, stack, journal), listener, clock)


def _journal(host: Host, stack: str, journal: str, verb: str = "deploy") -> Iterator[bytes]:
    process = host.open(command(ENTRY, verb, "follow", stack, journal))
    process.finish()
    return agent.Stream(host, process).lines()


def stop(host: Host, stack: str) -> None:
    """Ask the driver at work to stop at its next safe point."""
    host.run(command(ENTRY, "deploy", "stop", stack))


def state(host: Host, stack: str) -> Mapping[str, Any]:
    """Return who is at work, what is on hold, and the releases. Raises HostError."""
    return agent.asked(host, "deploy", "state", stack)


def explained(host: str, stack: str, found: Outcome) -> Error:
    """Return the error for an outcome that is no success: what happened, and what runs now."""
    kind = agent.kind_of(found.code)
    runs = {
        ROLLED_BACK: f"{stack} runs {found.release} as before"
        if found.release
        else f"nothing of {stack} runs, as before",
        MIXED: f"{stack} IS NEITHER THE OLD NOR THE NEW RELEASE",
    }.get(found.result, "nothing was touched")
    return kind(f"{host}: {found.fault}\n{runs}", hint=found.hint)

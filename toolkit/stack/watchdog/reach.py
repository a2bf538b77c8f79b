"""Reach: whether ports that a stack publishes, and addresses that it is probed at, answer on the host itself.

Everything is asked at once, and none may hang the rest: what has not come back in time is told as such, and not asked
again until it has.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from toolkit.stack import probes
from toolkit.stack.containers import Container
from toolkit.stack.manifest import Probe

WITHIN = 7.0
CONNECTS = 3.0
# Docker's proxy takes a connection for a container in which nobody listens, and drops it at once.
LISTENS = 0.3
AGAIN = 1.0

Ask = Callable[[], str]
"""Return what is wrong, or nothing."""

_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def knock(address: str, port: int) -> str:
    """Connect to a TCP port; return what is wrong, or nothing."""
    try:
        connection = socket.create_connection((address, port), CONNECTS)
    except OSError as error:
        return f"port {port} does not answer: {error.strerror or error}"
    with connection:
        return "" if _is_kept(connection) else f"port {port} takes connections and drops them: nobody is behind it"


def _is_kept(connection: socket.socket) -> bool:
    connection.settimeout(LISTENS)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        # Whoever waits for us to speak first is there.
        return True
    except OSError:
        return False


def doors(container: Container) -> list[tuple[str, int]]:
    """Return addresses and TCP ports of the host that lead to a container."""
    found = []
    for port in container.ports:
        outer, _, inner = port.partition("→")
        address, _, number = outer.rpartition(":")
        if "/" not in inner and number.isdigit():
            found.append((_HERE.get(address, address), int(number)))
    return found


def owner(probe: Probe, running: Iterable[Container]) -> str:
    """Return the service that answers for a probe: the one that is named, or publishes its port; empty for nobody."""
    if probe.service:
        return probe.service
    parts = urlsplit(probe.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return next((one.service for one in running if port in {number for _, number in doors(one)}), "")


@dataclass
class Asker:
    """Asks many things at once, each in a thread of its own."""

    within: float = WITHIN
    again: float = AGAIN
    _late: dict[str, threading.Thread] = field(default_factory=dict)

    def complaints(self, questions: Mapping[str, Ask]) -> dict[str, str]:
        """Return what is wrong by the question's name; what was wrong once only is not."""
        first = self._round(questions)
        if not first:
            return {}
        time.sleep(self.again)
        second = self._round({name: questions[name] for name in first})
        return {name: said for name, said in second.items() if said}

    def _round(self, questions: Mapping[str, Ask]) -> dict[str, str]:
        answers: dict[str, str] = {}
        self._late = {name: thread for name, thread in self._late.items() if thread.is_alive()}
        started = {name: _start(name, ask, answers) for name, ask in questions.items() if name not in self._late}
        deadline = time.monotonic() + self.within
        for name, thread in started.items():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self._late[name] = thread
        late = f"no answer within {self.within:g} s"
        found = {name: late if name in self._late else answers.get(name, "") for name in questions}
        return {name: said for name, said in found.items() if said}


def _start(name: str, ask: Ask, answers: dict[str, str]) -> threading.Thread:
    def work() -> None:
        try:
            answers[name] = ask()
        except Exception as error:
            # A thread that ends without an answer would pass for one that found nothing wrong.
            answers[name] = f"{name}: {type(error).__name__}: {error}"

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def probing(probe: Probe) -> Ask:
    return lambda: probes.ask(probe)


def knocking(address: str, port: int) -> Ask:
    return lambda: knock(address, port)

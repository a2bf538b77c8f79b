"""The firewall's proof: what a stranger reaches, tried from where a stranger stands.

Rules that were loaded are a claim. Which ports answer is the fact, and only somebody outside can tell.
"""

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from toolkit.config.values import Port

Reach = Callable[[int], bool]
"""Whether a TCP connection to this port of the host comes about."""

TIMEOUT = 3.0


@dataclass(frozen=True)
class Probe:
    """What was tried from outside, and what answered."""

    tried: frozenset[Port]
    reached: frozenset[Port]

    def leaks(self, opened: Iterable[Port]) -> list[Port]:
        """Return the ports that answer a stranger although nobody opened them."""
        return sorted(self.reached - set(opened))


def probe(ports: Iterable[Port], reach: Reach) -> Probe:
    """Try TCP ports all at once. UDP is left out: silence there means open as well as closed."""
    tried = sorted({port for port in ports if port.protocol == "tcp"})
    with ThreadPoolExecutor(max_workers=32) as pool:
        answers = list(pool.map(lambda port: reach(port.number), tried))
    return Probe(frozenset(tried), frozenset(port for port, answered in zip(tried, answers, strict=True) if answered))


def from_here(address: str) -> Reach:
    """Return the reach of this machine, which is a stranger's as long as no VPN leads to the host."""
    return partial(_connects, address)


def _connects(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), TIMEOUT):
            return True
    except OSError:
        return False

"""Facts for tests: told what a host once said, so that operations are tested as data."""

from typing import Any

from toolkit.converge.facts import Fact, Facts
from toolkit.host.fake import FakeHost
from toolkit.words.command import Result


class FakeFacts(Facts):
    """Knows what it was told, in the host's own words; every other fact is unknown until the host is asked."""

    def __init__(self, host: FakeHost | None = None) -> None:
        super().__init__(host or FakeHost())

    def tell(self, fact: Fact[Any], output: str, *, code: int = 0, stderr: str = "") -> None:
        """Let a fact be what its command printed."""
        self._known[fact] = Result(fact.command, code, output.encode(), stderr.encode())

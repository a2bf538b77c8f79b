"""The agent goes ahead: it is sent and unpacked on a channel of its own while apt works, and waits to be switched to.

Nothing depends on it. What did not get there this way goes the ordinary way, which also says what stood in between.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread

from toolkit.converge import Facts
from toolkit.host import Host
from toolkit.machine import agent
from toolkit.machine.os import SYSTEM


@dataclass
class Ahead:
    """The builds of an agent, one of which may be on its way already."""

    host: Host
    builds: agent.Builds
    _sent: "dict[str, _Sending]" = field(default_factory=dict)

    def begin(self, facts: Facts) -> None:
        """Start sending what the host lacks. One without Python yet gets it later."""
        system = facts.get(SYSTEM)
        version = agent.python(facts)
        release = self.builds(version, system.architecture)
        if system.python and release.name not in facts.get(agent.INSTALLED).releases:
            self._sent[release.name] = _Sending(self.host, release, version)

    def build(self, version: str, architecture: str) -> agent.Release:
        """Return the build for a Python and an architecture, as `agent.operations` wants it."""
        release = self.builds(version, architecture)
        return self._sent.get(release.name, release)


class _Sending:
    """A release whose archive is empty once the host has it."""

    def __init__(self, host: Host, release: agent.Release, version: str) -> None:
        self.name = release.name
        self._release = release
        self._arrived = False
        self._thread = Thread(target=self._send, args=(host, version), daemon=True)
        self._thread.start()

    @property
    def archive(self) -> bytes:
        self._thread.join()
        return b"" if self._arrived else self._release.archive

    def _send(self, host: Host, version: str) -> None:
        with suppress(Exception):
            process = host.open(agent.unpack(self.name, version))
            try:
                process.write(self._release.archive)
                process.finish()
                while any(process.read()):
                    pass
                self._arrived = process.wait() == 0
            finally:
                process.close()

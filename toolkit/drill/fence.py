"""The fence around a sandbox: nothing gets out, and what tries to is counted and named.

Docker's internal network leads nowhere already. The fence is a second lock, in an nftables table of its own that is
there before the network is: it also shuts the way to this host itself, and counts. To each container a listener is
added which gives it a way to the fence, so that an attempt becomes a packet, and writes down where it was to go.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.drill import listen
from toolkit.drill.report import Check
from toolkit.drill.sandbox import LABEL, bridge
from toolkit.sources.docker import Docker
from toolkit.words.errors import HostError

TABLE = "toolkit_"
_TICK = 0.3
_MOST = 200
# A drop is final whatever other tables say; accepting here only ends this chain.
_RULES = """
table inet {table} {{
  counter refused {{}}
  chain out {{
    type filter hook forward priority -300; policy accept;
    iifname "{bridge}" oifname "{bridge}" accept
    iifname "{bridge}" counter name refused drop
    oifname "{bridge}" drop
  }}
  chain here {{
    type filter hook input priority -300; policy accept;
    iifname "{bridge}" ct state established,related accept
    iifname "{bridge}" counter name refused drop
  }}
}}
"""


def table(project: str) -> str:
    return TABLE + project.replace("-", "_")


@dataclass
class Fence:
    """One sandbox's fence, up for as long as its context. `known` are the names that lead to its own services."""

    docker: Docker
    project: str
    known: Collection[str] = ()
    tried: dict[str, set[str]] = field(default_factory=dict)
    """Where each service tried to get."""

    def __post_init__(self) -> None:
        self.locked = False
        self._over = threading.Event()
        self._listeners: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Fence":
        self.locked = _nft(_RULES.format(table=table(self.project), bridge=bridge(self.project)))
        self._start(self._follow)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for child in self._listeners.values():
            child.kill()
        for thread in self._threads:
            thread.join(5)
        remove(self.project)

    def refused(self) -> int:
        """How many packets the fence has dropped."""
        done = subprocess.run(
            ["nft", "--json", "list", "counters", "table", "inet", table(self.project)],
            capture_output=True,
            check=False,
        )
        with suppress(ValueError, KeyError, StopIteration):
            found = json.loads(done.stdout)["nftables"]
            return int(next(one["counter"]["packets"] for one in found if "counter" in one))
        return 0

    def checks(self) -> list[Check]:
        """Say what was tried, and that nothing got out. To try is no fault of the backup."""
        if not self.locked:
            told = (
                "nft is not installed here: Docker's internal network alone kept everything in, and nothing was counted"
            )
            return [Check("sandbox", "way out", "unknown", told)]
        found = [
            Check("sandbox", f"{service} tried to reach out", "good", f"refused: {', '.join(sorted(places)[:20])}")
            for service, places in sorted(self.tried.items())
        ]
        return [*found, Check("sandbox", "way out", "good", f"none; {self.refused()} packets were refused")]

    def _start(self, work: Any, *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(self) -> None:
        """Give every container of the sandbox a listener as soon as it runs."""
        while not self._over.wait(_TICK):
            with suppress(HostError, OSError):
                label = f"label={LABEL}={self.project}"
                running = self.docker.ask("ps", "--quiet", "--no-trunc", "--filter", label).text.split()
                for container in self.docker.inspect(
                    "container", *(one for one in running if one not in self._listeners)
                ):
                    self._listen(container)

    def _listen(self, container: Any) -> None:
        pid = container["State"].get("Pid")
        networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
        inside = next((one for name, one in networks.items() if name.startswith(self.project)), None)
        if not pid or not inside or not inside.get("IPAddress"):
            return
        service = (container["Config"].get("Labels") or {}).get("com.docker.compose.service", "?")
        gateway = inside.get("Gateway") or inside["IPAddress"].rpartition(".")[0] + ".1"
        words = (gateway, f"{inside['IPAddress']}/{inside.get('IPPrefixLen', 16)}", ",".join(self.known))
        program = Path(listen.__file__).read_text()
        child = subprocess.Popen(
            ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c", program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._listeners[container["Id"]] = child
        self._start(self._hear, service, child)

    def _hear(self, service: str, child: "subprocess.Popen[bytes]") -> None:
        assert child.stdout is not None
        for line in child.stdout:
            places = self.tried.setdefault(service, set())
            if len(places) < _MOST:
                places.add(line.decode(errors="replace").strip()[:200])
        child.wait()


def remove(project: str) -> None:
    """Take a fence away."""
    _nft(f"delete table inet {table(project)}\n")


def standing() -> list[str]:
    """The sandboxes whose fences stand on this host."""
    with suppress(FileNotFoundError):
        done = subprocess.run(["nft", "list", "tables", "inet"], capture_output=True, text=True, check=False)
        names = [line.split()[-1] for line in done.stdout.splitlines() if line.split()]
        return [name.removeprefix(TABLE).replace("_", "-") for name in names if name.startswith(f"{TABLE}drill_")]
    return []


def _nft(rules: str) -> bool:
    with suppress(FileNotFoundError):
        done = subprocess.run(["nft", "--file", "-"], input=rules.encode(), capture_output=True, check=False)
        return done.returncode == 0
    return False

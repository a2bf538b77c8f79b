"""The Engine's API, asked over its socket by the standard library: one connection that is kept, no client process.

Source of the format: Docker Engine API, https://docs.docker.com/reference/api/engine/. Paths have no version, so the
Engine's own newest one answers.
"""

import http.client
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from toolkit.words.errors import HostError

PATIENCE = 10.0
"""Seconds that an answer may take. Whoever stops a container gives more."""

LARGEST = 32 << 20


class Silent(HostError):
    """Nobody answers at the socket."""


class Gone(HostError):
    """There is no such container any more."""


class Engine:
    """One connection to the Engine. Not for two threads at once."""

    def __init__(self, root: Path = Path("/"), *, patience: float = PATIENCE) -> None:
        self._root = root
        self._patience = patience
        self._connection: _Connection | None = None

    def containers(self, project: str) -> list[dict[str, Any]]:
        """Return what the Engine knows of each container of a project. Raises Silent."""
        filters = json.dumps({"label": [f"com.docker.compose.project={project}"]})
        listed = self.get("/containers/json", all="true", filters=filters)
        return [found for one in listed if (found := self._inspected(one["Id"])) is not None]

    def _inspected(self, container: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.get(f"/containers/{container}/json")
        except Gone:
            # It went between the two questions.
            return None
        return found

    def stats(self, container: str) -> dict[str, Any]:
        """Return what a container has used so far. Raises Gone, Silent."""
        found: dict[str, Any] = self.get(f"/containers/{container}/stats", stream="false", **{"one-shot": "true"})
        return found

    def logs(self, container: str, lines: int, *, minutes: int = 0) -> list[str]:
        """Return the last lines that a container wrote, of the last minutes only where that is said.

        Raises Gone, Silent, HostError where its logs are elsewhere.
        """
        wanted = {"stdout": "true", "stderr": "true", "tail": str(lines)}
        if minutes:
            wanted["since"] = str(int(time.time()) - 60 * minutes)
        kind, body = self._ask("GET", f"/containers/{container}/logs?{urlencode(wanted)}", self._patience)
        text = body if "raw-stream" in kind and not _is_framed(body) else _unframed(body)
        return text.decode(errors="replace").splitlines()[-lines:]

    def restart(self, container: str, *, within: float) -> None:
        """Stop a container, within the time that it asks for, and start it; one that does not run is started."""
        self._ask("POST", f"/containers/{container}/restart", within)

    def kill(self, container: str) -> None:
        self._ask("POST", f"/containers/{container}/kill", self._patience)

    def start(self, container: str) -> None:
        self._ask("POST", f"/containers/{container}/start", self._patience * 3)

    def get(self, path: str, **query: str) -> Any:
        """Return the JSON at a path. Raises Gone, Silent, HostError."""
        _, body = self._ask("GET", f"{path}?{urlencode(query)}" if query else path, self._patience)
        try:
            return json.loads(body)
        except ValueError as error:
            raise HostError("docker's answer is no JSON", hint="systemctl status docker") from error

    def text(self, path: str, **query: str) -> str:
        """Return what is at a path, as text. Raises Gone, Silent, HostError."""
        return self._ask("GET", f"{path}?{urlencode(query)}", self._patience)[1].decode(errors="replace")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, within: float) -> tuple[str, bytes]:
        # Asking at the socket while the daemon is down would have systemd start it, over and over.
        if not (self._root / "run/docker.pid").exists():
            raise Silent("docker does not run", hint="systemctl status docker")
        fresh = self._connection is None
        try:
            return self._asked(method, path, within)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A connection that was kept may have ended meanwhile; a request that changes something is not repeated.
            if fresh or method != "GET" or isinstance(error, TimeoutError):
                raise Silent(f"docker does not answer: {error}", hint="systemctl status docker") from error
        try:
            return self._asked(method, path, within)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Silent(f"docker does not answer: {error}", hint="systemctl status docker") from error

    def _asked(self, method: str, path: str, within: float) -> tuple[str, bytes]:
        if self._connection is None:
            self._connection = _Connection(self._root / "run/docker.sock", self._patience)
        self._connection.wait(within)
        self._connection.request(method, path)
        answer = self._connection.getresponse()
        body = answer.read(LARGEST)
        if answer.status >= 400:
            raise _refused(answer.status, body)
        return answer.headers.get("Content-Type", ""), body


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def wait(self, seconds: float) -> None:
        """Let an answer take this long."""
        self.timeout = seconds
        if self.sock is not None:
            self.sock.settimeout(seconds)


def _refused(status: int, body: bytes) -> HostError:
    try:
        said = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        said = f"status {status}"
    if status == 404:
        return Gone(f"docker: {said}", hint="it was removed meanwhile")
    return HostError(f"docker: {said}", hint="journalctl --unit docker")


def _is_framed(body: bytes) -> bool:
    return len(body) >= 8 and body[0] in (0, 1, 2) and body[1:4] == b"\0\0\0"


def _unframed(body: bytes) -> bytes:
    """Take the headers out of a stream without a terminal: a byte for which one it is, and four for the size."""
    text, at = b"", 0
    while _is_framed(body[at:]):
        size = int.from_bytes(body[at + 4 : at + 8], "big")
        text += body[at + 8 : at + 8 + size]
        at += 8 + size
    return text if at else body


def memory(stats: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return bytes that a container cannot give back, and its limit; None where the Engine cannot tell.

    Of what the kernel caches of files nothing counts: it gives that back by itself. Names of version 2 of control
    groups, then of version 1: https://docs.kernel.org/admin-guide/cgroup-v2.html, .../cgroup-v1/memory.html.
    """
    found = stats.get("memory_stats") or {}
    parts, limit = found.get("stats") or {}, found.get("limit")
    if not limit:
        return None
    for names in (("anon", "shmem", "slab_unreclaimable"), ("total_rss", "total_shmem")):
        if names[0] in parts:
            return sum(int(parts.get(name, 0)) for name in names), int(limit)
    return None


def cpu(stats: Mapping[str, Any]) -> float | None:
    """Return the seconds of processor that a container has used since its start."""
    used = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    return None if used is None else float(used) / 1e9

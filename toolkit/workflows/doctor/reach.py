"""Why a host cannot be reached, from the control side: its name, then TCP, then what answers there."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.words.errors import Error, HostError, UntrustedHost

PATIENCE = 3.0
# Where a machine answers that has lost its sshd.
OTHERS = (80, 443)
_LONGEST = 255


def reach(host_file: HostFile, host: Host, error: HostError) -> dict[str, Any]:
    """Return what is known of the way to a host, step by step, up to the first that fails.

    `tcp` is `open`, `refused`, `silent`, or `unknown` where another host or a program is between.
    """
    found: dict[str, Any] = {"error": error.message, "hint": error.hint, "untrusted": isinstance(error, UntrustedHost)}
    found |= {"patience": PATIENCE, "tcp": "unknown"}
    where = _where(host)
    if host_file.connection == "local" or where is None:
        return found
    address, port = where
    found |= {"address": address, "port": port}
    try:
        socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError as fault:
        return found | {"name_fault": str(fault.strerror or fault)}
    return found | _tcp(address, port)


def _where(host: Host) -> tuple[str, int] | None:
    # Only a host over SSH is somewhere else.
    ask = getattr(host, "where", None)
    with suppress(Error):
        found: tuple[str, int] | None = ask() if ask else None
        return found
    return None


def _tcp(address: str, port: int) -> dict[str, Any]:
    state, banner = _connect(address, port)
    if state == "open":
        return {"tcp": state, "banner": banner}
    with ThreadPoolExecutor() as pool:
        answers = pool.map(partial(_connect, address), OTHERS)
        return {"tcp": state, "open": [other for other, (one, _) in zip(OTHERS, answers, strict=True) if one == "open"]}


def _connect(address: str, port: int) -> tuple[str, str]:
    """Return how a port answers, and the first line that it says: sshd speaks first, RFC 4253 section 4.2."""
    try:
        with socket.create_connection((address, port), PATIENCE) as connection:
            with suppress(OSError):
                return "open", connection.recv(_LONGEST).decode(errors="replace").partition("\n")[0].strip()
            return "open", ""
    except ConnectionRefusedError:
        return "refused", ""
    except OSError:
        return "silent", ""

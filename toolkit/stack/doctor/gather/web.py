"""What answers over HTTP and TLS: the stack's probes, health and metrics of its services, certificates, registries."""

import base64
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.stack import probes
from toolkit.stack.doctor.gather.containers import Body, service
from toolkit.stack.manifest import Probe

PATIENCE = 4.0
SHOWN = 300
LARGEST = 1 << 20
# Files of certificates that are looked at in volumes, and how deep.
FILES, DEPTH = 200, 9
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def probed(wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return what is wrong with the answer to each of the stack's probes, or nothing."""
    return [{"url": one["url"], "said": probes.ask(Probe(**one))} for one in wanted]


def ports(bodies: Sequence[Body], described: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Return (service, address, port) where something of the stack may speak HTTP, once for each service and port."""
    asked: dict[tuple[str, int], str] = {}
    wanted: dict[str, set[int]] = {}
    for one in described:
        for link in one["links"]:
            if link["scheme"] in ("http", "https"):
                wanted.setdefault(link["host"], set()).add(link["port"] or 80)
    for body, one in zip(bodies, described, strict=True):
        inner = {number for name in _own_names(one) for number in wanted.get(name, ())}
        inner |= {int(port.partition("/")[0]) for port in _published(body)} | _checked(body)
        address = next((network["ip"] for network in one["networks"].values() if network["ip"]), "")
        if address and not one["kind"] and body["State"]["Status"] == "running":
            for number in sorted(inner):
                asked.setdefault((one["service"], number), address)
    return [(name, address, number) for (name, number), address in asked.items()]


def _own_names(described: Mapping[str, Any]) -> set[str]:
    return {described["service"], described["name"]} | {
        alias for network in described["networks"].values() for alias in network["aliases"]
    }


def _published(body: Body) -> Iterator[str]:
    for inner, bindings in (body["NetworkSettings"].get("Ports") or {}).items():
        if bindings and inner.endswith("/tcp"):
            yield inner


def _checked(body: Body) -> set[int]:
    """Return ports that the container's own health check names."""
    test = " ".join((body["Config"].get("Healthcheck") or {}).get("Test") or ())
    found = re.findall(r"(?:localhost|127\.0\.0\.1):(\d{2,5})|(?<![\d.:])(\d{4,5})(?![\d.])", test)
    return {int(one or other) for one, other in found if 80 <= int(one or other) <= 65535}


def answer(address: str, port: int, path: str) -> dict[str, Any]:
    """Return status, size and beginning of an answer; a fault where there is none."""
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "User-Agent": "server-toolkit doctor"})
        found = connection.getresponse()
        body = found.read(LARGEST)
        kind = found.headers.get("Content-Type", "")
        text = body[:SHOWN].decode(errors="replace").strip()
        return {"status": found.status, "bytes": len(body), "type": kind, "text": text}
    except (OSError, http.client.HTTPException) as error:
        return {"fault": str(error) or type(error).__name__}
    finally:
        connection.close()


def certificates(bodies: Sequence[Body], names: Sequence[str]) -> list[dict[str, str]]:
    """Return the certificate that each published TCP port shows, where it speaks TLS."""
    found = []
    for number in sorted({int(one["HostPort"]) for body in bodies for one in _bindings(body)}):
        for name in (*names, ""):
            with suppress(OSError, ValueError):
                shown = _shown(number, name)
                found.append(
                    {"where": f"port {number}", "name": name, "certificate": shown, "of": _owner(bodies, number)}
                )
                break
    return found


def _bindings(body: Body) -> Iterator[Mapping[str, str]]:
    for inner, bindings in (body["NetworkSettings"].get("Ports") or {}).items():
        yield from (one for one in bindings or () if inner.endswith("/tcp"))


def _owner(bodies: Sequence[Body], number: int) -> str:
    return next((service(body) for body in bodies for one in _bindings(body) if int(one["HostPort"]) == number), "")


def _shown(port: int, name: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
        plain.settimeout(PATIENCE)
        with context.wrap_socket(plain, server_hostname=name or None) as wrapped:
            return base64.b64encode(wrapped.getpeercert(binary_form=True) or b"").decode()


def kept(root: Path, bodies: Sequence[Body]) -> list[dict[str, str]]:
    """Return certificates that lie in the volumes of services that publish ports: what proxies renew."""
    found: list[dict[str, str]] = []
    seen: set[str] = set()
    for body in bodies:
        if not list(_bindings(body)):
            continue
        for mount in body.get("Mounts") or ():
            if mount.get("Type") == "volume" and mount["Source"] not in seen:
                seen.add(mount["Source"])
                found += _in_volume(root / mount["Source"].lstrip("/"), mount.get("Name", ""), service(body))
    return found[:FILES]


def _in_volume(folder: Path, volume: str, owner: str) -> Iterator[dict[str, str]]:
    for path in _files(folder, 0):
        with suppress(OSError, UnicodeDecodeError):
            if path.stat().st_size <= 1 << 16 and (match := _CERTIFICATE.search(path.read_text())):
                where = f"{volume}/{path.relative_to(folder)}"
                yield {"where": where, "name": "", "certificate": match[0], "of": owner}


def _files(folder: Path, depth: int) -> Iterator[Path]:
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                continue
            if path.is_dir() and depth < DEPTH:
                yield from _files(path, depth + 1)
            elif path.suffix in (".pem", ".crt", ".cer"):
                yield path


def registry(root: Path, host: str) -> dict[str, Any]:
    """Return how a registry answers the host: nothing said is good. Its API: https://distribution.github.io/."""
    begun = time.monotonic()
    context = ssl.create_default_context()
    for path in sorted((root / "etc/docker/certs.d" / host).glob("*.crt")):
        with suppress(OSError, ssl.SSLError):
            context.load_verify_locations(path)
    name, _, port = host.partition(":")
    connection = http.client.HTTPSConnection(name, int(port or 443), timeout=PATIENCE, context=context)
    said = ""
    try:
        connection.request("GET", "/v2/", headers={"User-Agent": "server-toolkit doctor"})
        status = connection.getresponse().status
        said = "" if status in (200, 401) else f"answers {status}"
    except (OSError, http.client.HTTPException) as error:
        said = str(error) or type(error).__name__
    finally:
        connection.close()
    return {"host": host, "said": said, "took": round(time.monotonic() - begun, 2)}

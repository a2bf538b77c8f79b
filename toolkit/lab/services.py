"""What surrounds a host: a registry that answers as ghcr.io, real S3, and an apt repository, each a box of its own."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from toolkit.crypto.certificates import issue
from toolkit.lab.boxes import Box, File, volume
from toolkit.lab.engine import Engine
from toolkit.lab.home import Home, State
from toolkit.lab.network import address_of, port_of
from toolkit.words.clock import Clock
from toolkit.words.command import Command, script
from toolkit.words.errors import LabError
from toolkit.words.values import Secret

GHCR_USER = "acme"
TOKENS = {"acme": "ghcr-token", "reader": "ghcr-token-reader", "noscope": "ghcr-token-noscope"}
"""Who may log in to the registry: one who reads and writes, one who only reads, one whose token lacks the scope."""


@dataclass(frozen=True)
class Service:
    """One kind of box: the image it needs, how it is made from the lab's state, and how to tell that it works."""

    suite: str
    box: Callable[[Home, State, str], Box]
    ready: Command
    patience: float = 60


@dataclass(frozen=True)
class S3:
    """How to reach the lab's object store, and its two users.

    `operator` owns the buckets. `host` has no rights until a bucket policy of the operator's gives it some.
    """

    endpoint: str
    inside: str
    tls: str
    ca: bytes
    operator: tuple[str, Secret]
    host: tuple[str, Secret]


def _common(home: Home, state: State, part: str, *published: int) -> tuple[str, ...]:
    ports = (f"127.0.0.1:{port_of(state, f'{part}-{port}')}:{port}" for port in published)
    options = ["--label", home.label, "--label", f"toolkit.lab.part={part}", "--hostname", part]
    options += ["--network", home.name("net"), "--ip", address_of(state, part)]
    return (*options, *(word for port in ports for word in ("--publish", port)))


def password_line(user: str, password: Secret, salt: bytes) -> str:
    """Return one line of an nginx password file, salted SHA-1: enough for a token that lives as long as the lab."""
    digest = hashlib.sha1(password.reveal() + salt, usedforsecurity=False).digest()
    return f"{user}:{{SSHA}}{base64.b64encode(digest + salt).decode()}"


def _registry(home: Home, state: State, image: str) -> Box:
    pair = _server_certificate(home, "ghcr", ["ghcr.io", address_of(state, "registry")])
    salt = hashlib.sha256(home.id.encode()).digest()[:8]
    lines = [password_line(user, home.secret(file), salt) for user, file in TOKENS.items()]
    files = {
        "/etc/registry/ghcr.crt": pair[0],
        "/etc/registry/ghcr.key": pair[1],
        "/etc/registry/tokens": File("\n".join(lines).encode()),
    }
    options = _common(home, state, "registry", 443, 5000)
    return Box(home.name("registry"), image, options + _store(home, "registry", "/var/lib/registry"), files)


def _s3(home: Home, state: State, image: str) -> Box:
    certificate, key = _server_certificate(home, "s3", ["s3.lab", "127.0.0.1", "localhost", address_of(state, "s3")])
    files = {"/etc/s3/server.crt": certificate, "/etc/s3/server.key": key}
    options = _common(home, state, "s3", 8080, 8443)
    # A hard kill would leave the object store to repair itself at the next start. In memory, the mark that it is
    # ready does not outlive a kill.
    options += ("--stop-timeout", "20", "--tmpfs", "/run")
    return Box(home.name("s3"), image, (*options, *_store(home, "s3", "/data")), files)


def _repository(home: Home, state: State, image: str) -> Box:
    return Box(home.name("repository"), image, _common(home, state, "repository", 80))


def _store(home: Home, part: str, target: str) -> tuple[str, ...]:
    return volume(home.name(part), target, home.label)


def _server_certificate(home: Home, name: str, names: list[str]) -> tuple[File, File]:
    """Return the certificate of one service and its key, made once for these names and then kept."""
    tag = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]
    parts = json.loads(home.secret(f"{name}-{tag}.json", lambda: _issued(home, names)).reveal())
    return File(parts["certificate"].encode()), File(Secret.of(parts["key"]), mode=0o600)


def _issued(home: Home, names: list[str]) -> str:
    made = issue(home.authority(), names)
    return json.dumps({"certificate": made.certificate.decode(), "key": made.key.reveal().decode()})


def _answers(url: str) -> Command:
    return script('curl --silent --output /dev/null --insecure "$1"', url)


SERVICES = {
    "registry": Service("trixie", _registry, _answers("https://127.0.0.1/v2/")),
    # The gateway's first start makes its object store and pools.
    "s3": Service("bookworm", _s3, script("test -e /run/ready"), patience=180),
    "repository": Service("trixie", _repository, _answers("http://127.0.0.1/linux/debian/gpg")),
}


def wait(engine: Engine, container: str, service: Service, clock: Clock) -> None:
    """Return once the service works; raises LabError with its last words when it stops or takes too long."""
    deadline = clock.now() + service.patience
    while not engine.inside(container, service.ready).ok:
        found = engine.inspect("container", container)
        stopped = found is None or found["State"]["Status"] != "running"
        if stopped or clock.now() > deadline:
            said = engine.ask("logs", "--tail", "12", container)
            what = "stopped" if stopped else f"did not get ready within {service.patience:.0f} s"
            raise LabError(f"{container} {what}: {said.complaint}", hint=f"docker logs {container}")
        clock.sleep(0.2)


def s3_access(engine: Engine, home: Home, state: State) -> S3:
    """Read the store's users from the store itself: it drew their keys."""
    address = address_of(state, "s3")
    return S3(
        endpoint=f"http://127.0.0.1:{port_of(state, 's3-8080')}",
        inside=f"http://{address}:8080",
        tls=f"https://127.0.0.1:{port_of(state, 's3-8443')}",
        ca=home.authority().certificate,
        operator=_keys(engine, home, "operator"),
        host=_keys(engine, home, "host"),
    )


def _keys(engine: Engine, home: Home, user: str) -> tuple[str, Secret]:
    result = engine.inside(home.name("s3"), script('cat "/data/users/$1.json"', user))
    if not result.ok:
        raise LabError("the lab's S3 is not up", hint="invoke lab.up")
    key = json.loads(result.stdout)["keys"][0]
    return key["access_key"], Secret.of(key["secret_key"])

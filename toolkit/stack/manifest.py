"""The manifest of a release: `release.json`, everything the host has to know to bring the stack up as it was.

It lies in the release's folder and is written once. The host's driver reads it with nobody connected, so it also holds
what the host file said of the gate and of who reads which secret.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from toolkit.stack.service import Check, Grant, Limits, Service
from toolkit.words.errors import HostError

FORMAT = "toolkit release 1"
OVERRIDE = "override.yaml"
ENV = "_env"
"""Values of variables are delivered as one more secret of this name: no secret of the vault can have it."""


@dataclass(frozen=True)
class Probe:
    """An HTTP request that the host itself makes, and what has to come back."""

    url: str
    status: int = 200
    contains: str = ""
    insecure: bool = False
    """Whether a certificate that nobody vouches for will do."""

    service: str = ""
    """Whom the watchdog restarts when it fails; empty for the one that publishes its port."""


@dataclass(frozen=True)
class Assertion:
    """What has to be true inside of a service: the output of a command, or the value of a variable of its process."""

    service: str
    command: tuple[str, ...] = ()
    variable: str = ""
    equals: str | None = None
    contains: str = ""


@dataclass(frozen=True)
class Reader:
    """Who may read a secret, where the host file says so; empty where it does not."""

    owner: str = ""
    group: str = ""
    mode: str = ""


@dataclass(frozen=True)
class Terms:
    """How a stack is brought up; times are seconds."""

    files: tuple[str, ...]
    """Compose files below the release's folder, in order, without the override."""

    profiles: tuple[str, ...] = ()
    exclusive: tuple[str, ...] = ()
    """Services that never run in two versions at once."""

    within: float = 300.0
    one_shots_within: float = 600.0
    steady: float = 2.0
    drain: float = 10.0
    probes: tuple[Probe, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    readers: Mapping[str, Reader] = field(default_factory=dict)
    env_files: Mapping[str, str] = field(default_factory=dict)
    """Path of an env file below the release's folder to the name its values are delivered under."""


@dataclass(frozen=True)
class Manifest:
    """What a release is made of, and where it came from."""

    id: str
    created: str
    """UTC, ISO 8601."""

    inputs: str
    """Hash of all that was shipped, and of the variables' values, keyed so that it confirms no guess."""

    services: Mapping[str, Service]
    digests: Mapping[str, str]
    """Image reference to the digest it was pinned to."""

    terms: Terms = Terms(files=())
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Name of a secret to the tag of its value."""

    marks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels that say of which definition, files and secrets a service's containers were made."""

    content: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every file that belongs to it, by its absolute path on the host."""

    who: str = ""
    commit: str = ""
    format: str = FORMAT

    def dumps(self) -> bytes:
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    def pinned(self, service: str) -> str:
        """Return the image that the service's containers are made of."""
        return pinned(self.services[service].image, self.digests)

    @property
    def images(self) -> tuple[str, ...]:
        """Every image it needs, pinned, each once."""
        return tuple(dict.fromkeys(self.pinned(name) for name in sorted(self.services)))


def pinned(image: str, digests: Mapping[str, str]) -> str:
    return image if "@" in image else f"{image}@{digests[image]}"


def secret_paths(stack: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return where the agent puts each secret of a release."""
    return {name: f"/run/secrets/{stack}/{name}-{tag}" for name, tag in tags.items()}


def is_internal(name: str) -> bool:
    """Whether it is delivered like a secret but is none that a service names: env files."""
    return name.startswith(ENV)


def parse_manifest(text: str | bytes) -> Manifest | None:
    """Read a manifest; None where there is none yet. Raises HostError where it is not ours to read."""
    if not text.strip():
        return None
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise HostError(
                f"the current release has the format {data['format']!r}", hint="use the toolkit that deployed it"
            )
        services = {name: _service(body) for name, body in data.pop("services").items()}
        return Manifest(services=services, terms=_terms(data.pop("terms")), **data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HostError(
            "the current release's manifest is damaged", hint="look at /opt/<stack>/current/release.json on the host"
        ) from error


_TUPLES = ("configs", "volumes", "ports", "networks", "follows", "joins")


def _service(body: dict[str, Any]) -> Service:
    check = body["check"] and Check(**(body["check"] | {"test": tuple(body["check"]["test"])}))
    parts = {key: tuple(body[key]) for key in _TUPLES}
    grants = tuple(Grant(**grant) for grant in body["secrets"])
    return Service(**(body | parts | {"secrets": grants, "check": check, "limits": Limits(**body["limits"])}))


def _terms(body: dict[str, Any]) -> Terms:
    parts = {
        "probes": tuple(Probe(**one) for one in body["probes"]),
        "assertions": tuple(Assertion(**(one | {"command": tuple(one["command"])})) for one in body["assertions"]),
        "readers": {name: Reader(**one) for name, one in body["readers"].items()},
        **{key: tuple(body[key]) for key in ("files", "profiles", "exclusive")},
    }
    return Terms(**(body | parts))

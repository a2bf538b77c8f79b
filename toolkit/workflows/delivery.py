"""Delivery: which secrets a release needs, at which values. What carries them to their places is the host's driver."""

from collections.abc import Iterable, Mapping

from toolkit.crypto.tags import tag
from toolkit.stack.manifest import Reader
from toolkit.stack.service import Service
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret
from toolkit.workflows.attempt import Attempt


def values(attempt: Attempt, services: Mapping[str, Service]) -> dict[str, Secret]:
    """Return everything that a release has delivered: secrets that a service uses, and env files.

    Raises SecretError for one that is missing or empty.
    """
    secrets = {name: _value(attempt, name) for name in _names(services.values())}
    return secrets | {name: content(attempt.env_files[path]) for path, name in attempt.env_names.items()}


def content(env_file: Secret) -> Secret:
    """Return an env file as it is delivered: an empty one would be no file."""
    return env_file if env_file.reveal() else Secret(b"\n")


def tags(given: Mapping[str, Secret], key: bytes) -> dict[str, str]:
    """Return the tag of each value under the host's key."""
    return {name: tag(key, name, value.reveal()) for name, value in sorted(given.items())}


def readers(attempt: Attempt) -> dict[str, Reader]:
    """Return who reads a secret, as far as the host file says so."""
    return {
        name: Reader(one.owner or "", one.group or "", one.mode) for name, one in sorted(attempt.stack.secrets.items())
    }


def _names(services: Iterable[Service]) -> list[str]:
    return sorted({grant.name for service in services for grant in service.secrets})


def _value(attempt: Attempt, name: str) -> Secret:
    value = attempt.values.secret(name)
    if not value.reveal():
        raise SecretError(f"{name}: the secret is empty", hint=f"give it a value: invoke secrets.set {name}")
    return value

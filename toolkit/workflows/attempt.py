"""An attempt to deploy: everything that is known before the host is touched."""

import hmac
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from toolkit.config import providers
from toolkit.config.models import HostFile
from toolkit.config.models import Stack as StackFile
from toolkit.host import Host
from toolkit.machine import registry
from toolkit.stack import compose, project, release
from toolkit.stack.manifest import ENV
from toolkit.stack.project import Project
from toolkit.stack.service import Service
from toolkit.words.clock import Clock
from toolkit.words.errors import ConfigError
from toolkit.words.report import Listener
from toolkit.words.values import Secret

if TYPE_CHECKING:
    from toolkit.vault.sources import Sources

# Compose's own file of variables, and so that of services with `env_file: .env`.
DOT_ENV = ".env"


@dataclass(frozen=True)
class Attempt:
    """What is deployed, where to, and who follows it."""

    host_file: HostFile
    stack: StackFile
    project: Project
    values: "Values" = field(repr=False)
    env_files: Mapping[str, Secret] = field(repr=False)
    """Content of each env file by its path below the stack's folder; `.env` holds the host file's variables."""

    host: Host
    listener: Listener
    clock: Clock
    pins: Mapping[str, str] = field(default_factory=dict)
    """Digests of images that are not asked of a registry: those of a release that comes up once more."""

    @property
    def env_names(self) -> dict[str, str]:
        """Return the name under which each env file is delivered."""
        others = sorted(set(self.env_files) - {DOT_ENV})
        return {DOT_ENV: ENV, **{path: f"{ENV}.{number}" for number, path in enumerate(others, 1)}}

    def folder(self, release_id: str) -> str:
        return f"/opt/{self.stack.name}/releases/{release_id}"


def begin(
    host_file: HostFile, host: Host, *, listener: Listener, clock: Clock, values: "Values | None" = None
) -> Attempt:
    """Read everything the control side has to say. Raises ConfigError or SecretError; the host is not asked."""
    stack = required(host_file)
    values = values or Values(host_file)
    shipped = project.read(host_file.root, stack)
    env_files = dict(_env_files(stack, shipped, values))
    return Attempt(host_file, stack, shipped, values, env_files, host, listener, clock)


def _env_files(stack: StackFile, shipped: Project, values: "Values") -> Iterator[tuple[str, Secret]]:
    yield DOT_ENV, compose.render_env({name: values.of(text) for name, text in stack.variables.items()})
    given = {os.path.normpath(path): variables for path, variables in stack.env_files.items()}
    for path, content in shipped.env_files.items():
        if path in given:
            yield path, compose.render_env({name: values.of(text) for name, text in given[path].items()})
        elif path != DOT_ENV:
            yield path, Secret(content or b"\n")


def required(host_file: HostFile) -> StackFile:
    """Return the stack of a host file. Raises ConfigError where it has none."""
    if host_file.stack is None:
        raise ConfigError(f"hosts/{host_file.name}.yml has no stack", hint="add a `stack:` part: see hosts/example.yml")
    return host_file.stack


class Values:
    """One run's values, each asked of its source once; the vault is opened by the first who needs it."""

    def __init__(self, host_file: HostFile) -> None:
        self._host_file = host_file

    def of(self, text: str) -> Secret:
        """Return what a provider gives, or the text itself. Raises SecretError."""
        if not providers.is_provider(text):
            return Secret.of(text)
        return providers.resolve(text, root=self._host_file.root, environ=os.environ, vault=self.secret)

    def secret(self, name: str) -> Secret:
        """Return a secret of the stack. Raises SecretError."""
        return self._sources.value(name)

    @cached_property
    def _sources(self) -> "Sources":
        # Opening age files costs a library's import: only stacks with secrets pay.
        from toolkit.vault.identity import Keyring
        from toolkit.vault.sources import Sources

        return Sources(self._host_file, os.environ, Keyring(os.environ))


def inputs(attempt: Attempt, key: bytes) -> str:
    """Return the hash of all that is shipped; values count under the host's key, so that it confirms no guess."""
    stack = attempt.stack
    gate = (stack.gate, stack.exclusive, stack.ready_within, stack.one_shots_within, stack.drain)
    readers = sorted((name, one.owner, one.group, one.mode) for name, one in stack.secrets.items())
    settings = repr((stack.profiles, sorted(stack.scale.items()), gate, readers)).encode()
    values = [hmac.digest(key, content.reveal(), "sha256") for _, content in sorted(attempt.env_files.items())]
    return release.inputs(attempt.project, settings, *values)


def digests(attempt: Attempt, services: Mapping[str, Service]) -> dict[str, str]:
    """Return the digest of each image as its registry has it now. Raises RegistryError."""
    images = sorted({service.image for service in services.values() if "@" not in service.image})
    known = {image: attempt.pins[image] for image in images if image in attempt.pins}
    unknown = [image for image in images if image not in known]
    found = registry.resolve(attempt.host, unknown, logins(attempt)) if unknown else {}
    return known | {reference: image.digest for reference, image in found.items()}


def logins(attempt: Attempt) -> list[registry.Login]:
    """Return the login of each registry in the host file."""
    return [registry.Login(one.host, one.user, attempt.values.of(one.token)) for one in attempt.host_file.registries]

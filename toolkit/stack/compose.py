"""Docker Compose on the host: one way to call it, with nothing in its environment that we did not put there.

A variable exported in some shell beats `--env-file`, so Compose never inherits an environment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from toolkit.words.command import Command, command
from toolkit.words.values import Secret

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Invocation:
    """What every call for one release has in common; `directory` holds the Compose files."""

    project: str
    directory: str
    files: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    docker_config: str = "/root/.docker"
    env: str = ""

    @property
    def env_file(self) -> str:
        return self.env or f"/run/toolkit/{self.project}/env"

    def with_env(self, path: str) -> "Invocation":
        return replace(self, env=path)

    def __call__(self, *words: str | int) -> Command:
        """Return `docker compose … words` for this release."""
        files = [part for name in self.files for part in ("--file", f"{self.directory}/{name}")]
        profiles = [part for name in self.profiles for part in ("--profile", name)]
        return command(
            *clean("HOME=/root", f"DOCKER_CONFIG={self.docker_config}"),
            *("docker", "compose", "--progress", "plain", "--project-name", self.project),
            *("--project-directory", self.directory, "--env-file", self.env_file, *files, *profiles, *words),
        )


def clean(*variables: str) -> tuple[str, ...]:
    """Return the words that start a command with these variables and no others."""
    return ("env", "--ignore-environment", f"PATH={PATH}", *variables)


def render_env(variables: Mapping[str, Secret]) -> Secret:
    """Return an env file that gives each variable its exact value, in the quoting of Compose's dotenv reader."""
    lines = [name.encode() + b"=" + _quoted(value.reveal()) + b"\n" for name, value in sorted(variables.items())]
    return Secret(b"".join(lines))


def _quoted(value: bytes) -> bytes:
    # In single quotes everything stands for itself, but neither a quote nor a backslash before the end can be written.
    if not re.search(rb"['\n\r]|\\\Z", value):
        return b"'" + value + b"'"
    escaped = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"$", b"\\$")
    return b'"' + escaped.replace(b"\n", b"\\n").replace(b"\r", b"\\r") + b'"'


def unset_variables(complaint: str) -> list[str]:
    """Return the variables that Compose says have no value."""
    return sorted(set(re.findall(r'[\\"]+([A-Za-z_]\w*)[\\"]+ variable is not set', complaint)))

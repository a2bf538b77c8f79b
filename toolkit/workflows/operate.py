"""Operate: what a person does with a stack between deploys: one-offs, holds, lists of what happened, and the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.machine.agent import ENTRY
from toolkit.stack.compose import Invocation
from toolkit.stack.manifest import ENV, OVERRIDE, Manifest, parse_manifest, secret_paths
from toolkit.words.command import command, script
from toolkit.words.errors import ConfigError, HostError, Locked
from toolkit.words.values import Duration
from toolkit.workflows import agent, origin, steering
from toolkit.workflows.attempt import required

TAKEN = 75


def releases(host_file: HostFile, host: Host) -> Mapping[str, Any]:
    """Return the releases on a host, newest first, with who, when, from which commit and how they ended."""
    return steering.state(host, required(host_file).name)


def hold(host_file: HostFile, host: Host, *, reason: str, lasting: Duration) -> None:
    """Let nobody deploy for a while."""
    if not reason.strip():
        raise ConfigError("a hold needs a reason", hint="say it with --reason: whoever is refused will read it")
    stack = required(host_file).name
    host.run(command(ENTRY, "deploy", "hold", stack, origin.who(), reason, str(float(lasting))))


def release_hold(host_file: HostFile, host: Host) -> None:
    host.run(command(ENTRY, "deploy", "release", required(host_file).name))


def audit(host: Host, count: int) -> Sequence[Mapping[str, Any]]:
    """Return the last lines of a host's audit log, oldest first."""
    entries: Sequence[Mapping[str, Any]] = agent.asked(host, "audit", "--lines", str(count))["entries"]
    return entries


def one_off(host_file: HostFile, host: Host, service: str, words: Sequence[str], *, terminal: bool) -> list[str]:
    """Return the words that run a command in a new container of a service, as the current release has it."""
    manifest = _current(host_file, host)
    if service not in manifest.services:
        known = ", ".join(manifest.services)
        raise ConfigError(f"{host.name}: the stack has no service {service!r}", hint=f"there are: {known}")
    calling = _invocation(host_file, manifest)
    flags = ["--rm", "--no-deps", *([] if terminal else ["--no-TTY"])]
    return list(calling("run", *flags, service, *words).argv)


def down(host_file: HostFile, host: Host, *, confirmed: str) -> None:
    """Stop and remove a stack's containers and networks; never its volumes.

    Raises ConfigError unless `confirmed` is the host's name, Locked while somebody deploys.
    """
    stack = required(host_file)
    if confirmed != host.name:
        raise ConfigError(
            f"{host.name}: {stack.name} is not taken down: {confirmed or 'nothing'!r} is not this host's name",
            hint=f"type {host.name}, or add --confirm {host.name}; volumes would stay in any case",
        )
    calling = _invocation(host_file, _current(host_file, host))
    taken = ("flock", "--nonblock", "--conflict-exit-code", str(TAKEN), f"/run/toolkit/{stack.name}/lock")
    result = host.run(command(*taken, *calling("down", "--remove-orphans").argv), check=False)
    if result.code == TAKEN:
        raise Locked(f"{host.name}: somebody is deploying {stack.name}", hint="wait until that is done")
    if not result.ok:
        raise HostError(f"{host.name}: cannot take {stack.name} down:\n{result.complaint}", hint="run it again")


def _current(host_file: HostFile, host: Host) -> Manifest:
    stack = required(host_file).name
    manifest = parse_manifest(
        host.run(script('cat "/opt/$1/current/release.json" 2>/dev/null', stack), check=False).text
    )
    if manifest is None:
        raise HostError(f"{host.name}: {stack} was never deployed", hint=f"run `invoke deploy --host {host.name}`")
    return manifest


def _invocation(host_file: HostFile, manifest: Manifest) -> Invocation:
    stack = required(host_file).name
    env = secret_paths(stack, manifest.secrets)[ENV]
    folder = f"/opt/{stack}/releases/{manifest.id}"
    return Invocation(stack, folder, (*manifest.terms.files, OVERRIDE), manifest.terms.profiles, env=env)

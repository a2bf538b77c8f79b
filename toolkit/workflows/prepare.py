"""Prepare a release: its files on the host, its images pinned, everything the driver has to know in its manifest."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from toolkit.host import File
from toolkit.machine import docker
from toolkit.stack import compose, deadline, release
from toolkit.stack.compose import Invocation
from toolkit.stack.manifest import OVERRIDE, Assertion, Manifest, Probe, Terms, secret_paths
from toolkit.stack.release import Resolved
from toolkit.stack.service import Service, bodies, parse_model
from toolkit.words.command import Result, script
from toolkit.words.errors import ConfigError, Error, Unsupported
from toolkit.words.values import Secret
from toolkit.workflows import delivery, origin
from toolkit.workflows.attempt import Attempt, digests, inputs

# $1 the draft, $2 where its env files are, then pairs of a path in the draft and a name there; `--`; the command.
_LINKED = """
draft=$1 env=$2; shift 2
while [ "$1" != -- ]; do
  case $1 in */*) mkdir -p -- "$draft/${1%/*}" ;; esac
  ln -sfn -- "$env/$2" "$draft/$1" || exit
  shift 2
done
shift
exec "$@"
"""


@dataclass(frozen=True)
class Prepared:
    """A release that lies on the host, not yet brought up, with the values it has delivered."""

    manifest: Manifest
    values: Mapping[str, Secret] = field(repr=False)


@dataclass(frozen=True)
class Draft:
    """A release on its way, under a name nobody else uses."""

    folder: str
    env: str


def draft_of(stack: str) -> Draft:
    token = secrets.token_hex(4)
    return Draft(f"/opt/{stack}/releases/.draft-{token}", f"/run/toolkit/{stack}/draft-{token}")


def prepare(attempt: Attempt, key: bytes) -> Prepared:
    """Stage a release on the host. Nothing that runs is touched, and what fails leaves nothing behind."""
    draft = draft_of(attempt.stack.name)
    try:
        made = _made(attempt, key, draft)
        _seal(attempt, made.manifest, draft)
        return made
    except Error:
        # A lost link has nothing to take back: old drafts go with a later prune.
        with suppress(Error):
            attempt.host.run(script('rm -rf -- "$1" "$2"', draft.folder, draft.env), check=False)
        raise


def _made(attempt: Attempt, key: bytes, draft: Draft) -> Prepared:
    attempt.listener.step(f"stage {attempt.stack.name}")
    _require_compose(attempt)
    resolved = resolve(attempt, draft)
    attempt.listener.done(f"{len(resolved.services)} services")
    attempt.listener.step("resolve images")
    pins = digests(attempt, resolved.services)
    attempt.listener.done(f"{len(pins)} images pinned")
    return manifest_of(attempt, key, resolved, pins)


def manifest_of(attempt: Attempt, key: bytes, resolved: Resolved, pins: Mapping[str, str]) -> Prepared:
    """Return the manifest of what Compose made of a draft, and the values it needs. Raises SecretError, ConfigError."""
    created, hashed = origin.now(attempt.clock), inputs(attempt, key)
    values = delivery.values(attempt, resolved.services)
    tags = delivery.tags(values, key)
    manifest = Manifest(
        # Two people may deploy the same at the same second; each has a release of their own.
        id=f"{created:%Y%m%dT%H%M%SZ}-{hashed[:8]}-{secrets.token_hex(2)}",
        created=f"{created:%Y-%m-%dT%H:%M:%SZ}",
        inputs=hashed,
        services=resolved.services,
        digests=pins,
        terms=_terms(attempt, resolved.services),
        secrets=tags,
        marks=release.marks(attempt.project, resolved, pins, tags, key),
        who=origin.who(),
        commit=origin.commit(attempt.host_file.root),
    )
    override = release.override(attempt.project, manifest)
    content = release.content(attempt.project, attempt.folder(manifest.id), override)
    return Prepared(replace(manifest, content=content), values)


def _terms(attempt: Attempt, services: Mapping[str, Service]) -> Terms:
    stack = attempt.stack
    _refuse_unknown(attempt, services)
    within = deadline.agreed(stack.ready_within, services, {name: one.check for name, one in services.items()})
    return Terms(
        files=tuple(attempt.project.files),
        profiles=stack.profiles,
        exclusive=stack.exclusive,
        within=within,
        one_shots_within=float(stack.one_shots_within),
        steady=float(stack.gate.steady),
        drain=float(stack.drain),
        probes=tuple(
            Probe(one.url, one.status, one.contains, one.insecure, one.service or "") for one in stack.gate.probes
        ),
        assertions=tuple(
            Assertion(one.service, one.command, one.variable or "", one.equals, one.contains or "")
            for one in stack.gate.assertions
        ),
        readers=delivery.readers(attempt),
        env_files=attempt.env_names,
    )


def _refuse_unknown(attempt: Attempt, services: Mapping[str, Service]) -> None:
    stack, watchdog = attempt.stack, attempt.host_file.watchdog
    named = {
        "stack.scale": list(stack.scale),
        "stack.exclusive": list(stack.exclusive),
        "stack.gate.assertions": [one.service for one in stack.gate.assertions],
        "stack.gate.probes": [one.service for one in stack.gate.probes if one.service],
        "watchdog.leave": list(watchdog.leave) if watchdog else [],
    }
    for key, names in named.items():
        if unknown := sorted(set(names) - services.keys()):
            raise ConfigError(
                f"hosts/{attempt.host_file.name}.yml: {key} names {', '.join(unknown)}, which the stack does not run",
                hint=f"it runs {', '.join(services)}",
            )


def _require_compose(attempt: Attempt) -> None:
    """Raise Unsupported where the host cannot deploy: no Docker, a Compose too old, or an Engine that is down."""
    result = attempt.host.run(script("docker version >/dev/null && docker compose version --short"), check=False)
    found = result.text.strip()
    if result.ok and docker.compose_version(found) >= docker.OLDEST_COMPOSE:
        return
    oldest = ".".join(map(str, docker.OLDEST_COMPOSE))
    problem = f"Compose {found} is too old" if result.ok else result.complaint.splitlines()[-1]
    raise Unsupported(
        f"{attempt.host.name}: stacks need Docker with Compose {oldest} or newer: {problem}",
        hint=f"run `invoke provision --host {attempt.host.name}`, or add --provision",
    )


def resolve(attempt: Attempt, draft: Draft) -> Resolved:
    """Send a release's files and let the host's Compose say what they mean. Raises ConfigError in Compose's words."""
    names = attempt.env_names
    env = [File(f"{draft.env}/{names[path]}", content, 0o600) for path, content in attempt.env_files.items()]
    attempt.host.send([*release.staged(attempt.project, draft.folder), *env])
    calling = Invocation(
        attempt.stack.name,
        draft.folder,
        tuple(attempt.project.files),
        attempt.stack.profiles,
        env=f"{draft.env}/{names['.env']}",
    )
    pairs = [word for pair in names.items() for word in pair]
    config = calling("config", "--format", "json")
    result = attempt.host.run(script(_LINKED, draft.folder, draft.env, *pairs, "--", *config.argv), check=False)
    if not result.ok:
        raise ConfigError(
            f"{attempt.stack.name}: Compose refuses these files:\n{result.complaint}", hint="correct the Compose files"
        )
    _refuse_unset(attempt, result)
    scale = attempt.stack.scale
    services = parse_model(result.text)
    scaled = {name: replace(one, replicas=scale.get(name, one.replicas)) for name, one in services.items()}
    return Resolved(bodies(result.text), scaled, draft.folder)


def _refuse_unset(attempt: Attempt, result: Result) -> None:
    if unset := compose.unset_variables(result.stderr.decode(errors="replace")):
        raise ConfigError(
            f"{attempt.stack.name}: no value for {', '.join(unset)}",
            hint=f"set it under stack.variables in hosts/{attempt.host_file.name}.yml",
        )


def _seal(attempt: Attempt, manifest: Manifest, draft: Draft) -> None:
    """Give the draft what makes it a release, and its name. Env files are links to where the agent will put them."""
    override = release.override(attempt.project, manifest)
    attempt.host.send(
        [
            File(f"{draft.folder}/{OVERRIDE}", override, 0o640),
            File(f"{draft.folder}/release.json", manifest.dumps(), 0o600),
        ]
    )
    delivered = secret_paths(attempt.stack.name, manifest.secrets)
    pairs = [word for path, name in attempt.env_names.items() for word in (path, delivered[name].rpartition("/")[2])]
    sealed = 'rm -rf -- "$2" && mv -T -- "$1" "$3" && sync -- "$3"/* "$3"'
    words = ("sh", "-c", sealed, "sh", draft.folder, draft.env, attempt.folder(manifest.id))
    attempt.host.run(script(_LINKED, draft.folder, f"/run/secrets/{attempt.stack.name}", *pairs, "--", *words))

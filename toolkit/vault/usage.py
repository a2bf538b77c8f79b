"""Who uses which secret of a host: its Compose files, its variables, its registries and its templates."""

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.config import compose, providers
from toolkit.config.models import HostFile, Stack
from toolkit.vault import sources, templates

Users = Mapping[str, tuple[str, ...]]
"""The name of a secret, and who uses it, in words."""


def of(host_file: HostFile) -> Users:
    """Return the secrets that a host needs, sorted, with their users. Raises ConfigError for broken files."""
    found: dict[str, list[str]] = {}
    for name, user in _all(host_file):
        found.setdefault(name, []).append(user)
    return {name: tuple(dict.fromkeys(found[name])) for name in sorted(found)}


def _all(host_file: HostFile) -> Iterator[tuple[str, str]]:
    given = [(one.token, f"registry {one.host}") for one in host_file.registries]
    given += [(one.url, f"notify {one.name}") for one in host_file.notify]
    for text, user in given:
        if name := providers.kept_name(text):
            yield name, user
    if not host_file.stack:
        return
    for variable, text in host_file.stack.variables.items():
        if name := providers.kept_name(text):
            yield name, f"variable {variable}"
    documents = [compose.read(host_file.root / host_file.stack.directory / file) for file in host_file.stack.files]
    yield from in_compose(documents, host_file.stack)
    for made, text in sources.made_of(host_file).items():
        yield from ((name, f"secret {made}") for name in templates.names(text, f"hosts/{host_file.name}.yml: {made}"))
    for made, entry in sources.declared(host_file).items():
        name = providers.kept_name(entry.value or "")
        if name and name != made:
            yield name, f"secret {made}"


def in_compose(documents: list[Mapping[str, Any]], stack: Stack) -> Iterator[tuple[str, str]]:
    """Yield (secret, "service NAME") for each service that runs. `secrets:` may be written short or long."""
    bodies: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        for service, body in _mapping(document.get("services")).items():
            bodies.setdefault(service, []).append(_mapping(body))
    for service, parts in bodies.items():
        profiles = {profile for part in parts for profile in part.get("profiles") or ()}
        if not profiles or profiles & set(stack.profiles):
            yield from ((name, f"service {service}") for part in parts for name in _sources(part.get("secrets")))


def _sources(written: object) -> Iterator[str]:
    for entry in written if isinstance(written, list) else ():
        name = entry.get("source") if isinstance(entry, dict) else entry
        if isinstance(name, str):
            yield name


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

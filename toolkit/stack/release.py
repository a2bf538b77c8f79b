"""A release: one immutable folder on the host with everything needed to bring a stack up again as it was.

    /opt/<stack>/releases/<id>/   the user's Compose files, the generated override, release.json
    /opt/<stack>/files/<digest>/  mounted files, named by their content, shared by releases
    /opt/<stack>/current          link to the release that passed its gate
    /run/secrets/<stack>/         secrets and values of variables as files, in memory; the agent's to write

`<id>` is the UTC time, a hash of the content and two random bytes. `release.json` is `manifest.Manifest`.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.host import File
from toolkit.stack.containers import MARKS
from toolkit.stack.manifest import OVERRIDE, Manifest, is_internal, pinned, secret_paths
from toolkit.stack.project import Mount, Project
from toolkit.stack.service import Service

_INSTEAD, _NOTHING = "toolkit-instead:", "toolkit-nothing"

# What differs between two places of the same release, or says nothing of how a container is made.
_NOT_OF_A_CONTAINER = ("build", "develop", "profiles", "depends_on", "scale")


def override(project: Project, manifest: Manifest) -> bytes:
    """Return the one file we write beside the user's: images pinned, mounted files and secrets by content."""
    secrets = {name: tag for name, tag in manifest.secrets.items() if not is_internal(name)}
    body: dict[str, dict[str, Any]] = {
        "services": {name: _service_override(project, manifest, name) for name in manifest.services}
    }
    for section, paths in (("configs", _config_paths(project)), ("secrets", secret_paths(project.name, secrets))):
        if paths:
            body[section] = {name: _INSTEAD + path for name, path in paths.items()}
    text = json.dumps(body, indent=2, sort_keys=True)
    # A JSON text is YAML, and may have Compose's tags: one drops whatever else the user's files say of where the
    # content comes from, the other drops what is for a laptop.
    text = re.sub(f'"{_INSTEAD}([^"]*)"', r'!override {"file": "\1"}', text).replace(f'"{_NOTHING}"', "!reset null")
    return (text + "\n").encode()


def _service_override(project: Project, manifest: Manifest, name: str) -> dict[str, Any]:
    # `build` and `develop` name paths inside of the release: left in, every release would look like a change.
    body: dict[str, Any] = {"image": manifest.pinned(name), "build": _NOTHING, "develop": _NOTHING}
    if mounted := [_volume(project, mount) for mount in project.mounts if _is_bind_of(mount, name)]:
        body["volumes"] = mounted
    # Compose sees neither a changed file nor a changed path of a config or secret (docker/compose#9648), and its own
    # hash of a service depends on how it is called. These labels are what a deploy compares.
    body["labels"] = dict(manifest.marks[name])
    return body


@dataclass(frozen=True)
class Resolved:
    """What Compose made of a draft: its words for each service, and the folder that it looked into."""

    bodies: Mapping[str, Mapping[str, Any]]
    services: Mapping[str, Service]
    folder: str


def marks(
    project: Project, resolved: Resolved, pins: Mapping[str, str], secrets: Mapping[str, str], key: bytes
) -> dict[str, dict[str, str]]:
    """Return the labels of each service: they change exactly when its containers have to be made anew.

    Compose's words hold values of variables, so the label made of them is keyed: it confirms no guess.
    """
    configs = _config_paths(project)
    found = {}
    for name, service in resolved.services.items():
        mounted = [project.directory_of(mount) for mount in project.mounts if _is_bind_of(mount, name)]
        files = mounted + [configs[config] for config in service.configs if config in configs]
        tags = [f"{one.name}-{secrets[one.name]}" for one in service.secrets]
        definition = _definition(resolved, name, pinned(service.image, pins))
        parts = (hmac.digest(key, definition.encode(), "sha256").hex()[:16], _label(files), _label(tags))
        found[name] = {label: value for label, value in zip(MARKS, parts, strict=True) if value}
    return found


def _definition(resolved: Resolved, name: str, image: str) -> str:
    """Return what a service's containers are made of, wherever the release lies."""
    body = resolved.bodies[name]
    kept = {key: value for key, value in body.items() if key not in _NOT_OF_A_CONTAINER} | {"image": image}
    kept["deploy"] = {key: value for key, value in (body.get("deploy") or {}).items() if key != "replicas"}
    return json.dumps(kept, sort_keys=True).replace(resolved.folder, "")


def _config_paths(project: Project) -> dict[str, str]:
    return {mount.service: project.directory_of(mount) for mount in project.mounts if mount.section == "configs"}


def _is_bind_of(mount: Mount, service: str) -> bool:
    return mount.section == "services" and mount.service == service


def _volume(project: Project, mount: Mount) -> dict[str, Any]:
    return dict(mount.options) | {"source": project.directory_of(mount)}


def _label(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16] if parts else ""


def inputs(project: Project, *parts: bytes) -> str:
    """Return the hash of what is shipped, with further parts that make a difference."""
    seen = hashlib.sha256()
    for name, content in sorted((dict(project.files) | dict(project.env_files)).items()):
        seen.update(f"{name}\0{len(content)}\0".encode() + content)
    for path in sorted(file.path for file in project.host_files()):
        seen.update(path.encode() + b"\0")
    for part in parts:
        seen.update(len(part).to_bytes(8, "big") + part)
    return seen.hexdigest()


def staged(project: Project, directory: str) -> list[File]:
    """Return the files of a release that are there before its images are known."""
    own = [File(f"{directory}/{name}", content, 0o640) for name, content in project.files.items()]
    return [*own, *project.host_files()]


def content(project: Project, folder: str, override: bytes) -> dict[str, str]:
    """Return the SHA-256 of every file of the release in `folder`, by path."""
    own = {f"{folder}/{name}": body for name, body in (*project.files.items(), (OVERRIDE, override))}
    mounted = {file.path: file.body for file in project.host_files()}
    return {path: hashlib.sha256(body).hexdigest() for path, body in sorted((own | mounted).items())}

"""A project on the control side: its Compose files, and the files of the repository that its services mount.

Mounted files go to the host under a name made of their content. A changed file is then a changed path, so Compose
recreates exactly the services that mount it, and a release that comes back finds the files it was made with.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config import compose
from toolkit.config.models import Stack
from toolkit.host import File
from toolkit.words.errors import ConfigError
from toolkit.words.values import Size

# A stack carries configuration, not data: more than this is a mistake to be told, not to be uploaded.
LARGEST = Size(64 * 1024 * 1024)


@dataclass(frozen=True)
class Mount:
    """One place where a Compose file names a file or folder of the repository."""

    source: Path
    service: str
    options: Mapping[str, Any]
    """The volume as Compose's long syntax has it, `source` still to be set; `target` alone for a config."""

    section: str = "services"
    """`services` for a bind mount, `configs` for a top-level file; then `service` is that entry's name."""


@dataclass(frozen=True)
class Project:
    """What a deploy ships: everything is read once, so that nothing changes under it."""

    name: str
    files: Mapping[str, bytes]
    """Compose files in the order they are laid over each other, by the names they have on the host."""

    mounts: tuple[Mount, ...]
    env_files: Mapping[str, bytes]
    """Files named by `env_file`, by their path inside the project; empty where the host file has their content."""

    shipped: Mapping[Path, tuple[tuple[str, bytes, int], ...]]
    """Each mounted source with its files: (path below the source, content, mode)."""

    def directory_of(self, mount: Mount) -> str:
        """Return the path on the host of what a mount names."""
        return f"/opt/{self.name}/files/{_digest(self.shipped[mount.source])}/{mount.source.name}"

    def host_files(self) -> Iterator[File]:
        """Yield every mounted file, once, as it goes to the host."""
        for source, entries in self.shipped.items():
            base = f"/opt/{self.name}/files/{_digest(entries)}/{source.name}"
            for below, content, mode in entries:
                yield File(f"{base}/{below}" if below else base, content, mode)


def read(root: Path, stack: Stack) -> Project:
    """Read a stack from the repository at `root`. Raises ConfigError for whatever is missing or leads outside."""
    directory = (root / stack.directory).resolve()
    documents = [compose.read(directory / name) for name in stack.files]
    for name, document in zip(stack.files, documents, strict=True):
        _refuse_what_does_not_travel(name, document)
    mounts = tuple(mount for document in documents for mount in _mounts(root, directory, document))
    return Project(
        name=stack.name,
        files={f"{index}-{Path(name).name}": (directory / name).read_bytes() for index, name in enumerate(stack.files)},
        mounts=mounts,
        env_files=dict(_env_files(root, directory, documents, stack.env_files)),
        shipped=_shipped({mount.source for mount in mounts}),
    )


def _refuse_what_does_not_travel(name: str, document: Mapping[str, Any]) -> None:
    if document.get("include"):
        raise ConfigError(f"{name} uses `include`", hint="list the included files under stack.files instead")
    for service, body in _section(document, "services"):
        if isinstance(body.get("extends"), dict) and body["extends"].get("file"):
            raise ConfigError(
                f"{name}: service {service} extends another file", hint="list that file under stack.files instead"
            )


def _mounts(root: Path, directory: Path, document: Mapping[str, Any]) -> Iterator[Mount]:
    for service, body in _section(document, "services"):
        for volume in body.get("volumes") or ():
            if options := _bind(volume):
                source = _inside(root, directory, options.pop("source"), f"service {service}")
                yield Mount(source, service, options)
    # Files of `secrets:` stay at home: their values come from the vault, and never lie on a disk in clear.
    for name, body in _section(document, "configs"):
        if "file" in body and not Path(body["file"]).is_absolute():
            yield Mount(_inside(root, directory, body["file"], f"configs {name}"), name, {}, "configs")


def _section(document: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, body in (document.get(name) or {}).items():
        if isinstance(body, dict):
            yield key, body


def _bind(volume: object) -> dict[str, Any] | None:
    """Return a volume in long syntax where it mounts something relative to the project; None for all others."""
    if isinstance(volume, str):
        source, _, rest = volume.partition(":")
        target, _, flags = rest.partition(":")
        if not target or not source.startswith("."):
            return None
        options: dict[str, Any] = {"type": "bind", "source": source, "target": target}
        # Long syntax knows read-only; the rest of the flags (`z`, `rw`) say nothing about a plain file.
        return options | ({"read_only": True} if "ro" in flags.split(",") else {})
    # Unlike the short syntax, the long one takes a bare `conf/app.conf` for a path too.
    if isinstance(volume, dict) and volume.get("type") == "bind":
        return None if str(volume.get("source", "/")).startswith(("/", "~", "$")) else dict(volume)
    return None


def _inside(root: Path, directory: Path, written: str, what: str) -> Path:
    path = (directory / written).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ConfigError(
            f"{what} names {written}, which leads out of the repository", hint="mount only files of this repository"
        )
    if not path.exists():
        raise ConfigError(
            f"{what} mounts {written}, which is not in the repository",
            hint="add the file; data that a service writes belongs into a named volume",
        )
    return path


def _shipped(sources: set[Path]) -> dict[Path, tuple[tuple[str, bytes, int], ...]]:
    shipped = {source: tuple(_entries(source)) for source in sorted(sources)}
    total = Size(sum(len(content) for entries in shipped.values() for _, content, _ in entries))
    if total > LARGEST:
        raise ConfigError(f"the stack mounts {total} of files", hint="data belongs into a volume or an image")
    return shipped


def _entries(source: Path) -> Iterator[tuple[str, bytes, int]]:
    below = [source] if source.is_file() else sorted(source.rglob("*"))
    for path in below:
        if path.is_symlink():
            raise ConfigError(f"{path} is a symbolic link", hint="mount the file itself: links do not travel")
    paths = [path for path in below if path.is_file()]
    if not paths:
        raise ConfigError(f"{source} is mounted and holds no file", hint="put a file there, or use a named volume")
    for path in paths:
        # Readable by whoever the container runs as; executable only where it is here.
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        yield ("" if path == source else str(path.relative_to(source)), path.read_bytes(), mode)


def _digest(entries: tuple[tuple[str, bytes, int], ...]) -> str:
    seen = hashlib.sha256()
    for below, content, mode in entries:
        seen.update(f"{below}\0{mode:o}\0{len(content)}\0".encode() + content)
    return seen.hexdigest()[:24]


def _env_files(
    root: Path, directory: Path, documents: list[Mapping[str, Any]], given: Collection[str]
) -> Iterator[tuple[str, bytes]]:
    for document in documents:
        for service, body in _section(document, "services"):
            for name in _env_names(directory, body.get("env_file"), given):
                place = os.path.normpath(name)
                if place.startswith(("..", "/")):
                    raise ConfigError(
                        f"service {service} names {name}, which leads out of {directory.name}",
                        hint="keep env files inside of stack.directory",
                    )
                # `.env` is what the host file's variables are for: the working copy's own never leaves it.
                if place in given:
                    yield place, b""
                elif place != ".env":
                    yield place, _inside(root, directory, name, f"service {service}").read_bytes()


def _env_names(directory: Path, written: object, given: Collection[str]) -> Iterator[str]:
    for entry in written if isinstance(written, list) else [written]:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict) and _wanted(directory, entry, given):
            yield entry["path"]


def _wanted(directory: Path, entry: Mapping[str, Any], given: Collection[str]) -> bool:
    path = entry.get("path")
    if not isinstance(path, str):
        return False
    return bool(entry.get("required", True)) or os.path.normpath(path) in given or (directory / path).exists()

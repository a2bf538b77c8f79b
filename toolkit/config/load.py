"""From `hosts/<name>.yml` to a HostFile, or to one ConfigError with everything that is wrong in it."""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from toolkit.config import explain, text
from toolkit.config.checks import check, check_paths
from toolkit.config.document import Node, Plain
from toolkit.config.faults import Fault, as_error
from toolkit.config.models import Document, HostFile
from toolkit.words.errors import ConfigError

FOLDER = "hosts"
PAGE = "docs/host-file.md"


def find_root(start: Path) -> Path:
    """Return the repository around `start`: the nearest folder upwards that holds `hosts/`. Raises ConfigError."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / FOLDER).is_dir():
            return folder
    raise ConfigError(f"no folder {FOLDER}/ in {start} or above it", hint="go to the repository of your installation")


def names(root: Path) -> list[str]:
    """Return the names of all host files of the repository, sorted."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yml"))


def named(root: Path, name: str) -> HostFile:
    """Return the host file with this name. Raises ConfigError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        hint = "a host's name is its file's name without .yml: letters, digits, - and _"
        raise ConfigError(f"{name!r} is not the name of a host", hint=hint)
    return load(root / FOLDER / f"{name}.yml")


def load(path: Path) -> HostFile:
    """Return what the file says. Raises ConfigError with all faults; nothing in the file is executed."""
    node, faults = text.read(path, PAGE)
    host, more = _understand(node, path)
    if faults or more or host is None:
        raise as_error(text.name_of(path), [*faults, *more], PAGE)
    return host


def line_of(host: HostFile, *trail: str | int) -> int:
    """Return the line of a host file on which something stands, or the nearest thing around it."""
    return text.read(host.root / FOLDER / f"{host.name}.yml", PAGE)[0].line_of(trail)


def _understand(node: Node, path: Path) -> tuple[HostFile | None, list[Fault]]:
    try:
        host = _host_file(Document.model_validate(node.value if node.value is not None else {}), path)
        return host, list(_checked(host, node))
    except ValidationError as error:
        faults = explain.faults(error, node)
        return None, [*faults, *_checked_without(faults, node, path)]


def _host_file(document: Document, path: Path) -> HostFile:
    return HostFile(
        name=path.stem,
        root=path.absolute().parent.parent.resolve(),
        connection=document.connection,
        machine=document.machine,
        registries=document.registries,
        stack=document.stack,
        watchdog=document.watchdog,
        notify=document.notify,
    )


def _checked(host: HostFile, node: Node) -> Iterator[Fault]:
    for trail, message, hint in (*check(host), *check_paths(host)):
        yield Fault(node.line_of(trail), trail, message, hint)


def _checked_without(faults: list[Fault], node: Node, path: Path) -> Iterator[Fault]:
    """Check what is left when the sections with faults are taken out, so that one run tells everything."""
    if not isinstance(node.value, dict):
        return
    try:
        document = Document.model_validate(_sound(node.value, {fault.path[:2] for fault in faults}))
    except ValidationError:
        return
    yield from _checked(_host_file(document, path), node)


def _sound(data: dict[str, Plain], bad: set[tuple[str | int, ...]]) -> dict[str, Plain]:
    sections = {trail[:1] for trail in bad if trail[:1] != ("machine",)}
    rest = {key: value for key, value in data.items() if (key,) not in sections and key != "machine"}
    if isinstance(machine := data.get("machine"), dict):
        rest["machine"] = {key: value for key, value in machine.items() if ("machine", key) not in bad}
    # Who connects and what sshd allows are judged together: with one of them unknown, neither is.
    if "connection" not in rest or {("machine",), ("machine", "sshd")} & bad:
        rest["connection"] = "local"
    return rest

"""Lint a stack: have Compose resolve its files on the control side, and look at what it means.

Providers of a host file are not asked: each variable they would give has a stand-in. No host is needed; with one, what
it has and runs counts too.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toolkit.config import providers, suppressions
from toolkit.config.compose import Marked, marked
from toolkit.config.models import HostFile, Stack
from toolkit.host import Host
from toolkit.stack import compose, project
from toolkit.stack.lint import RULES, env_files, installed, judge, model, report
from toolkit.stack.lint.model import Capacity, Model, mapping
from toolkit.stack.lint.report import Files, Report
from toolkit.vault import templates
from toolkit.words.errors import ConfigError, HostError
from toolkit.words.report import Listener
from toolkit.words.values import Secret
from toolkit.workflows import resolve
from toolkit.workflows.attempt import required
from toolkit.workflows.resolve import Answer, Request

STAND_IN = "10203"
"""For a value that only a deploy looks up: digits, so that it passes for a port or a number too."""

EVERYTHING = "*"
DEFAULT_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_LARGEST_ENV = 1024 * 1024


@dataclass(frozen=True)
class Wish:
    """What a person asks for beside the files."""

    profiles: tuple[str, ...] = ()
    env_file: Path | None = None
    capacity: Capacity = field(default_factory=Capacity)


def of_host(host_file: HostFile, wish: Wish, *, listener: Listener, host: Host | None = None) -> Report:
    """Lint the stack of a host file. Raises ConfigError for what a deploy would refuse, and Unsupported."""
    stack = required(host_file)
    shipped = project.read(host_file.root, stack)
    shown = {f"{Path(stack.directory) / name}": host_file.root / stack.directory / name for name in stack.files}
    documents = {name: marked(path) for name, path in shown.items()}
    with TemporaryDirectory(prefix="toolkit-lint-") as place:
        folder = Path(place).resolve()
        _stage(folder, shipped, stack)
        files = tuple(folder / name for name in shipped.files)
        request = Request(folder, files, stack.name, stack.profiles, folder / ".env")
        renamed = dict(zip(map(str, files), shown, strict=True)) | {f"{folder}/": ""}
        subject = f"hosts/{host_file.name}.yml"
        found = _resolved(request, [folder], documents, _Told(subject, renamed, "stack.variables"), listener)
    found = replace(
        model.of_host(found, stack, host_file.machine, _ingredients(host_file)),
        **_env(_shipped(shipped, stack), documents, Path(stack.directory)),
        sources=_sources(shipped),
        capacity=wish.capacity,
    )
    if host is not None:
        found = _on_host(found, host, stack, wish)
    return _report(subject, found, documents, stack.lint, host_file)


def of_files(paths: Sequence[Path], wish: Wish, *, listener: Listener) -> Report:
    """Lint Compose files, or the ones in a folder, as `docker compose` would take them. Raises ConfigError."""
    files = tuple(path.absolute() for path in _named(paths))
    shown = report.shown(files)
    documents = {shown[path]: marked(path) for path in files}
    folder = files[0].parent
    env_file = wish.env_file.absolute() if wish.env_file else None
    request = Request(folder, files, profiles=wish.profiles, env_file=env_file)
    folders = [_around(path) for path in (*files, *([env_file] if env_file else []))]
    subject, place = ", ".join(shown.values()), Path(shown[files[0]]).parent
    renamed = {str(path): name for path, name in shown.items()} | {f"{folder}/": str(place / "_")[:-1]}
    told = _Told(subject, renamed, str(env_file or ".env beside the file"))
    found = _resolved(request, folders, documents, told, listener)
    read = {name: env_files.parse(text) for name, text in _read(folder, env_file or folder / ".env", documents)}
    found = replace(found, **_env(read, documents, place), capacity=wish.capacity)
    return _report(subject, found, documents, (), None)


@dataclass(frozen=True)
class _Told:
    """How complaints name things: the subject, paths under their own names, and where a variable would be set."""

    subject: str
    renamed: Mapping[str, str]
    variables: str

    def plainly(self, complaint: str) -> str:
        for path, name in self.renamed.items():
            complaint = complaint.replace(path, name)
        return complaint


def _stage(folder: Path, shipped: project.Project, stack: Stack) -> None:
    """Lay the files out as a deploy does on the host, with stand-ins for values."""
    given = {os.path.normpath(name): _rendered(values) for name, values in stack.env_files.items()}
    for name, content in {**shipped.files, **shipped.env_files, **given, ".env": _rendered(stack.variables)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _rendered(variables: Mapping[str, str]) -> bytes:
    values = {name: STAND_IN if providers.is_provider(text) else text for name, text in variables.items()}
    return compose.render_env({name: Secret.of(value) for name, value in values.items()}).reveal()


def _resolved(
    request: Request, folders: Sequence[Path], documents: Mapping[str, Marked], told: _Told, listener: Listener
) -> Model:
    everything = replace(request, profiles=(EVERYTHING,))
    wanted = [request, *([everything] if _has_profiles(documents) else [])]
    answer, *more = resolve.compose(listener).answers(wanted, folders)
    _refuse(answer, told)
    # With every profile on, services may stand in each other's way: then nobody knows what is off.
    whole = _parsed(more[0]) if more and more[0].code == 0 else None
    return model.read(_parsed(answer), whole, directory=str(request.directory))


def _sources(shipped: project.Project) -> dict[tuple[str, str], str]:
    """Return where a deploy would mount each file of the repository from, by service and target."""
    binds = (one for one in shipped.mounts if one.section == "services")
    return {(one.service, str(one.options.get("target"))): shipped.directory_of(one) for one in binds}


def _has_profiles(documents: Mapping[str, Marked]) -> bool:
    data = [one.data for one in documents.values()]
    bodies = (body for one in data for body in mapping(one.get("services")).values())
    return any("include" in one for one in data) or any("profiles" in mapping(body) for body in bodies)


def _parsed(answer: Answer) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(answer.output))
    except (ValueError, RecursionError) as error:
        raise HostError("`docker compose config` gave no JSON", hint="run it by hand with --debug") from error


def _refuse(answer: Answer, told: _Told) -> None:
    if unset := compose.unset_variables(answer.errors):
        hint = f"set it in {told.variables}, or give it a default: ${{{unset[0]}:-value}}"
        raise ConfigError(f"{told.subject}: no value for {', '.join(unset)}", hint=hint)
    if answer.code:
        hint = "correct the Compose files"
        if "undefined service" in answer.complaint:
            hint = "correct the name, or turn on the profile it is in: stack.profiles, or --profile"
        raise ConfigError(f"{told.subject}: Compose refuses these files:\n{told.plainly(answer.complaint)}", hint=hint)


def _ingredients(host_file: HostFile) -> frozenset[str]:
    """Return the secrets that something else in the host file is made of."""
    stack = required(host_file)
    values = {name: one.value or "" for name, one in stack.secrets.items()}
    made = {
        used
        for name, text in values.items()
        if templates.is_template(text) and not providers.is_provider(text)
        for used in templates.names(text, f"stack.secrets.{name}")
    }
    given = [text for one in stack.env_files.values() for text in one.values()]
    texts = [*stack.variables.values(), *given, *values.values(), *(one.token for one in host_file.registries)]
    texts += [one.url for one in host_file.notify]
    return frozenset(made | {kept for text in texts if (kept := providers.kept_name(text)) is not None})


def _on_host(found: Model, host: Host, stack: Stack, wish: Wish) -> Model:
    capacity, deployed = installed.parse(host.run(installed.read(stack.name)).text)
    # What a person says of the machine is about the one they plan.
    merged = Capacity(wish.capacity.memory or capacity.memory, wish.capacity.cpus or capacity.cpus)
    return replace(found, capacity=merged, deployed=deployed)


def _shipped(shipped: project.Project, stack: Stack) -> dict[str, dict[str, str]]:
    """Return what the env files of a deploy say, the host file's own as far as their values stand there."""
    contents = {name: content.decode(errors="replace") for name, content in shipped.env_files.items()}
    given = {os.path.normpath(name): values for name, values in stack.env_files.items()} | {".env": stack.variables}
    known = {
        name: {key: text for key, text in one.items() if not providers.is_provider(text)} for name, one in given.items()
    }
    return {name: env_files.parse(content) for name, content in contents.items()} | known


def _env(parsed: Mapping[str, Mapping[str, str]], documents: Mapping[str, Marked], place: Path) -> dict[str, Any]:
    groups = (files for one in documents.values() for files in env_files.named(one.data))
    shown = {name: str(place / name) for name in parsed}
    pairs = env_files.layers(tuple(shown.get(name, name) for name in files) for files in groups)
    return {"env_files": {shown[name]: values for name, values in parsed.items()}, "layers": pairs}


def _read(folder: Path, own: Path, documents: Mapping[str, Marked]) -> Iterator[tuple[str, str]]:
    """Yield the env files of Compose files on this disk: the one for variables, and those of services."""
    named = {name for one in documents.values() for files in env_files.named(one.data) for name in files}
    for name in sorted({own.name, *named}):
        path = own if name == own.name else folder / name
        # Outside of the project lies nothing that its services should be told.
        if path.is_file() and path.stat().st_size <= _LARGEST_ENV and path.resolve().is_relative_to(_around(folder)):
            yield name, path.read_text(errors="replace")


def _named(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        there = [path / name for name in DEFAULT_NAMES if (path / name).is_file()]
        if not there:
            raise ConfigError(f"no Compose file in {path}", hint=f"Compose looks for {', '.join(DEFAULT_NAMES)}")
        override = there[0].with_name(f"{there[0].stem}.override{there[0].suffix}")
        yield from (there[0], *([override] if override.is_file() else []))


def _around(path: Path) -> Path:
    """Return the repository around a file, or the file's own folder: what a container gets to see."""
    folder = path if path.is_dir() else path.parent
    known = (one for one in (folder, *folder.parents) if (one / ".git").exists() or (one / "hosts").is_dir())
    found = next(known, folder)
    return folder if found == Path(found.anchor) else found


def _report(
    subject: str, found: Model, documents: Mapping[str, Marked], own: Sequence[Any], host_file: HostFile | None
) -> Report:
    written = [one for name, document in documents.items() for one in suppressions.read(name, document.data)]
    return report.make(subject, judge(found, RULES, [*own, *written]), Files(documents, host_file))

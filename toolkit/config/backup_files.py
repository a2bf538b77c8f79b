"""From `backups/<name>.yml` to a BackupFile, or to one ConfigError with everything that is wrong in it."""

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

from pydantic import ValidationError

from toolkit.config import drills, explain, text
from toolkit.config.backup_duty import SourceOf
from toolkit.config.backups import DAY, BackupDocument, BackupFile, Tree
from toolkit.config.checks import Finding
from toolkit.config.document import Node, Plain
from toolkit.config.faults import Fault, as_error

FOLDER = "backups"
PAGE = "docs/backup-file.md"


def names(root: Path) -> list[str]:
    """Return the names of all hosts that have a backup file, sorted."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yml"))


def load(path: Path) -> BackupFile:
    """Return what the file says. Raises ConfigError with all faults; nothing in the file is executed."""
    node, faults = text.read(path, PAGE)
    found, more = _understand(node, path)
    if faults or more or found is None:
        raise as_error(text.name_of(path), [*faults, *more], PAGE)
    return found


def _understand(node: Node, path: Path) -> tuple[BackupFile | None, list[Fault]]:
    try:
        found = _backup_file(_document(node.value), path)
        return found, list(_checked(found, node))
    except ValidationError as error:
        faults = explain.faults(error, node, _schema)
        return None, [*faults, *_checked_without(faults, node, path)]


def _schema() -> explain.Schema:
    from toolkit.config.schema import BACKUPS, schema

    return schema(BACKUPS)


def _document(value: Plain) -> BackupDocument:
    return BackupDocument.model_validate(value if value is not None else {})


def _backup_file(document: BackupDocument, path: Path) -> BackupFile:
    root = path.absolute().parent.parent.resolve()
    return BackupFile(name=path.stem, root=root, **{key: getattr(document, key) for key in BackupDocument.model_fields})


def _checked_without(faults: list[Fault], node: Node, path: Path) -> Iterator[Fault]:
    """Check what is left when the keys with faults are taken out, so that one run tells everything."""
    bad = {fault.path[0] for fault in faults if fault.path}
    if not isinstance(node.value, dict) or "repository" in bad or "repository" not in node.value:
        return
    try:
        document = _document({key: value for key, value in node.value.items() if key not in bad})
    except ValidationError:
        return
    yield from _checked(_backup_file(document, path), node)


def _checked(found: BackupFile, node: Node) -> Iterator[Fault]:
    for trail, message, hint in check(found):
        yield Fault(node.line_of(trail), trail, message, hint)


def check(found: BackupFile) -> Iterator[Finding]:
    """Yield what contradicts itself in a file whose values are sound one by one."""
    if not (found.root / "hosts" / f"{found.name}.yml").is_file():
        yield (), f"there is no hosts/{found.name}.yml", "name it as its host file is named"
    yield from _users(found)
    yield from _recipients(found.recipients)
    if not any(vars(found.keep).values()):
        yield ("keep",), "keeps nothing", "set last, daily, weekly, monthly or yearly above zero"
    if found.epoch < DAY:
        told = "shorter than a day: every backup would be a full one"
        yield ("epoch",), told, "epochs of 30d suit most"
    yield from _trees(found.paths)
    yield from _sources(found.sources)
    if found.schedule and found.targets.rpo and found.targets.rpo < found.schedule.gap:
        told = f"shorter than the time between two backups, which is up to {found.schedule.gap}"
        yield ("targets", "rpo"), told, "back up more often, or ask for less"
    yield from drills.check(found.drill)


def _users(found: BackupFile) -> Iterator[Finding]:
    where, trail = found.repository, ("repository",)
    if where.url.startswith("file:"):
        if where.operator or where.host:
            yield trail, "a directory has no users of its own", "remove operator and host"
        return
    for key, who in (("operator", where.operator), ("host", where.host)):
        if who is None:
            yield (*trail, key), "required for a bucket, and not there", f"give the {key}'s access_key and secret_key"
    if where.operator and where.host and where.operator.access_key == where.host.access_key:
        told = "the same user as the operator: the host could read and delete every backup"
        yield (*trail, "host", "access_key"), told, "make a user for the host on the server"


def _recipients(recipients: tuple[str, ...]) -> Iterator[Finding]:
    if len(recipients) == 1:
        told = "one recipient: with its key lost, everything is lost"
        yield ("recipients",), told, "name the operator and an escrow that is kept offline"
    for place, recipient in enumerate(recipients):
        if recipient in recipients[:place]:
            yield ("recipients", place), "is there already", "keep one of them"


def _sources(sources: Iterable[SourceOf]) -> Iterator[Finding]:
    for place, source in enumerate(sources):
        if source.kind in ("postgres", "redis", "clickhouse", "mysql"):
            missing = "" if source.service else "service"
        elif source.kind == "sqlite":
            missing = "" if source.file and (source.volume or source.path) else "file, and a volume or path"
        else:
            missing = "" if getattr(source, source.kind) else source.kind
        if source.wal and source.kind != "postgres":
            yield ("sources", place, "wal"), f"{source.kind} has no log to ship", "leave it out"
        if missing:
            yield ("sources", place), f"{source.kind} needs a {missing}", "name where its data is"


def _trees(trees: Iterable[Tree]) -> Iterator[Finding]:
    for (first, a), (second, b) in combinations(enumerate(trees), 2):
        if a.path == b.path or f"{b.path}/".startswith(f"{a.path}/"):
            yield ("paths", second), f"lies in {a.path}, which is backed up already", "keep one of them"
        elif a.path.startswith(f"{b.path}/"):
            yield ("paths", first), f"lies in {b.path}, which is backed up already", "keep one of them"
        elif a.called == b.called or f"{b.called}/".startswith(f"{a.called}/") or a.called.startswith(f"{b.called}/"):
            yield ("paths", second), f"its name {b.called} does not stand apart from {a.called}", "give it another name"

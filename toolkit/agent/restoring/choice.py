"""Choice: which of a snapshot's sources are restored, and where each belongs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from toolkit.agent.backup import gather
from toolkit.agent.paths import Paths
from toolkit.repository.read import Snapshot
from toolkit.sources.discover import Found
from toolkit.sources.docker import Docker, Inspected
from toolkit.sources.protocol import Place
from toolkit.sources.refill import Layout, layout, sources_in
from toolkit.stack.duty import Duty
from toolkit.words.errors import ConfigError, Error, HostError


def chosen(
    snapshot: Snapshot,
    containers: Sequence[Inspected],
    wanted: Sequence[str],
    trees: Mapping[str, str],
    found: Sequence[Found] = (),
) -> Layout:
    """Find the places of what is wanted, everything where nothing is named.

    What shares a volume comes back together: a volume that is exchanged for one with half of its files has lost the
    rest. Raises ConfigError for a source that the snapshot does not have, HostError where nothing has a place here.
    """
    known = sources_in(snapshot.manifest.sources, trees)
    if unknown := [name for name in wanted if name not in known]:
        hint = f"it has {', '.join(sorted(known)) or 'none'}"
        raise ConfigError(f"snapshot {snapshot.name} has no source {unknown[0]}", hint=hint)
    everything = layout(snapshot, containers, found=found, trees=trees)
    if not wanted:
        placed = everything
    else:
        volumes = {volume for part in everything.parts if part.name in wanted for volume in part.volumes}
        parts = [one for one in everything.parts if one.name in wanted or set(one.volumes) & volumes]
        unplaced = tuple(pair for pair in everything.unplaced if pair[0] in wanted)
        placed = Layout(tuple(parts), unplaced)
    for part in placed.parts:
        _refuse_half(part.source.kind, part.name, part.volumes, placed)
    if not placed.parts:
        why = "; ".join(f"{name}: {reason}" for name, reason in placed.unplaced) or "it holds no data of a stack"
        raise HostError(f"nothing of snapshot {snapshot.name} has a place here: {why}", hint="deploy its stack first")
    return placed


def described(paths: Paths, docker: Docker, stack: str, told: Callable[[str], None]) -> Sequence[Found]:
    """Return the stack's sources as this host's backup file corrects them; none, with a word, where nobody can say."""
    try:
        duty = Duty.read(paths.duty)
        return gather.look(docker, duty)[0].found if duty.stack == stack else ()
    except Error as error:
        told(f"sources are taken as they are discovered: {error.message}")
        return ()


def _refuse_half(kind: str, name: str, volumes: Sequence[str], found: Layout) -> None:
    whole = {volume for part in found.parts if part.source.kind == "volume" for volume in part.volumes}
    if kind == "sqlite" and volumes and not set(volumes) <= whole:
        hint = "restore it with `--to DIR --path` and copy it in"
        raise HostError(f"{name}: the snapshot does not have the rest of its volume", hint=hint)


def size(snapshot: Snapshot, found: Layout) -> int:
    """How many bytes the snapshot holds of what was chosen."""
    names = [part.name for part in found.parts]
    infos = snapshot.manifest.sources
    return sum(one.bytes for one in infos if any(one.name == n or one.name.startswith(f"{n}/") for n in names))


def moved(place: Place, paths: Mapping[str, str]) -> Place:
    """The same place, with a path of the host named by the directory beside it."""
    return replace(place, path=paths.get(place.path, place.path))

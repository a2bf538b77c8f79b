"""Pieces: one file or folder of a snapshot, written beside the volume that it belongs to and put into its place."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.agent.restoring.swap import Swap
from toolkit.repository.read import Snapshot
from toolkit.repository.restore import How, restore
from toolkit.sources.discover import Found
from toolkit.sources.docker import Inspected
from toolkit.sources.protocol import Probe, Verdict
from toolkit.sources.refill import Layout, Part, Refilled, layout
from toolkit.sources.within import Within
from toolkit.words.errors import HostError
from toolkit.words.report import Listener


def placed(
    snapshot: Snapshot,
    piece: Within,
    containers: Sequence[Inspected],
    trees: Mapping[str, str],
    known: Sequence[Found],
) -> Part:
    """The source that the piece belongs to, and where that is. Raises HostError where it has no place here."""
    found: Layout = layout(snapshot, containers, found=known, trees=trees, only=(piece.source,))
    if not found.parts:
        why = "; ".join(reason for _, reason in found.unplaced)
        raise HostError(f"{piece.source} has no place here: {why}", hint="deploy its stack first")
    return found.parts[0]


def load(snapshot: Snapshot, piece: Within, one: Swap, listener: Listener) -> Refilled:
    """Write the piece beside, under its own name. Raises RepositoryError, HostError where something was withheld."""
    target = Path(one.beside)
    # A directory's content lands in the target itself, a file below it.
    done = restore(
        snapshot,
        target / piece.name if piece.directory else target,
        How(below=piece.path, durable=True),
        listener=listener,
    )
    if done.withheld:
        first = ", ".join(f"{path} ({what})" for path, what in done.withheld[:5])
        hint = f"nothing was touched; `--to DIRECTORY --path {piece.path}` brings the rest aside"
        raise HostError(f"{len(done.withheld)} things were left out of {piece.path}: {first}", hint=hint)
    whole = done.entries == piece.entries
    evidence = f"{done.entries} of {piece.entries} entries, {done.bytes} bytes, each piece of them checked by its hash"
    probe = Probe(piece.path, (Verdict("files", "good" if whole else "bad", evidence),))
    return Refilled(piece.path, "piece", done.seconds, 0.0, probe)

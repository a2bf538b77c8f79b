"""Excerpts: one file or folder of a snapshot, written beside the volume that it belongs to and put into its place."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.agent.restoring.swap import Swap
from toolkit.repository.read import Snapshot
from toolkit.repository.restore import How, restore
from toolkit.sources.discover import Found
from toolkit.sources.docker import Inspected
from toolkit.sources.excerpts import Excerpt
from toolkit.sources.protocol import Probe, Verdict
from toolkit.sources.refill import Layout, Part, Refilled, layout
from toolkit.words.errors import HostError
from toolkit.words.report import Listener


def placed(
    snapshot: Snapshot,
    wanted: Excerpt,
    containers: Sequence[Inspected],
    trees: Mapping[str, str],
    known: Sequence[Found],
) -> Part:
    """The source that the excerpt belongs to, and where that is. Raises HostError where it has no place here."""
    found: Layout = layout(snapshot, containers, found=known, trees=trees, only=(wanted.source,))
    if not found.parts:
        why = "; ".join(reason for _, reason in found.unplaced)
        raise HostError(f"{wanted.source} has no place here: {why}", hint="deploy its stack first")
    return found.parts[0]


def load(snapshot: Snapshot, wanted: Excerpt, one: Swap, listener: Listener) -> Refilled:
    """Write the excerpt beside, under its own name. Raises RepositoryError, HostError where something was withheld."""
    target = Path(one.beside)
    # A directory's content lands in the target itself, a file below it.
    done = restore(
        snapshot,
        target / wanted.name if wanted.directory else target,
        How(below=wanted.path, durable=True),
        listener=listener,
    )
    if done.withheld:
        first = ", ".join(f"{path} ({what})" for path, what in done.withheld[:5])
        hint = f"nothing was touched; `--to DIRECTORY --path {wanted.path}` brings the rest aside"
        raise HostError(f"{len(done.withheld)} things were left out of {wanted.path}: {first}", hint=hint)
    whole = done.entries == wanted.entries
    evidence = f"{done.entries} of {wanted.entries} entries, {done.bytes} bytes, each chunk of them checked by its hash"
    probe = Probe(wanted.path, (Verdict("files", "good" if whole else "bad", evidence),))
    return Refilled(wanted.path, "excerpt", done.seconds, 0.0, probe)

"""Preview: what a deploy would do to each service and why, and what somebody changed by hand. Nothing is touched.

The files go to the host as a draft that is removed again, because only its Compose knows what they mean there.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.stack import containers, moves
from toolkit.stack.manifest import Manifest
from toolkit.stack.moves import Move
from toolkit.words.clock import Clock
from toolkit.words.command import script
from toolkit.words.errors import Error
from toolkit.words.report import Silent
from toolkit.words.values import Secret
from toolkit.workflows.attempt import Attempt, begin, digests
from toolkit.workflows.deploy import Seen, look
from toolkit.workflows.prepare import draft_of, manifest_of, resolve


@dataclass(frozen=True)
class Preview:
    """What a deploy would do. `drift` says what is not as the current release left it."""

    host: str
    stack: str
    current: str
    moves: Sequence[Move]
    drift: Sequence[str]
    unfinished: bool

    @property
    def changes(self) -> int:
        return sum(move.touches and move.kind != "run" for move in self.moves) + len(self.drift) + self.unfinished


def preview(host_file: HostFile, host: Host, *, clock: Clock) -> Preview:
    """Return what a deploy would do now. Raises what a deploy raises before it touches anything."""
    attempt = begin(host_file, host, listener=Silent(), clock=clock)
    seen = look(attempt)
    manifest = _would_be(attempt, seen)
    made = moves.plan(manifest, seen.running, seen.record, one_shots=True)
    return Preview(
        host=host.name,
        stack=attempt.stack.name,
        current=seen.manifest.id if seen.manifest else "",
        moves=made,
        drift=tuple(_drift(seen)),
        unfinished=seen.unfinished,
    )


def _would_be(attempt: Attempt, seen: Seen) -> Manifest:
    draft = draft_of(attempt.stack.name)
    try:
        resolved = resolve(attempt, draft)
        pins = digests(attempt, resolved.services)
        # A host that never saw a deploy has no key yet: everything is new there anyway.
        key = seen.key or Secret(b"none").reveal()
        return manifest_of(attempt, key, resolved, pins).manifest
    finally:
        with suppress(Error):
            attempt.host.run(script('rm -rf -- "$1" "$2"', draft.folder, draft.env), check=False)


def _drift(seen: Seen) -> list[str]:
    """Return a sentence for each thing that is not as the current release left it."""
    if seen.manifest is None:
        return []
    verdicts = containers.judge(seen.manifest.services, seen.running, finished=seen.record.finished)
    told = [f"{one.service}: {one.reason}" for one in verdicts if not one.good]
    for one in seen.running:
        if one.service not in seen.manifest.services:
            told.append(f"{one.name}: runs, and the release does not have it")
        elif one.image != seen.manifest.pinned(one.service):
            told.append(f"{one.name}: runs {one.image}")
        elif dict(one.marks) != dict(seen.manifest.marks.get(one.service, {})):
            told.append(f"{one.name}: was not made by the current release")
        elif seen.record.edited(one):
            told.append(f"{one.name}: its limits, restart policy or networks were changed by hand")
    return told

"""What a snapshot has of a stack beside its data: the release, the files it mounts, its secrets. Docs: backup.md.

The facts come from a host, so each is checked before a path or a name is made of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolkit.repository.manifest import Manifest
from toolkit.repository.read import Snapshot
from toolkit.words.errors import RepositoryError

RELEASE, FILES, SECRETS = "stack/release", "stack/files", "stack/secrets"
"""Names in the snapshot: the release's folder, the content of `/opt/<stack>/files` that it mounts, and its secrets."""

_STACK = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Captured:
    """What stack a snapshot is of, and when it was."""

    stack: str
    release: str
    moment: float | None
    """Seconds since 1970 at which the oldest data was held still."""

    parts: frozenset[str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Captured":
        """Read the facts. Raises RepositoryError where they make no sense."""
        manifest = snapshot.manifest
        facts = manifest.facts
        stack, release = str(facts.get("stack") or ""), str(facts.get("release") or "")
        if (stack and not _STACK.fullmatch(stack)) or (release and not _RELEASE.fullmatch(release)):
            raise RepositoryError(f"{snapshot.name} is of a stack with a name that none can have")
        parts = frozenset(info.name for info in manifest.sources)
        return cls(stack, release, _moment(facts, manifest), parts)

    def need_stack(self) -> None:
        """Raise RepositoryError where there is no release to bring up."""
        missing = [name for name in (RELEASE,) if name not in self.parts]
        if not self.stack or not self.release or missing:
            hint = "levels 0 to 2 prove such a snapshot; a backup of a deployed stack has all of it"
            raise RepositoryError("the snapshot holds no release of a stack to bring up", hint=hint)


def _moment(facts: Mapping[str, Any], manifest: Manifest) -> float | None:
    barrier = facts.get("barrier")
    texts = [barrier.get("began")] if isinstance(barrier, dict) else []
    for text in (*texts, facts.get("began"), manifest.started):
        if found := seconds(text):
            return found
    return None


def seconds(text: object) -> float | None:
    """Read a time as engines and manifests write it; one that names no zone is UTC. None where it is none."""
    written = str(text or "").strip().replace(" ", "T", 1)
    if re.fullmatch(r"\d{9,11}(\.\d+)?", written):
        return float(written)
    # PostgreSQL writes `+00`, Python's parser wants minutes as well.
    written = re.sub(r"([+-]\d\d)$", r"\1:00", written.replace("Z", "+00:00"))
    written = re.sub(r"\.(\d{1,6})\d*", lambda found: f".{found[1]:0<6}", written)
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

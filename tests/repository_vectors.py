"""The vectors: repositories as earlier versions wrote them, kept for ever, with what has to come out of them."""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_HOME = Path(__file__).parent / "vectors"


@dataclass(frozen=True)
class Vector:
    """One repository: a copy of a bucket, an identity that opens it, and what its snapshots hold."""

    directory: Path

    @property
    def bucket(self) -> Path:
        return self.directory / "bucket"

    @property
    def identity(self) -> Path:
        return self.directory / "identity"

    @cached_property
    def _about(self) -> dict[str, Any]:
        return dict(json.loads((self.directory / "expected.json").read_text()))

    @property
    def signing_key(self) -> str:
        return str(self._about["signing_key"])

    @property
    def expected(self) -> Mapping[str, dict[str, list[Any]]]:
        return dict(self._about["snapshots"])

    @staticmethod
    def seen(root: Path) -> dict[str, list[Any]]:
        """What any user can restore and see: kind, mode, time, and content or target."""
        found = {}
        for path in sorted(root.rglob("*")):
            status = path.lstat()
            content = ""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif path.is_symlink():
                content = str(path.readlink())
            mode = f"{status.st_mode:o}"
            found[str(path.relative_to(root))] = [mode, status.st_mtime_ns, content, status.st_nlink]
            if stat.S_ISDIR(status.st_mode):
                found[str(path.relative_to(root))].pop()
        return found

    def __str__(self) -> str:
        return self.directory.name


VECTORS = [Vector(path) for path in sorted(_HOME.glob("repository-*"))]

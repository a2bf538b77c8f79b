"""Repository: encrypted, deduplicated backups that a host can write and not read, and that stock tools open.

`Origin` is the host's side, `Repository` the reader's. `docs/format.md` is the contract between them.
"""

from toolkit.repository.backup import Options, Origin, Report, backup
from toolkit.repository.epochs import Terms
from toolkit.repository.inputs import Input, Stream, Tree
from toolkit.repository.pins import Pin
from toolkit.repository.read import Repository, Snapshot
from toolkit.repository.restore import How, Restored, restore

__all__ = [
    "How",
    "Input",
    "Options",
    "Origin",
    "Pin",
    "Report",
    "Repository",
    "Restored",
    "Snapshot",
    "Stream",
    "Terms",
    "Tree",
    "backup",
    "restore",
]

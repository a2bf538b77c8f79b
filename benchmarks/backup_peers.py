"""The peers: restic and Borg as Debian 13 ships them, in a small Debian tree of their own that is entered by chroot.

The packages come from the mirror this machine's own apt uses. What a peer works on is mounted into its tree, in a mount
namespace that ends with it, so that nothing stays mounted and the figures are those of the peer's own process.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Sample
from toolkit.lab import mirror

_ENTER = 'mount --bind "$1" "$2/bench" && shift && root=$1 && shift && exec chroot "$root" "$@"'


class Peers:
    """Runs restic and Borg over a work directory, which they see as `/work`."""

    def __init__(self, tree: Path, work: Path) -> None:
        self._tree, self._work = tree, work

    def ensure(self) -> None:
        """Make the tree where it is missing; takes half a minute."""
        if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
            raise SystemExit("the peers need root and mmdebstrap: apt-get install mmdebstrap")
        if not (self._tree / "usr/bin/restic").exists():
            shutil.rmtree(self._tree, ignore_errors=True)
            self._bootstrap()
        (self._tree / "bench").mkdir(exist_ok=True)

    def version(self, name: str) -> str:
        flag = "version" if name == "restic" else "--version"
        return " ".join(self.run(name, flag).output.split()[:2])

    def run(self, *argv: str, env: Mapping[str, str] | None = None) -> Sample:
        """Run a peer and return what it cost."""
        enter = ("unshare", "--mount", "sh", "-c", _ENTER, "sh", str(self._work), str(self._tree))
        return measure.run(
            (*enter, *argv), cwd=self._work, env={"HOME": "/bench/home", "LC_ALL": "C.UTF-8", **(env or {})}
        )

    def _bootstrap(self) -> None:
        found = mirror.local()
        if found is None:
            raise SystemExit("this machine's apt names no Debian mirror to take the peers from")
        sources = self._tree.with_suffix(".list")
        sources.parent.mkdir(parents=True, exist_ok=True)
        sources.write_text(found.sources("trixie"))
        packages = "--include=restic,borgbackup,ca-certificates"
        command = ("mmdebstrap", "--quiet", "--variant=minbase", packages, "trixie", str(self._tree), str(sources))
        subprocess.run(command, check=True)

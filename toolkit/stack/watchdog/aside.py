"""Standing aside: when somebody else is at work on a stack, or it is not clear what should run, nothing is healed."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.stack import hold, transaction
from toolkit.stack.containers import Container
from toolkit.stack.manifest import Manifest
from toolkit.stack.place import Place
from toolkit.words.errors import HostError
from toolkit.words.values import Duration

# After a boot Docker brings containers back by itself: they get this long, or as long as their checks need to begin.
BOOT, LONGEST_BOOT = 30.0, 300.0


@dataclass(frozen=True)
class Aside:
    """Who may be at work. `coming` says whether a deploy was asked for and has not begun."""

    place: Place
    coming: Callable[[], bool] = lambda: False
    booted: Callable[[], float] = lambda: since_boot(Path("/"))

    def why(self, manifest: Manifest, now: float, *, ours: bool) -> str:
        """Return why nothing may be healed now, or nothing. With `ours` the stack's lock is the watchdog's own."""
        if self.coming() or (not ours and self.place.busy()):
            return "somebody is at work on the stack"
        if self.place.is_restoring():
            return "data is being restored"
        if held := hold.read(self.place, now):
            return f"on hold: {held.reason} ({held.who})"
        try:
            if transaction.read(self.place) is not None:
                return "a deploy was left half-way: deploy again"
        except HostError as error:
            return error.message
        return self._booting(manifest)

    def _booting(self, manifest: Manifest) -> str:
        checks = [one.check.start for one in manifest.services.values() if one.check is not None]
        quiet = min(LONGEST_BOOT, max([BOOT, *checks]))
        left = quiet - self.booted()
        return f"the host has just booted: another {Duration(left)}" if left > 0 else ""


def is_down(containers: Sequence[Container]) -> bool:
    """Whether somebody took the whole stack down: one container that is left means that it runs."""
    return not containers


def since_boot(root: Path) -> float:
    """Return the seconds since the host's first process started, which in a container is not when the kernel did."""
    with suppress(OSError, ValueError, IndexError):
        # proc(5): the 22nd field, counted behind the name, which may hold anything.
        fields = (root / "proc/1/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return LONGEST_BOOT

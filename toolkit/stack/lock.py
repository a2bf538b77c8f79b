"""One deploy at a time: a lock on the host that lives exactly as long as the connection of whoever holds it."""

from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.host import Host
from toolkit.words.command import script
from toolkit.words.errors import Locked

TAKEN = 75

# The holder is written beside the lock for others to read. `cat` ends with the connection, and the lock with it.
HOLD = f"""
umask 077
mkdir -p -- "/run/toolkit/$1" && exec 9>>"/run/toolkit/$1/lock" || exit 1
flock --nonblock 9 || {{ cat "/run/toolkit/$1/holder"; exit {TAKEN}; }}
printf '%s\\n' "$2" >"/run/toolkit/$1/holder"
echo held
cat >/dev/null
"""


@contextmanager
def held(host: Host, stack: str, who: str) -> Iterator[None]:
    """Hold the stack's lock. Raises Locked, naming the holder, when somebody else does."""
    process = host.open(script(HOLD, stack, who))
    try:
        said, complaint = process.read()
        if said.strip() != b"held":
            other = (said or complaint).decode(errors="replace").strip() or "somebody else"
            raise Locked(
                f"{host.name}: {other} is deploying {stack}", hint="wait until that is done, then run the same again"
            )
        yield
    finally:
        process.finish()
        process.close()

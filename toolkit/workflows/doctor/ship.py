"""What the doctor sends along: the modules that gather, as one archive that is run from memory and leaves no trace.

So a host is examined in one round trip by the code of this very toolkit, whether or not an agent is there, and whether
or not it works.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import toolkit
from toolkit.words.command import Command, script

PACKAGE = Path(toolkit.__file__).parent
# What gathering imports, and nothing else; a test says when something is missing.
SHIPPED = (
    *("__init__.py", "host/__init__.py", "host/protocol.py", "stack/__init__.py"),
    *(f"words/{name}.py" for name in ("__init__", "atomic", "command", "errors", "values")),
    *(
        f"stack/{name}.py"
        for name in ("containers", "engine", "hold", "journal", "manifest", "place", "probes", "redact", "service")
    ),
    *("stack/transaction.py", "stack/watchdog/__init__.py", "stack/watchdog/history.py"),
    *("stack/doctor/__init__.py", "stack/doctor/gather/*.py"),
)

NO_PYTHON = 96
"""Exit code of a host without a Python that can gather."""

# A file in memory has a path below /proc, which is all that Python's import of archives wants.
_BEGIN = """
import os, sys
given = sys.stdin.buffer
size = int(given.readline())
memory = os.memfd_create("doctor")
with open(memory, "wb", closefd=False) as archive:
    archive.write(given.read(size))
sys.path.insert(0, f"/proc/self/fd/{memory}")
from toolkit.stack.doctor.gather.main import main
main(given.read())
"""

_RUN = f"""
for python in python3 python3.14 python3.13 python3.12 python3.11; do
  command -v "$python" >/dev/null || continue
  "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
  exec "$python" -I -S -X utf8 -c "$1"
done
exit {NO_PYTHON}
"""


@cache
def archive() -> bytes:
    """Return the modules as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted({path for pattern in SHIPPED for path in PACKAGE.glob(pattern)}):
            packed.writestr(f"toolkit/{path.relative_to(PACKAGE)}", path.read_bytes())
    return buffer.getvalue()


def examine(request: Mapping[str, Any]) -> Command:
    """Return the command that gathers evidence and prints it as JSON."""
    body = archive()
    given = f"{len(body)}\n".encode() + body + json.dumps(request).encode()
    return script(_RUN, _BEGIN, stdin=given, called="look at everything")

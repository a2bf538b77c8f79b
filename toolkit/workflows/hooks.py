"""Hooks: programs of this repository, `hooks/before_deploy` and `hooks/after_deploy`, run on the control side.

They are files beside `tasks.py` and as trusted as it is; nothing in a host file or a Compose file names a program here.
"""

import os
import subprocess
from pathlib import Path

from toolkit.config.models import HostFile
from toolkit.words.errors import ConfigError, Error
from toolkit.words.report import Listener

BEFORE, AFTER = "before_deploy", "after_deploy"


def before(host_file: HostFile, listener: Listener) -> None:
    """Run what has to be done first, such as building images. Raises ConfigError where it fails."""
    if code := _run(host_file, BEFORE, listener):
        raise ConfigError(f"hooks/{BEFORE} ended with exit code {code}: nothing was deployed", hint=_HINT)


def after(host_file: HostFile, listener: Listener, *, release: str) -> None:
    """Run what follows a deploy. Raises Error where it fails; the deploy stands."""
    if code := _run(host_file, AFTER, listener, TOOLKIT_RELEASE=release):
        raise Error(f"hooks/{AFTER} ended with exit code {code}; the deploy itself is done", hint=_HINT)


_HINT = "its own words stand above; run it by hand with TOOLKIT_HOST set"


def _run(host_file: HostFile, name: str, listener: Listener, **more: str) -> int:
    path = host_file.root / "hooks" / name
    if not path.is_file():
        return 0
    if not os.access(path, os.X_OK):
        raise ConfigError(f"hooks/{name} cannot be run", hint=f"chmod +x hooks/{name}")
    listener.step(f"hooks/{name}")
    stack = host_file.stack.name if host_file.stack else ""
    told = {"TOOLKIT_HOST": host_file.name, "TOOLKIT_STACK": stack, **more}
    code = _talk(path, host_file.root, told, listener)
    listener.done()
    return code


def _talk(path: Path, root: Path, told: dict[str, str], listener: Listener) -> int:
    child = subprocess.Popen(
        [str(path)],
        cwd=root,
        env={**os.environ, **told},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert child.stdout is not None
    with child:
        for line in child.stdout:
            listener.line(line.rstrip("\n"))
    return child.returncode

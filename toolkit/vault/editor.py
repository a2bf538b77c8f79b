"""A value in a person's editor: on a file in memory, for its owner alone, overwritten and removed afterwards."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, for its owner alone


def edit(value: Secret, environ: Mapping[str, str], *, memory: Path = MEMORY) -> Secret:
    """Return what a person made of a value. Raises SecretError, and nothing has changed."""
    _refuse_binary(value)
    with _private_folder(memory) as folder:
        file = folder / "secret"
        file.touch(mode=0o600)
        file.write_bytes(value.reveal())
        _run(environ.get("VISUAL") or environ.get("EDITOR") or "vi", file, environ)
        return _without_added_newline(value, Secret(file.read_bytes()))


def _refuse_binary(value: Secret) -> None:
    try:
        value.reveal().decode()
        return
    except UnicodeDecodeError:
        # Raised below, since that error holds the value.
        pass
    raise SecretError("a binary secret does not go into an editor", hint="use secrets.set with --from-file")


def _run(editor: str, file: Path, environ: Mapping[str, str]) -> None:
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], env=environ, check=False).returncode
    except (OSError, ValueError) as error:
        raise SecretError(f"the editor {editor!r} cannot be run", hint="set EDITOR to one that is there") from error
    if code != 0:
        raise SecretError(f"the editor ended with exit code {code}", hint="nothing was changed")


def _without_added_newline(before: Secret, after: Secret) -> Secret:
    # Editors end the last line on their own; a password of one line does not want that.
    content = after.reveal()
    if content.endswith(b"\n") and not before.reveal().endswith(b"\n") and content.count(b"\n") == 1:
        return Secret(content[:-1])
    return Secret(content[:-1]) if content == before.reveal() + b"\n" else after


@contextmanager
def _private_folder(memory: Path) -> Iterator[Path]:
    if not memory.is_dir():
        hint = "use secrets.set, which needs no file"
        raise SecretError(f"no {memory} here, so the value would touch a disk", hint=hint)
    folder = Path(tempfile.mkdtemp(dir=memory, prefix="toolkit-"))
    try:
        yield folder
    finally:
        _wipe(folder)


def _wipe(folder: Path) -> None:
    """Overwrite and remove what is in the folder: the editor's own copies are there too."""
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("r+b") as stream:
                stream.write(bytes(os.fstat(stream.fileno()).st_size))
    shutil.rmtree(folder)

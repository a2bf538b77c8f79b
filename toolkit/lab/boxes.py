"""Boxes: the containers a lab is made of, brought to the wanted state whatever an interrupt or a restart left."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.lab import frozen
from toolkit.lab.engine import Engine
from toolkit.words.errors import LabError
from toolkit.words.values import Secret

RECIPE_LABEL = "toolkit.lab.recipe"


@dataclass(frozen=True)
class File:
    """A file put into a box before its first start."""

    content: bytes | Secret
    mode: int = 0o644
    owner: int = 0

    def plain(self) -> bytes:
        return self.content.reveal() if isinstance(self.content, Secret) else self.content


@dataclass(frozen=True)
class Box:
    """One wanted container: its options are those of `docker create`."""

    name: str
    image: str
    options: tuple[str, ...]
    files: Mapping[str, File] = field(default_factory=dict)

    def recipe(self) -> str:
        """Return the hash of everything the box is made from."""
        whole = hashlib.sha256(repr((self.image, self.options)).encode())
        whole.update(archive(self.files))
        return whole.hexdigest()[:16]


def archive(files: Mapping[str, File]) -> bytes:
    """Return the files as the tar stream `docker cp` reads; equal files give equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, file in sorted(files.items()):
            content = file.plain()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(content), file.mode, file.owner, file.owner
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def ensure(engine: Engine, box: Box) -> bool:
    """Have the box running; returns True where it was started or made now.

    A box made from another recipe is made again. So is one that was created but never started: it was interrupted
    before its files were in.
    """
    found = engine.inspect("container", box.name)
    same = found is not None and found["Config"]["Labels"].get(RECIPE_LABEL) == box.recipe()
    if found and same and found["State"]["Status"] == "running":
        return False
    if found and same and found["State"]["Status"] == "exited" and engine.ask("start", box.name).ok:
        return True
    remove(engine, box.name)
    make(engine, box)
    return True


def make(engine: Engine, box: Box) -> None:
    """Create, fill and start a box that is not there."""
    label = f"{RECIPE_LABEL}={box.recipe()}"
    engine.run("create", "--name", box.name, "--label", label, *box.options, box.image)
    if box.files:
        engine.run("cp", "-", f"{box.name}:/", stdin=archive(box.files))
    engine.run("start", box.name)


def remove(engine: Engine, name: str) -> None:
    """Remove a container; its named volumes stay."""
    frozen.thaw(engine, name)
    result = engine.ask("rm", "--force", name)
    if not result.ok and "no such container" not in result.complaint.lower():
        raise LabError(f"docker rm {name} failed: {result.complaint}")


def volume(name: str, target: str, label: str) -> tuple[str, ...]:
    """Return the option that mounts a named volume and labels it when it is made."""
    return ("--mount", f"type=volume,source={name},target={target},volume-label={label}")

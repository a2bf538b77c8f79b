"""The agent as one archive: our own files and locked packages, for one Python on one architecture.

A release is named by what goes into it (the bytes of our files, and the lock, which holds the hash of every package),
so its name is known without building it: only a host that lacks it makes us ask a package index, once, and never the
host itself.
"""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path

import toolkit
from toolkit.words.errors import HostError

PACKAGE = Path(toolkit.__file__).parent
LOCK = PACKAGE / "agent/requirements.lock"
# What only some hosts need, each with a lock of its own.
BACKUP = "backup"
EXTRAS = {"apprise": PACKAGE / "agent/apprise.lock", BACKUP: PACKAGE / "agent/backup.lock"}
# Of the stack: what the driver needs. Reading a project and making a release stay on the control side.
STACK = (
    *("compose", "containers", "deadline", "driver", "gate", "hold", "images", "journal", "manifest", "moves"),
    *(
        "outcome",
        "place",
        "preflight",
        "probes",
        "proxies",
        "prune",
        "readers",
        "record",
        "request",
        "rolling",
        "rollout",
    ),
    *("room", "service", "site", "stopping", "transaction"),
    *("engine", "redact", "restoring", "duty"),
)
# Small on purpose: what the agent imports and nothing else.
OWN = (
    *("__init__.py", "words/*.py", "agent/*.py", "agent/*/*.py", "vault/__init__.py"),
    *("vault/delivery.py", "vault/addresses.py", "vault/access.py"),
    *(f"crypto/{name}.py" for name in ("__init__", "age", "age_header", "age_payload", "bech32", "tags")),
    # The engine of backups; the packages that it takes come with the extra alone.
    *("crypto/ids.py", "crypto/signing.py", "repository/*.py", "sources/*.py", "store/*.py"),
    *(f"host/{name}.py" for name in ("__init__", "protocol", "base", "shell", "escalate", "archive", "local")),
    *(f"machine/{name}.py" for name in ("__init__", "registry", "registry_ask", "registry_errors")),
    *(f"stack/{name}.py" for name in ("__init__", *STACK)),
    "stack/watchdog/*.py",
    "drill/*.py",
)
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# The oldest C library among the systems we carry is Ubuntu 22.04's 2.35.
PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")

ENTRY = """\
#!/bin/sh
# Nothing of the host's own Python packages takes part: -I ignores the environment, -S its site folders.
here=$(readlink -f -- "$0")
exec python{python} -I -S -X utf8 -c 'import sys
sys.path.insert(0, sys.argv.pop(1))
from toolkit.agent.__main__ import main
sys.exit(main())' "${{here%/bin/agent}}/lib" "$@"
"""


class Release:
    """One build of the agent."""

    def __init__(self, python: str, architecture: str, *extras: str) -> None:
        self.python = python
        self.architecture = architecture
        self.extras = tuple(sorted(extras))

    @property
    def locks(self) -> list[Path]:
        """The files that name its packages."""
        return [LOCK, *(EXTRAS[name] for name in self.extras)]

    @cached_property
    def name(self) -> str:
        """24 hexadecimal digits that stand for everything inside."""
        digest = hashlib.sha256()
        locks = b"".join(path.read_bytes() for path in self.locks)
        parts = {"lock": locks, "entry": self._entry, "for": self._target.encode(), **own_files()}
        for name, content in sorted(parts.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:24]

    @cached_property
    def archive(self) -> bytes:
        """The release as a compressed tar archive, the same bytes wherever it is built. Raises HostError."""
        about = {"release": self.name, "version": toolkit.__version__, "architecture": self.architecture}
        note: dict[str, object] = {**about, "extras": self.extras}
        files = {f"lib/{path}": content for path, content in {**_packages(self), **own_files()}.items()}
        files["lib/toolkit/agent/release.json"] = json.dumps(note).encode()
        return packed(files | {"bin/agent": self._entry})

    @property
    def _target(self) -> str:
        return f"python {self.python} {self.architecture}"

    @property
    def _entry(self) -> bytes:
        return ENTRY.format(python=self.python).encode()


@cache
def release(python: str, architecture: str, *extras: str) -> Release:
    """Return the release for a host's Python (`3.13`) and architecture (`amd64`). Nothing is built yet."""
    return Release(python, architecture, *extras)


@cache
def own_files() -> Mapping[str, bytes]:
    """Return our own files that the agent needs, by their place under `lib/`."""
    found = sorted({path for pattern in OWN for path in PACKAGE.glob(pattern)})
    return {f"toolkit/{path.relative_to(PACKAGE)}": path.read_bytes() for path in found}


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return an archive without times and owners of this machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)


def _packages(release: Release) -> dict[str, bytes]:
    """Return the files of the locked packages, from the cache where they were fetched before."""
    text = f"{release.python} {release.architecture} ".encode() + b"".join(path.read_bytes() for path in release.locks)
    kept = _cache() / f"packages-{hashlib.sha256(text).hexdigest()[:24]}"
    if not kept.is_dir():
        _fetch(release, kept)
    return {str(path.relative_to(kept)): path.read_bytes() for path in _worth_shipping(kept)}


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "toolkit/agent"


def _worth_shipping(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        top = path.relative_to(folder).parts[0]
        # Installers differ in what they note beside the packages; the packages' own bytes do not.
        noted = top in ("bin", ".lock") or top.endswith(".dist-info")
        if path.is_file() and path.suffix not in (".pyi", ".pyc") and not noted and not _of_another_service(path):
            yield path


def _of_another_service(path: Path) -> bool:
    """Whether it describes one of Amazon's services that is not S3: together they are most of boto3's bytes."""
    return "botocore" in path.parts and "data" in path.parts and path.parent.name != "data" and "s3" not in path.parts


def _fetch(release: Release, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        target = Path(scratch) / "packages"
        done = subprocess.run([*_installer(release, target)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(
                f"cannot fetch the agent's packages for {release.python} on {release.architecture}:\n"
                + "\n".join(done.stderr.strip().splitlines()[-6:]),
                hint="this machine needs a package index once; a host never does",
            )
        try:
            target.rename(kept)
        except OSError:
            # Somebody else was faster, with the same bytes: the lock says so.
            if not kept.is_dir():
                raise


def _installer(release: Release, target: Path) -> list[str]:
    """Return the command that lays out the locked packages of another Python, with pip or with uv."""
    machine = MACHINES[release.architecture]
    shared = ["--no-deps", "--require-hashes", "--target", str(target), "--python-version", release.python]
    source = [word for path in release.locks for word in ("--requirement", str(path))]
    if importlib.util.find_spec("pip"):
        platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_{machine}")]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        return [*pip, "--only-binary=:all:", "--implementation", "cp", *platforms, *shared, *source]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if uv is None:
        raise HostError("neither pip nor uv is beside this Python", hint="run `python -m ensurepip`")
    platform = ["--python-platform", f"{machine}-manylinux_2_34"]
    return [uv, "pip", "install", "--quiet", "--only-binary", ":all:", *platform, *shared, *source]

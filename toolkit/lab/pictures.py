"""The lab's own images: a Debian base per suite, and a few layers on it for every kind of box.

Each is named by the hash of what it is made from, so it is built once, shared by all checkouts on the machine, and
built again when its recipe changes. A name appears only when its image is complete.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from toolkit.lab import daemon, mirror
from toolkit.lab.engine import Engine
from toolkit.words.errors import LabError
from toolkit.words.report import Listener

LABEL = "toolkit.lab.image"
RECIPES = Path(__file__).parent / "recipes"

# Speeds up dpkg in an image nobody needs to survive a power cut, and spares everybody translations and documentation,
# as Debian's own slim images do: what stands on this image is sent, pulled and unpacked for every host anew.
_TUNING = (
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "lintian", "locale", "man")),
    "--dpkgopt=path-include=/usr/share/locale/locale.alias",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)
_PULLED = """FROM debian:{suite}-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates >/dev/null && apt-get clean \\
 && echo 'Acquire::Languages "none";' >/etc/apt/apt.conf.d/90lab
"""


def fingerprint(folder: Path, *more: str) -> str:
    """Return the hash of every file of a build context, names and modes included, and of what else matters."""
    whole = hashlib.sha256(repr(more).encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        whole.update(f"{path.relative_to(folder)}\0{path.stat().st_mode & 0o111:o}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


class Pictures:
    """Gives the name of a complete image, having built it when nobody had."""

    def __init__(self, engine: Engine, listener: Listener) -> None:
        self._engine = engine
        self._listener = listener

    def base(self, suite: str) -> str:
        """Return the base image of a suite: a minimal Debian with its apt sources."""
        found = mirror.local()
        recipe = repr((_TUNING, found.sources(suite))) if found else _PULLED
        name = f"toolkit-base:{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
        with self._missing(name) as missing:
            if missing:
                self._listener.line(f"building a Debian base ({suite})")
                self._bootstrap(suite, name, found) if found else self._pull(suite, name)
        return name

    def recipe(self, kind: str, suite: str) -> str:
        """Return the image of one kind of box (vps, registry, s3, repository), or of Compose."""
        return self.context(RECIPES / kind, suite, f"toolkit-lab-{kind}")

    def stocked(self, suite: str) -> str:
        """Return the image of a vps that has the packages of a Docker host already, none of them set up."""
        return self.over(self.recipe("vps", suite), RECIPES / "stocked", suite, "toolkit-lab-stocked")

    def context(self, folder: Path, suite: str, repository: str) -> str:
        """Return the image built from a folder with a Dockerfile on top of the base, which it gets as BASE."""
        return self.over(self.base(suite), folder, suite, repository)

    def over(self, base: str, folder: Path, suite: str, repository: str) -> str:
        """Return the image built from a folder on top of another image, which it gets as BASE."""
        name = f"{repository}:{suite}-{fingerprint(folder, base)}"
        with self._missing(name) as missing:
            if missing:
                self._listener.line(f"building {repository} ({suite})")
                label = f"{LABEL}={name}"
                options = ("--quiet", "--force-rm", "--build-arg", f"BASE={base}", "--label", label, "--tag", name)
                self._engine.run("build", *options, str(folder), timeout=1800)
        return name

    def forget(self) -> None:
        """Remove every image the lab made. One that a container of another lab runs stays: the Engine refuses."""
        for name in sorted(set(self._engine.labelled("image", LABEL))):
            self._engine.ask("image", "rm", "--force", name)

    @contextmanager
    def _missing(self, name: str) -> Iterator[bool]:
        """Say whether an image has to be built. Whoever needs it meanwhile, in this lab or another, waits for it."""
        if self._there(name):
            yield False
            return
        with daemon.one_at_a_time(name.rpartition("-")[0]):
            yield not self._there(name)

    def _there(self, name: str) -> bool:
        return self._engine.inspect("image", name) is not None

    def _bootstrap(self, suite: str, name: str, found: mirror.Mirror) -> None:
        if shutil.which("mmdebstrap") is None:
            if os.geteuid() != 0:
                raise LabError("mmdebstrap is missing", hint="sudo apt install mmdebstrap")
            daemon.install("mmdebstrap", listener=self._listener)
        with TemporaryDirectory() as folder:
            sources = Path(folder) / "sources.list"
            sources.write_text(found.sources(suite))
            complaints = Path(folder) / "complaints"
            wanted = [
                "mmdebstrap",
                "--variant=minbase",
                "--include=ca-certificates",
                *_TUNING,
                suite,
                "-",
                str(sources),
            ]
            with (
                complaints.open("wb") as errors,
                subprocess.Popen(wanted, stdout=subprocess.PIPE, stderr=errors) as made,
            ):
                assert made.stdout is not None
                image = self._import(made.stdout.fileno())
            if made.returncode != 0:
                self._engine.ask("image", "rm", image)
                said = "\n".join(complaints.read_text(errors="replace").splitlines()[-12:])
                raise LabError(f"mmdebstrap could not make {suite}: {said}", hint="check that apt update works here")
        # Only now does it get its name: an import that ends early would look like a whole one.
        self._engine.run("tag", image, name)

    def _import(self, stream: int) -> str:
        label = ("--change", f"LABEL {LABEL}=base")
        done = subprocess.run(["docker", "import", *label, "-"], stdin=stream, capture_output=True, check=False)
        if done.returncode != 0:
            raise LabError(f"docker import failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode().strip()

    def _pull(self, suite: str, name: str) -> None:
        recipe = _PULLED.format(suite=suite).encode()
        result = self._engine.ask("build", "--quiet", "--label", f"{LABEL}=base", "--tag", name, "-", stdin=recipe)
        if not result.ok:
            hint = "this machine is no Debian with mmdebstrap, so the image debian must be pulled: check docker pull"
            raise LabError(f"no Debian base ({suite}): {result.complaint}", hint=hint)

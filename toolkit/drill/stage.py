"""The stage of a drill: the release out of a snapshot, read as nobody, and made a sandbox.

The Compose files come from a host that may have been somebody else's. Compose therefore reads them without any rights:
it could otherwise be led to files of this machine. Links are removed before anything of the release is used.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.drill import files
from toolkit.drill.box import Box
from toolkit.drill.captured import FILES, RELEASE, SECRETS, Captured
from toolkit.drill.report import Check
from toolkit.drill.sandbox import Bounds, Sandbox, sandbox
from toolkit.drill.wish import Wish
from toolkit.repository.read import Snapshot
from toolkit.stack.compose import Invocation
from toolkit.stack.manifest import ENV, OVERRIDE, Manifest, parse_manifest, secret_paths
from toolkit.words.errors import HostError, RepositoryError
from toolkit.words.report import Listener

NOBODY = 65534
_RESOLVE_WITHIN = 120


@dataclass(frozen=True)
class Stage:
    """A release that came back, and the sandbox that was made of it."""

    manifest: Manifest
    sandbox: Sandbox


def make(snapshot: Snapshot, captured: Captured, box: Box, wish: Wish, listener: Listener) -> Stage:
    """Bring the release back below the box and make a sandbox of it. Raises RepositoryError, HostError, ConfigError."""
    release, mounted, secrets = box.memory / "release", box.disk / "mounted", box.memory / "secrets"
    for name, folder in ((RELEASE, release), (FILES, mounted), (SECRETS, secrets)):
        if name in captured.parts:
            files.bring_back(snapshot, folder, name, listener)
            _unlink(folder)
        else:
            folder.mkdir(mode=0o700)
    # Containers reach what is mounted for them by its full path, whoever they run as.
    for folder in (box.disk, secrets, mounted):
        folder.chmod(0o711)
    manifest = _manifest(release, captured)
    folders = {
        f"/run/secrets/{captured.stack}": str(secrets),
        f"/opt/{captured.stack}/files": str(mounted),
        f"/opt/{captured.stack}/releases/{captured.release}": str(release),
        str(release): str(release),
    }
    bounds = Bounds(box.name, captured.stack, folders, wish.workers, wish.run, wish.beside)
    made = sandbox(_resolved(captured, manifest, release, secrets), bounds)
    return Stage(manifest, made)


def told(made: Sandbox) -> Iterator[Check]:
    """Say what is off and what was left out: it was not proven, and is no fault of the backup."""
    if made.off:
        yield Check(
            "sandbox", "services left off", "good", "\n".join(f"{name}: {why}" for name, why in made.off.items())
        )
    if made.notes:
        yield Check("sandbox", "left out of services", "good", "\n".join(made.notes[:50]))
    yield Check(
        "sandbox",
        "names",
        "good",
        f"{made.model['name']}: {len(made.model['services'])} services, names of its own only",
    )


def _unlink(folder: Path) -> None:
    """Remove links: what the toolkit ships has none but those to env files, which are made anew."""
    for base, names, more in os.walk(folder):
        for name in (*names, *more):
            path = Path(base) / name
            if path.is_symlink():
                path.unlink()


def _manifest(release: Path, captured: Captured) -> Manifest:
    try:
        found = parse_manifest((release / "release.json").read_bytes())
    except (OSError, HostError) as error:
        raise RepositoryError(f"the release in the snapshot cannot be read: {error}") from error
    if found is None or found.id != captured.release:
        raise RepositoryError("the release in the snapshot is not the one that it names")
    return found


def _resolved(captured: Captured, manifest: Manifest, release: Path, secrets: Path) -> dict[str, Any]:
    """Return what Compose makes of the release, asked as nobody."""
    delivered = {name: Path(path).name for name, path in secret_paths(captured.stack, manifest.secrets).items()}
    env = secrets / "resolve"
    env.mkdir(mode=0o700)
    os.chown(env, NOBODY, NOBODY)
    for path, name in manifest.terms.env_files.items():
        _lend(secrets / delivered.get(name, "?"), env / delivered.get(name, "?"))
        inside = release / path
        if ".." not in Path(path).parts and not Path(path).is_absolute() and not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.symlink_to(env / delivered.get(name, "?"))
    _hand_over(release)
    main = env / delivered[ENV] if ENV in delivered and (env / delivered[ENV]).exists() else Path("/dev/null")
    calling = Invocation(
        captured.stack,
        str(release),
        (*manifest.terms.files, OVERRIDE),
        manifest.terms.profiles,
        "/nonexistent",
        str(main),
    )
    argv = calling("config", "--format", "json").argv
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            timeout=_RESOLVE_WITHIN,
            check=False,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
        )
    except subprocess.TimeoutExpired as error:
        raise HostError("docker compose did not read the release in time") from error
    _take_back(env)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-4:]
        raise RepositoryError("Compose refuses the release in the snapshot:\n" + "\n".join(said))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _lend(path: Path, copy: Path) -> None:
    """Give nobody a copy of an env file, for as long as Compose reads."""
    if not path.is_file():
        raise RepositoryError(f"the snapshot lacks {path.name}, which holds values of variables")
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(file.fileno(), NOBODY, NOBODY)
        file.write(path.read_bytes())


def _take_back(env: Path) -> None:
    for path in env.iterdir():
        path.unlink()
    env.rmdir()


def _hand_over(release: Path) -> None:
    for base, names, more in os.walk(release):
        for path in (Path(base), *(Path(base) / name for name in (*names, *more))):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

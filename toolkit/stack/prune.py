"""Prune: old releases and what only they needed leave the host. It never fails a deploy, and never guesses.

Images go by the digests of releases that go; whatever a retained release of any stack, or any container, uses stays.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from toolkit.stack import journal
from toolkit.stack.manifest import Manifest
from toolkit.stack.place import Place
from toolkit.stack.site import Site
from toolkit.words.command import command, script
from toolkit.words.errors import Error

KEEP = 5
# In the folder of a release that once came through its gate.
PASSED = "passed"
# A draft, a release that nobody brought up yet and a folder of files may be somebody's who is about to deploy, or who
# looks for what went wrong: they are left alone this long.
YOUNG = 24 * 3600

_REMOVE = 'for image in "$@"; do docker image rm "$image" >/dev/null 2>&1 && echo "$image"; done; true'


def retained(place: Place, *also: str) -> list[str]:
    """Return the releases that stay, newest first: the newest that passed, the current one, those named, young ones."""
    names = sorted((path.name for path in place.releases.glob("[!.]*") if path.is_dir()), reverse=True)
    passed = [name for name in names if has_passed(place, name)]
    young = [name for name in names if name not in passed and not _old(place.release(name))]
    chosen = {*passed[:KEEP], *young, place.current_name(), *also}
    return [name for name in names if name in chosen]


def has_passed(place: Place, name: str) -> bool:
    """Whether a release once came through its gate: only such a one can be gone back to."""
    return (place.release(name) / PASSED).exists()


def manifests(place: Place, names: list[str]) -> Iterator[Manifest]:
    """Yield the manifests of releases. One that is damaged can never come back, and holds on to nothing."""
    for name in names:
        with suppress(Error):
            yield place.manifest(name)


def prune(site: Site, *also: str) -> None:
    """Remove releases beyond those retained, their images and their files."""
    place = site.place
    kept = retained(place, *also)
    gone = [path.name for path in place.releases.glob("[!.]*") if path.name not in kept]
    leaving = {image for one in manifests(place, gone) for image in one.images}
    everywhere = [*((stack, retained(stack)) for stack in stacks(place) if stack != place), (place, kept)]
    staying = {image for stack, names in everywhere for one in manifests(stack, names) for image in one.images}
    used = set(site.host.run(command("docker", "ps", "--all", "--format", "{{.Image}}")).text.split())
    for name in gone:
        shutil.rmtree(place.release(name), ignore_errors=True)
    if images := sorted(leaving - staying - used):
        site.host.run(script(_REMOVE, *images), check=False)
    _drafts(place)
    _files(place, list(manifests(place, kept)))
    journal.prune(place)


def stacks(place: Place) -> list[Place]:
    """Return the place of every stack on the host."""
    found = (place.root / "opt").glob("*/releases")
    return [Place(path.parent.name, place.root) for path in sorted(found)]


def _drafts(place: Place) -> None:
    for path in place.releases.glob(".*"):
        if _old(path):
            shutil.rmtree(path, ignore_errors=True)


def _files(place: Place, kept: list[Manifest]) -> None:
    used = {match[1] for one in kept for path in one.content if (match := re.search(r"/files/([0-9a-f]+)/", path))}
    for path in (place.folder / "files").glob("*"):
        if path.name not in used and _old(path):
            shutil.rmtree(path, ignore_errors=True)


def _old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.stat().st_ctime > YOUNG
    return False

"""Stand-in images of an example, built from Debian packages and put into the lab's registry under their real names.

`<example>/images/images.yml` maps each image reference to the folder it is built from and the Debian suite below it:
`docker.io/library/postgres:17: {context: postgres, base: trixie}`. A base may be an image of the same kind, which
several stand on: `base: {context: python, base: trixie}`. Only what changed is built and sent. The images go through
the registry's own container, so this machine's Engine needs to trust nothing.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.config.document import Plain, parse
from toolkit.config.faults import Faulty
from toolkit.lab.mirror import SUITES
from toolkit.words.command import script
from toolkit.words.errors import ConfigError, LabError

if TYPE_CHECKING:
    from toolkit.lab.lab import Lab

REGISTRIES = ("docker.io/", "ghcr.io/")
_STORE = "docker://127.0.0.1:5001/"

# Level 1 and one archive for all: layers that images share are sent and compressed once.
_TAKE = 'cat >"$1"'
_PUSH = 'skopeo copy --quiet --dest-tls-verify=false --dest-compress-level 1 "docker-archive:$1:$2" "$3"'
_KNOWN = 'skopeo inspect --tls-verify=false --config "$1" 2>/dev/null || echo {}'


@dataclass(frozen=True)
class Picture:
    """One line of images.yml."""

    reference: str
    context: Path
    base: "str | Picture"
    """A suite of Debian, or what it stands on, which has no reference of its own."""

    @property
    def path(self) -> str:
        """The name inside a registry: `library/postgres:17`."""
        return self.reference.split("/", 1)[1]


def read(example: Path) -> list[Picture]:
    """Return what an example's images.yml asks for. Raises ConfigError."""
    file = example / "images" / "images.yml"
    if not file.is_file():
        raise ConfigError(f"there is no {file}", hint="name a folder such as examples/taskflow")
    try:
        node, faults = parse(file.read_text())
    except Faulty as error:
        raise ConfigError(f"{file}: {error.fault}") from error
    if faults or not isinstance(node.value, dict):
        raise ConfigError(f"{file} is not a mapping of image references", hint="see the lab's page in docs/")
    return [_picture(file, reference, entry) for reference, entry in node.value.items()]


def publish(lab: "Lab", example: Path) -> list[str]:
    """Build and push what changed, and return the references that were sent."""
    pictures = read(example)
    lab.start_service("registry")
    with ThreadPoolExecutor(max_workers=2) as pool:
        images = list(pool.map(lambda picture: _build(lab, picture), pictures))
    wanted = dict(zip(pictures, images, strict=True))
    missing = {picture: image for picture, image in wanted.items() if not _has(lab, picture, image)}
    if missing:
        _send(lab, missing)
    return [picture.reference for picture in missing]


def _picture(file: Path, reference: str, entry: Plain) -> Picture:
    if not isinstance(entry, dict) or set(entry) != {"context", "base"}:
        raise ConfigError(f"{file}: {reference}: expected a context and a base")
    if not reference.startswith(REGISTRIES) or ":" not in reference:
        raise ConfigError(f"{file}: {reference}: expected docker.io/… or ghcr.io/… with a tag")
    context = (file.parent / str(entry["context"])).resolve()
    if not (context / "Dockerfile").is_file():
        raise ConfigError(f"{file}: {reference}: {context} holds no Dockerfile")
    return Picture(reference, context, _base(file, reference, entry["base"]))


def _base(file: Path, reference: str, base: Plain) -> str | Picture:
    if isinstance(base, dict):
        return _picture(file, reference, base)
    if base not in SUITES.values():
        raise ConfigError(f"{file}: {reference}: there is no base {base}", hint=" or ".join(SUITES.values()))
    return str(base)


def _build(lab: "Lab", picture: Picture) -> str:
    name = "toolkit-standin-" + picture.path.split(":")[0].replace("/", "-")
    if isinstance(picture.base, str):
        return lab.pictures.context(picture.context, picture.base, name)
    # What several stand on is named by its own folder, so that it is built once for all of them.
    below = lab.pictures.context(picture.base.context, _suite(picture), f"toolkit-standin-{picture.base.context.name}")
    return lab.pictures.over(below, picture.context, _suite(picture), name)


def _suite(picture: Picture) -> str:
    return picture.base if isinstance(picture.base, str) else _suite(picture.base)


def _has(lab: "Lab", picture: Picture, image: str) -> bool:
    """Say whether the registry has this very image: the label in it is its name here, a hash of all its sources."""
    known = lab.engine.inside(lab.home.name("registry"), script(_KNOWN, _STORE + picture.path))
    return f'"{image}"' in known.text


def _send(lab: "Lab", pictures: dict[Picture, str]) -> None:
    container, archive = lab.home.name("registry"), "/var/tmp/images.tar"  # noqa: S108
    lab.engine.pipe(
        ("save", *set(pictures.values())), ("exec", "--interactive", container, "sh", "-c", _TAKE, "sh", archive)
    )
    for picture, image in pictures.items():
        result = lab.engine.inside(container, script(_PUSH, archive, image, _STORE + picture.path))
        if not result.ok:
            raise LabError(f"{picture.reference} could not be pushed: {result.complaint}")
    lab.engine.inside(container, script('rm "$1"', archive))

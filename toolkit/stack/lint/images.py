"""Rules about images: which one runs, and where it comes from."""

from collections.abc import Iterator

from toolkit.stack.lint.model import Model, Service
from toolkit.stack.lint.rule import Found, Rule, each


def _unpinned(_model: Model, service: Service) -> Iterator[Found]:
    if not service.image or "@" in service.image:
        return
    tag = service.image.rpartition("/")[2].partition(":")[2]
    if tag in {"", "latest"}:
        told = "has the tag latest" if tag else "has no tag, which means latest"
        yield Found(f"its image {told}", service.name, ("image",))


def _built_here(_model: Model, service: Service) -> Iterator[Found]:
    if service.at("build") is not None and not service.image:
        yield Found("it has `build:` and no `image:`", service.name, ("build",))


RULES = (
    Rule(
        "unpinned-image",
        "warning",
        "Tomorrow the same file means another image: nobody knows what ran, and going back is not possible by tag.",
        "Name a version, or a digest; a deploy pins the digest that the tag has that day.",
        each(_unpinned),
    ),
    Rule(
        "build-without-image",
        "error",
        "A server runs images and builds none: a deploy refuses the stack.",
        "Add `image:` beside `build:`, build and push it in CI.",
        each(_built_here),
    ),
)

"""Helpers: short-lived containers of a source's own image, beside a volume, without a network."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from toolkit.sources.docker import Docker
from toolkit.words.errors import HostError

LABEL = "toolkit.helper"


@contextmanager
def helper(docker: Docker, image: str, words: Sequence[str], options: Sequence[str] = ()) -> Iterator[str]:
    """Run a container for as long as the context, and give its name. It is removed whatever happens."""
    name = f"toolkit-helper-{secrets.token_hex(6)}"
    fixed = ("--detach", "--name", name, "--label", LABEL, "--network", "none", "--restart", "no")
    try:
        docker.run("run", *fixed, *options, image, *words, timeout=300)
        yield name
    finally:
        # Anonymous volumes of the image go with it.
        with suppress(HostError):
            docker.ask("rm", "--force", "--volumes", name)


def ended(docker: Docker, name: str, within: int = 600) -> None:
    """Wait for a helper's end. Raises HostError with its last words unless it succeeded."""
    code = docker.run("wait", name, timeout=within).text.strip()
    if code != "0":
        raise HostError(f"{name} ended with exit code {code}:\n{last_words(docker, name)}")


def last_words(docker: Docker, name: str) -> str:
    """The last lines of a helper's log."""
    result = docker.ask("logs", "--tail", 8, name)
    return (result.stdout + result.stderr).decode(errors="replace").strip()


def running(docker: Docker, name: str) -> bool:
    """Whether a helper still runs."""
    found = docker.ask("inspect", "--format", "{{.State.Running}}", name)
    return found.ok and found.text.strip() == "true"

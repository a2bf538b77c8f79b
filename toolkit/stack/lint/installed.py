"""What the host has and runs, read in one command: only with `--connect`, because the rest of lint needs no host."""

import json
import re

from toolkit.stack import manifest
from toolkit.stack.lint.model import Capacity, Deployed, at, mapping, sequence, text
from toolkit.words.command import Command, script
from toolkit.words.errors import HostError
from toolkit.words.values import Size

_READ = """
awk '/^MemTotal:/ {print $2}' /proc/meminfo
nproc
docker volume ls --quiet 2>/dev/null | tr '\\n' ' '; echo
cat "/opt/$1/current/$2" 2>/dev/null || true
"""


def read(stack: str) -> Command:
    """Return the command whose output `parse` understands."""
    return script(_READ, stack, manifest.OVERRIDE)


def parse(output: str) -> tuple[Capacity, Deployed]:
    """Return what the machine has, and what the current release mounts. Raises HostError."""
    try:
        kibibytes, cores, volumes, override = output.split("\n", 3)
        return Capacity(Size(int(kibibytes) * 1024), float(cores)), Deployed(
            _sources(override), frozenset(volumes.split())
        )
    except ValueError as error:
        raise HostError("the host told nothing that lint understands", hint="run it again with --debug") from error


def _sources(override: str) -> dict[tuple[str, str], str]:
    if not override.strip():
        return {}
    # Ours is JSON with Compose's two tags.
    services = mapping(at(json.loads(re.sub(r"!(override|reset) ", "", override)), "services"))
    return {
        (name, text(at(volume, "target"))): text(at(volume, "source"))
        for name, body in services.items()
        for volume in sequence(at(body, "volumes"))
    }

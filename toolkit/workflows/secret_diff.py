"""Secrets here and there: which of a host's secrets differ from what it runs, told by tags and never by values."""

from dataclasses import dataclass
from typing import Literal

from toolkit.config.models import HostFile
from toolkit.crypto.tags import tag
from toolkit.host import Host
from toolkit.stack.manifest import is_internal, parse_manifest
from toolkit.words.command import script
from toolkit.words.errors import HostError, SecretError
from toolkit.workflows.attempt import Values, required
from toolkit.workflows.deploy import KEY

State = Literal["same", "differs", "missing here"]

_READ = f"""
cat {KEY} 2>/dev/null; echo
cat "/opt/$1/current/release.json" 2>/dev/null | tr -d '\\n'
"""


@dataclass(frozen=True)
class Difference:
    """One secret of the current release, and whether a deploy would change it."""

    name: str
    state: State


def diff(host_file: HostFile, host: Host) -> list[Difference]:
    """Return how each secret that the current release uses compares with its value here. Raises HostError."""
    stack = required(host_file)
    key, _, written = host.run(script(_READ, stack.name)).text.partition("\n")
    manifest = parse_manifest(written)
    if manifest is None or not key:
        raise HostError(f"{host.name}: {stack.name} was never deployed", hint=f"run `invoke deploy --host {host.name}`")
    values = Values(host_file)
    known = {name: there for name, there in manifest.secrets.items() if not is_internal(name)}
    return [Difference(name, _state(values, key, name, there)) for name, there in sorted(known.items())]


def _state(values: Values, key: str, name: str, there: str) -> State:
    try:
        value = values.secret(name).reveal()
    except SecretError:
        return "missing here"
    return "same" if tag(key.encode(), name, value) == there else "differs"

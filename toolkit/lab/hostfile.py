"""The host files a lab writes, `hosts/lab.yml` and its siblings: what a person would write for such a machine."""

import json
from pathlib import Path

from toolkit.config import compose
from toolkit.config.document import parse
from toolkit.lab.home import EXAMPLE, LABEL, Home, State, replace
from toolkit.lab.hosts import Vps
from toolkit.lab.network import address_of
from toolkit.lab.services import GHCR_USER
from toolkit.words.errors import ConfigError

_HEAD = """# yaml-language-server: $schema=../docs/host.schema.json
# Written by lab.up for {name}, a disposable VPS ({label}={id}). lab.down removes it.
connection:
  address: 127.0.0.1
  port: {port}
  user: {user}
  identity: {identity}
  host_key: {host_key}
machine:
  docker:
    source: {source}{suite}
    daemon:
      registry-mirrors: ["http://{registry}:5000"]
  firewall: {{open: [80, 443]}}
  swap: false  # a container has no swap of its own
registries:
  - {{host: ghcr.io, user: {ghcr_user}, token: "command:cat {lab}/ghcr-token"}}
"""
_FROM_FILE = '    {name}: "command:cat {file}"\n'


def path_of(root: Path, host: str) -> Path:
    """Return the host file of a lab host: vps1 is `lab`, vps2 is `lab2`, any other name is `lab-name`."""
    number = host.removeprefix("vps")
    suffix = ("" if number == "1" else number) if host.startswith("vps") and number.isdigit() else f"-{host}"
    return root / "hosts" / f"lab{suffix}.yml"


def text(home: Home, state: State, vps: Vps, example: str = EXAMPLE) -> str:
    """Return the host file of one host; Docker comes from Debian, and Debian 12 takes it from the next release."""
    values = {
        "name": vps.name,
        "label": LABEL,
        "id": home.id,
        "port": vps.port,
        "user": vps.user,
        "identity": json.dumps(str(vps.identity)),
        "host_key": vps.host_key,
        "source": "distro",
        "suite": "\n    suite: trixie" if vps.os == "debian12" else "",
        "registry": address_of(state, "registry"),
        "ghcr_user": GHCR_USER,
        "lab": home.folder.name,
    }
    return _HEAD.format(**values) + _stack(home, home.root / "examples" / example)


def write(home: Home, state: State, vps: Vps, example: str = EXAMPLE) -> Path:
    """Write the host file of one host, with the stack of an example where this repository has it."""
    path = path_of(home.root, vps.name)
    path.parent.mkdir(exist_ok=True)
    replace(path, text(home, state, vps, example).encode(), mode=0o644)
    return path


def _stack(home: Home, example: Path) -> str:
    """Return the stack as the example's own `host.yml` has it, with a password drawn for each secret that it uses."""
    part = example / "host.yml"
    if not part.is_file():
        return ""
    names = _secrets(example, part.read_text())
    for name in names:
        home.secret(_file(name))
    rows = [_FROM_FILE.format(name=name, file=f"{home.folder.name}/{_file(name)}") for name in names]
    return part.read_text() + ("  secrets:\n" if rows else "") + "".join(rows)


def _secrets(example: Path, part: str) -> list[str]:
    """Return the secrets that the Compose files of an example name. Raises ConfigError."""
    plain = parse(part)[0].value
    stack = plain.get("stack") if isinstance(plain, dict) else None
    if not isinstance(stack, dict) or not isinstance(files := stack.get("files"), tuple):
        raise ConfigError(f"{example}/host.yml has no stack with files", hint="see examples/taskflow/host.yml")
    documents = (compose.read(example / str(name)) for name in files)
    return sorted({str(name) for document in documents for name in document.get("secrets") or ()})


def _file(name: str) -> str:
    return name.replace("_", "-")

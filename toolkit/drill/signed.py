"""Signed reports: a JSON file that names its key, and whom to believe.

    {"format": "toolkit drill 1", "key": "<64 hex digits>", "report": {…}, "signature": "<base64>"}

The signature is Ed25519 (RFC 8032) over the line `toolkit/drill 1`, a line feed, and the report in its one spelling.
Whoever has openssl can check it; docs/drill.md says how. A signature tells who signed, not whether to believe him: the
keys that a team believes are in `backups/drill.keys`, one on a line, with a name behind it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.crypto.signing import SigningKey, VerifyKey
from toolkit.drill.report import FORMAT, LARGEST, Report, canonical, parse
from toolkit.words import atomic
from toolkit.words.errors import ConfigError, RepositoryError

MAGIC = b"toolkit/drill 1\n"
KEYS = "drill.keys"


@dataclass(frozen=True)
class Signed:
    """A report whose signature holds, and the key that made it."""

    report: Report
    key: VerifyKey


def sign(report: Report, key: SigningKey) -> bytes:
    """Return the file to keep."""
    # Read back once: a 5 where seconds belong is spelled 5.0 by whoever checks.
    body = canonical(parse(json.loads(canonical(report))))
    signature = base64.b64encode(key.sign(MAGIC + body)).decode()
    head = json.dumps({"format": FORMAT, "key": str(key.verify_key)})[:-1].encode()
    return head + b', "report": ' + body + f', "signature": "{signature}"}}\n'.encode()


def open_signed(content: bytes) -> Signed:
    """Return what a file says. Raises RepositoryError where it is no report, or its signature does not hold."""
    if len(content) > LARGEST:
        raise RepositoryError("a report that is too long to be one")
    try:
        data: dict[str, Any] = json.loads(content)
        key, signature = VerifyKey.parse(data["key"]), base64.b64decode(data["signature"], validate=True)
        body = data["report"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error, ConfigError) as error:
        raise RepositoryError(f"this is no signed report: {error}") from error
    report = parse(body)
    # What was signed is the spelling, and a report has one: whatever was changed in it changes that.
    if not key.accepts(signature, MAGIC + canonical(report)):
        raise RepositoryError("the report is not what was signed", hint="take it from the bucket or from git again")
    return Signed(report, key)


def believed(path: Path) -> Mapping[str, str]:
    """Return the keys that a team believes, with their names. Raises ConfigError for a line that is none."""
    found: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        key, _, name = line.partition("#")[0].strip().partition(" ")
        if key:
            try:
                found[str(VerifyKey.parse(key))] = name.strip()
            except ConfigError as error:
                raise ConfigError(f"{path.name}, line {number}: {error.message}", hint=error.hint) from error
    return found


def introduce(path: Path, key: VerifyKey, name: str) -> bool:
    """Add a key to those believed; return whether it was new."""
    known = believed(path)
    if str(key) in known:
        return False
    kept = (
        path.read_text(encoding="utf-8")
        if path.exists()
        else "# Keys whose drill reports count. A new line here is somebody new.\n"
    )
    atomic.replace(path, f"{kept.rstrip()}\n{key} {name}\n".encode(), mode=0o644)
    return True

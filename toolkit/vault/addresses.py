"""Addresses of those who are told what happens on a host: how they travel, and how both sides know them to be the same.

Control side and agent share this.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.words.values import Secret

FORMAT = "toolkit notify 1"


def pack(host: str, targets: Sequence[tuple[Mapping[str, Any], Secret]]) -> bytes:
    """Return what is delivered: each target's name, kind and kinds of events, and its address."""
    rows = [{**target, "url": url.reveal().decode()} for target, url in targets]
    return json.dumps({"host": host, "targets": rows}, sort_keys=True).encode()


def proof(salt: str, body: bytes) -> str:
    """Return what tells whether two bodies are the same, to somebody who has one of them."""
    return hmac.digest(bytes.fromhex(salt), body, hashlib.sha256).hex()

"""Frames: a JSON header with bytes behind it, one after the other on a stream.

The control side and the agent speak in them. Lengths come first, so a stream that was cut is always noticed, and
limits are checked before anything is read: nobody can make the other side allocate without end.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.words.errors import HostError

HEADER_LIMIT = 1 << 20
BODY_LIMIT = 64 << 20

Read = Callable[[int], bytes]
"""Return up to so many bytes, empty at the end."""


def pack(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return one frame."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + len(body).to_bytes(4, "big") + text + body


def take(read: Read) -> tuple[dict[str, Any], bytes]:
    """Read one frame. Raises HostError for a stream that was cut, or speaks something else."""
    head, body = (int.from_bytes(_exactly(read, 4), "big") for _ in range(2))
    if head > HEADER_LIMIT or body > BODY_LIMIT:
        raise HostError(
            f"a frame of {head} and {body} bytes is beyond the limit", hint="something else is talking on this stream"
        )
    return parse(_exactly(read, head)), _exactly(read, body)


def parse(text: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises HostError for anything else."""
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise HostError("an answer that is no JSON object", hint="something else is talking on this stream")
    return header


def _exactly(read: Read, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = read(size - len(data))
        if not piece:
            raise HostError(
                f"the stream ended {size - len(data)} bytes early", hint="the connection was cut: run the same again"
            )
        data += piece
    return bytes(data)

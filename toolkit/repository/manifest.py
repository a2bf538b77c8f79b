"""Manifests: what a snapshot is, signed by its host and sealed for its readers, written last.

Three lines in one zstd frame: the name and version of the format, the header as JSON, and an Ed25519 signature of the
two. A manifest is believed only under the host's pinned key and under the name that it says of itself.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.crypto import age
from toolkit.crypto.signing import SigningKey, VerifyKey
from toolkit.repository import compression, layout
from toolkit.repository.listing import Ref, decode_ref, encode_ref
from toolkit.words.errors import ConfigError, RepositoryError, SecretError
from toolkit.words.values import Secret

MAGIC = b"toolkit/snapshot 1\n"
COMPLETE, INCOMPLETE = "complete", "incomplete"


@dataclass(frozen=True)
class PackInfo:
    """A pack as a manifest names it."""

    digest: str
    size: int


@dataclass(frozen=True)
class SourceInfo:
    """One source's part in a snapshot; `facts` are the source's own: engine version, row counts."""

    name: str
    kind: str
    entries: int
    bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about one snapshot but its listing, which `listing` refers to."""

    host: str
    epoch: str
    sequence: int
    previous: str | None
    started: str
    finished: str
    outcome: str
    chunk_key: Secret
    seed: int
    packs: Mapping[int, PackInfo]
    listing: Sequence[Ref]
    entries: int
    bytes: int
    sources: Sequence[SourceInfo] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[tuple[str, str]] = ()


def seal(manifest: Manifest, key: SigningKey, recipients: Sequence[str]) -> bytes:
    """Return the object to store."""
    signed = MAGIC + _header(manifest).encode() + b"\n"
    content = signed + base64.b64encode(key.sign(signed)) + b"\n"
    return age.seal(compression.compress(content), recipients)


def unseal(sealed: bytes, identities: Sequence[Secret], trusted: Sequence[VerifyKey]) -> Manifest:
    """Open and believe a manifest. Raises RepositoryError where it cannot be opened, or no trusted key signed it."""
    try:
        frame = age.unseal(sealed, identities)
    except SecretError as error:
        raise RepositoryError(f"a snapshot cannot be opened: {error.message}", hint=error.hint) from error
    content = compression.expand(frame, layout.MANIFEST_LIMIT)
    signed, _, signature = content.rstrip(b"\n").rpartition(b"\n")
    believed = any(key.accepts(_signature(signature), signed + b"\n") for key in trusted)
    if not content.startswith(MAGIC) or not believed:
        raise RepositoryError("a snapshot that this host did not sign", hint="compare the pinned signing key")
    try:
        return _parse(json.loads(signed[len(MAGIC) :]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigError) as error:
        raise RepositoryError(f"a snapshot's header makes no sense: {error}") from error


def _signature(line: bytes) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return b""


def _header(manifest: Manifest) -> str:
    """Return the header on one line. References and packs are many, so they are written by hand."""
    fields = {
        "host": manifest.host,
        "epoch": manifest.epoch,
        "sequence": manifest.sequence,
        "previous": manifest.previous,
        "started": manifest.started,
        "finished": manifest.finished,
        "outcome": manifest.outcome,
        "keys": {"chunk": manifest.chunk_key.reveal().hex(), "seed": manifest.seed},
        "entries": manifest.entries,
        "bytes": manifest.bytes,
        "sources": [vars(source) for source in manifest.sources],
        "facts": manifest.facts,
        "problems": [list(pair) for pair in manifest.problems],
    }
    packs = ",".join(f'"{number}":["{pack.digest}",{pack.size}]' for number, pack in sorted(manifest.packs.items()))
    listing = ",".join(encode_ref(ref) for ref in manifest.listing)
    text = json.dumps(fields, separators=(",", ":"))
    return f'{text[:-1]},"packs":{{{packs}}},"listing":[{listing}]}}'


def _parse(fields: dict[str, Any]) -> Manifest:
    key = bytes.fromhex(fields["keys"]["chunk"])
    if len(key) != 32 or not layout.is_epoch(fields["epoch"]) or fields["outcome"] not in (COMPLETE, INCOMPLETE):
        raise ValueError("a field out of range")
    return Manifest(
        host=layout.check_host(fields["host"]),
        epoch=fields["epoch"],
        sequence=_count(fields["sequence"]),
        previous=None if fields["previous"] is None else _digest(fields["previous"]),
        started=str(fields["started"]),
        finished=str(fields["finished"]),
        outcome=fields["outcome"],
        chunk_key=Secret(key),
        seed=_count(fields["keys"]["seed"]),
        packs={int(number): _pack(*value) for number, value in fields["packs"].items()},
        listing=tuple(_stored(decode_ref(value)) for value in fields["listing"]),
        entries=_count(fields["entries"]),
        bytes=_count(fields["bytes"]),
        sources=tuple(_source(value) for value in fields["sources"]),
        facts=dict(fields["facts"]),
        problems=tuple((str(path), str(text)) for path, text in fields["problems"]),
    )


def _stored(ref: Ref) -> Ref:
    # A listing has no holes; one that claims them would make its reader allocate whatever it says.
    if ref.hole:
        raise ValueError("a hole in the listing")
    return ref


def _source(fields: dict[str, Any]) -> SourceInfo:
    entries, size = _count(fields["entries"]), _count(fields["bytes"])
    return SourceInfo(str(fields["name"]), str(fields["kind"]), entries, size, dict(fields["facts"]))


def _pack(digest: str, size: int) -> PackInfo:
    if not 0 < _count(size) <= layout.SEALED_LIMIT:
        raise ValueError("a pack of a size that no pack has")
    return PackInfo(_digest(digest), size)


def _digest(text: str) -> str:
    if len(bytes.fromhex(text)) != 32 or text != text.lower():
        raise ValueError("a hash that is none")
    return text


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("a number out of range")
    return value

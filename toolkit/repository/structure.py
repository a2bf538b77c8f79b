"""Structure: what a repository's names and public documents tell without keys, compared with what is pinned.

Packs are named only inside sealed manifests, so a pack that is missing is for `verify` with keys to tell.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from toolkit.crypto import age
from toolkit.repository import layout
from toolkit.repository.fetch import Told, bodies
from toolkit.repository.layout import SnapshotName
from toolkit.repository.pins import Pin
from toolkit.store import ObjectStore
from toolkit.words.errors import SecretError

_DOCUMENT_LIMIT = 1 << 20

Expected = dict[str, str | Callable[[object], bool]]
"""What each field must be, or pass."""


def documents(store: ObjectStore, host: str, epochs: Iterable[str], pin: Pin | None, told: Told) -> Iterator[str]:
    """Yield what is wrong with the public documents. `told` hears where an older version is the right one."""
    if not (found := sorted(epochs)):
        return
    about_host: Expected = {"format": "toolkit/host 1", "host": host, "signing_key": _is_key}
    if pin:
        # It is written once, so on a host that was set up anew it names the key of before.
        about_host["signing_key"] = {str(key) for key in pin.keys(0)}.__contains__
    yield from _document(store, layout.host_key(host), about_host | {"recipients": _are_recipients}, told)
    times: Expected = {"created": _is_time, "kept_until": _is_time_or_none, "previous": _is_epoch_or_none}
    for epoch in found:
        about_epoch = {"format": "toolkit/epoch 1", "epoch": epoch, **times, "recipients": _are_recipients}
        yield from _document(store, layout.epoch_key(host, epoch), about_epoch, told)


def _document(store: ObjectStore, key: str, expected: Expected, told: Told) -> Iterator[str]:
    complaint = f"{key} is missing"
    for version, body in bodies(store, key, _DOCUMENT_LIMIT):
        if not (wrong := _wrong(body, expected)):
            if version is not None:
                told(f"{key}: only an older version says what it should")
            return
        complaint = f"{key} is not what the host wrote: {wrong}"
    yield complaint


def _wrong(body: bytes, expected: Expected) -> str:
    try:
        fields = json.loads(body)
        # One spelling only, so that a damaged byte shows even where it leaves the meaning.
        if not isinstance(fields, dict) or fields.keys() != expected.keys() or layout.document(fields) != body:
            return "it is damaged"
    except (ValueError, RecursionError):
        return "it is damaged"
    for name, wanted in expected.items():
        if not (wanted(fields[name]) if callable(wanted) else wanted == fields[name]):
            return f"see its {name}"
    return ""


def _is_key(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_time(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}(-\d\d){2}T\d\d(:\d\d){2}Z", value) is not None


def _is_time_or_none(value: object) -> bool:
    return value is None or _is_time(value)


def _is_epoch_or_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and layout.is_epoch(value))


def _are_recipients(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return False
    try:
        for each in value:
            age.check_recipient(each)
    except SecretError:
        return False
    return bool(value)


def jumps(names: Sequence[SnapshotName], pin: Pin | None) -> Iterator[str]:
    """Yield where a snapshot is missing, or added. The oldest may follow one that has expired."""
    for before, after in pairwise(name.sequence for name in names):
        if after <= before or (pin.misses(before, after) if pin else before + 1 < after):
            yield f"between snapshots {before} and {after} something is missing, or added"


def head(store: ObjectStore, host: str, names: Sequence[SnapshotName], pin: Pin) -> Iterator[str]:
    """Yield what is wrong with the newest snapshot that was seen before."""
    if not pin.sequence:
        return
    found = [name for name in names if name.sequence == pin.sequence]
    digests = (hashlib.sha256(body).hexdigest() for name in found for _, body in _versions(store, name, host))
    if not found and not any(first <= pin.sequence <= last for first, last in pin.expired):
        yield f"snapshot {pin.sequence} is missing, which was seen before: the store may have been set back"
    elif found and pin.digest not in digests:
        yield f"snapshot {pin.sequence} is not the one that was pinned"


def _versions(store: ObjectStore, name: SnapshotName, host: str) -> Iterator[tuple[str | None, bytes]]:
    return bodies(store, name.key(host), layout.MANIFEST_LIMIT)

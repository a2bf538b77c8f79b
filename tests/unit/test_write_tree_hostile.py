"""Hostile snapshots: signed by a host that was taken over, and meant for whoever restores them.

The generator makes listings of everything an attacker could wish for. Whatever it makes, nothing outside the target
is created or changed, and what is refused is refused with an error of ours.
"""

import base64
import hashlib
import json
import os
import resource
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.repository_setup import OPERATOR, RECIPIENTS
from toolkit.crypto import age
from toolkit.crypto.ids import chunk_id
from toolkit.crypto.signing import SigningKey
from toolkit.repository import How, Pin, Repository, Snapshot, compression, layout, manifest, restore
from toolkit.repository.layout import SnapshotName
from toolkit.repository.listing import Entry, Ref
from toolkit.repository.manifest import Manifest, PackInfo
from toolkit.repository.write_tree import Descent, SafeTree, fresh_directory
from toolkit.store import MemoryStore
from toolkit.words.errors import RepositoryError
from toolkit.words.values import Secret

KEY = SigningKey(Secret(b"k" * 32))
CHUNK_KEY = b"c" * 32
NAME = SnapshotName(1, "20261122-00000000", "20261122T000000Z")
CONTENT = b"written by the attacker"


def forge(lines: bytes, **changes: Any) -> Snapshot:
    """A snapshot whose signature is right and whose listing is whatever it is."""
    store = MemoryStore()
    listing, content = compression.compress(lines), compression.compress(CONTENT)
    sealed = age.seal(content + listing, RECIPIENTS)
    digest = hashlib.sha256(sealed).hexdigest()
    store.put_new(layout.pack_key("prod", NAME.epoch, digest), sealed)
    fields: dict[str, Any] = {
        "host": "prod",
        "epoch": NAME.epoch,
        "sequence": 1,
        "previous": None,
        "started": "",
        "finished": "",
        "outcome": "complete",
        "chunk_key": Secret(CHUNK_KEY),
        "seed": 0,
        "packs": {0: PackInfo(digest, len(sealed))},
        "listing": [Ref(chunk_id(CHUNK_KEY, lines), 0, len(content), len(listing), len(lines))],
        "entries": 1 << 40,
        "bytes": 1 << 30,
    }
    store.put_new(NAME.key("prod"), manifest.seal(Manifest(**{**fields, **changes}), KEY, RECIPIENTS))
    return Repository(store, "prod", (OPERATOR,), Pin(KEY.verify_key)).open(NAME)


def listing(*entries: dict[str, Any]) -> bytes:
    base = {"mode": "0644", "uid": 0, "gid": 0, "mtime": 0}
    return b"".join(json.dumps({**base, **entry}).encode() + b"\n" for entry in entries)


GOOD_REF = [chunk_id(CHUNK_KEY, CONTENT).hex(), 0, 0, len(compression.compress(CONTENT)), len(CONTENT)]
"""The one chunk in the forged pack that holds what it says."""


def file(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "type": "file", "size": 0, "chunks": [], **more}


def directory(path: str) -> dict[str, Any]:
    return {"path": path, "type": "directory", "mode": "0755"}


def surroundings(place: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything around the target: names, modes, times and contents."""
    found = {}
    for path in place.rglob("*"):
        if path.name == "target" or "target" in path.relative_to(place).parts:
            continue
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_nlink, content)
    return found


def attack(place: Path, lines: bytes, *, best_effort: bool = True, **changes: Any) -> Any:
    """Restore a forged listing beside something worth attacking; give back what happened."""
    place.mkdir(exist_ok=True)
    (place / "victim").mkdir(exist_ok=True)
    (place / "victim" / "passwd").write_text("root")
    before = surroundings(place)
    try:
        return restore(forge(lines, **changes), place / "target", How(best_effort=best_effort, owners=False))
    except RepositoryError as error:
        return error
    finally:
        assert surroundings(place) == before
        assert not Path("/tmp/toolkit-was-here").exists()


TOO_DEEP, TOO_LONG, LONG_NAME = "/".join("d" * 300), "/".join(["n" * 200] * 30), "n" * 256
ELSEWHERE = ["/etc/passwd", "../victim/passwd", "a/../../victim/passwd", "..", ".", "", "a//b", "a/./b", "a/"]


@pytest.mark.parametrize("path", [*ELSEWHERE, "a\0b", "\ud800", TOO_DEEP, TOO_LONG, LONG_NAME])
def test_a_path_that_leads_elsewhere_is_refused(path: str, tmp_path: Path) -> None:
    for entry in (file(path), directory(path), {"path": path, "type": "symlink", "target": "x"}):
        outcome = attack(tmp_path / "place", listing(entry))
        assert isinstance(outcome, RepositoryError)
        assert "line 1 of the listing" in outcome.message


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    lines = listing(
        {"path": "way", "type": "symlink", "target": str(tmp_path / "place" / "victim")},
        file("way/passwd"),
        {"path": "hard", "type": "link", "target": "way/passwd"},
    )
    outcome = attack(tmp_path / "place", lines)
    # In a best-effort restore lost parents are made; the link then finds its name taken.
    assert "way" in dict(outcome.lost)


def test_a_link_as_the_last_component_is_never_written_through(tmp_path: Path) -> None:
    victim = str(tmp_path / "place" / "victim" / "passwd")
    lines = listing({"path": "a", "type": "symlink", "target": victim}, file("a"))
    assert "a" in dict(attack(tmp_path / "place", lines).lost)


@pytest.mark.parametrize("target", ["../victim/passwd", "/etc/hostname", "missing", "here/../../victim/passwd"])
def test_a_hard_link_never_leads_outside(target: str, tmp_path: Path) -> None:
    lines = listing({"path": "stolen", "type": "link", "target": target})
    outcome = attack(tmp_path / "place", lines)
    assert isinstance(outcome, RepositoryError) or "stolen" in dict(outcome.lost)


def test_a_hard_link_to_a_link_or_a_device_is_refused(tmp_path: Path) -> None:
    lines = listing(
        {"path": "pipe", "type": "fifo"},
        {"path": "one", "type": "symlink", "target": str(tmp_path / "place" / "victim" / "passwd")},
        {"path": "two", "type": "link", "target": "one"},
        {"path": "three", "type": "link", "target": "pipe"},
    )
    assert {"two", "three"} <= set(dict(attack(tmp_path / "place", lines).lost))


def test_devices_setuid_and_capabilities_are_withheld_unless_asked_for(tmp_path: Path) -> None:
    capability = base64.b64encode(b"\x01\x00\x00\x02" + bytes(16)).decode()
    lines = listing(
        {"path": "mem", "type": "character", "device": [1, 1]},
        {"path": "sda", "type": "block", "device": [8, 0]},
        file("su", mode="6755"),
        file("ping", xattrs={"security.capability": capability}),
    )
    outcome = attack(tmp_path / "place", lines)
    assert {path for path, _ in outcome.withheld} == {"mem", "sda", "su", "ping"}
    target = tmp_path / "place" / "target"
    assert sorted(path.name for path in target.iterdir()) == ["ping", "su"]
    assert stat.S_IMODE((target / "su").stat().st_mode) == 0o755
    assert os.listxattr(target / "ping") == []


@pytest.mark.parametrize(
    "entry",
    [
        file("big", size=10**18, chunks=[[10**18]]),
        file("big", size=10**9, chunks=[["00" * 32, 0, 0, 10, 10**9]]),
        file("big", size=5, chunks=[["00" * 32, 0, 0, 10**12, 5]]),
        file("big", size=5, chunks=[["00" * 32, 10**12, 0, 10, 5]]),
        file("big", size=-1),
        file("big", size=5),
        file("big", size=1, chunks=[[1], [1]]),
        file("big", mode="7777777"),
        file("big", uid=-1),
        file("big", uid=2**32 - 1),
        file("big", mtime=10**30),
        file("big", mtime=True),
        {"path": "big", "type": "whiteout"},
        {"path": "big", "type": ["file"]},
        {"path": {"a": 1}, "type": "file"},
        {"chunks": [[5]]},
        {"path": "big", "type": "character", "device": [1]},
        {"path": "big", "type": "symlink", "target": ""},
        {"path": "big", "type": "directory", "chunks": [[5]]},
    ],
)
def test_claims_beyond_reason_are_refused_and_allocate_nothing(entry: dict[str, Any], tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = attack(tmp_path / "place", listing(entry), best_effort=False, bytes=1 << 30)
    assert isinstance(outcome, RepositoryError)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize(
    "lines",
    [
        b"[" * 100_000 + b"\n",
        b'{"path":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n",
        b"x" * (2 << 20),
        b'{"path":"a","type":"file"',
        b"\xff\xfe\n",
        b"null\n",
        b"[]\n",
        b'"path"\n',
        b"{}\n",
        b'{"path":"\xed\xa0\x80","type":"directory","mode":"0755","uid":0,"gid":0,"mtime":0}\n',
    ],
)
def test_lines_that_are_none_are_refused(lines: bytes, tmp_path: Path) -> None:
    assert isinstance(attack(tmp_path / "place", lines), RepositoryError)


def test_a_listing_longer_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    lines = listing(*(directory(f"d{number}") for number in range(10)))
    outcome = attack(tmp_path / "place", lines, entries=9)
    assert isinstance(outcome, RepositoryError)
    assert "more than its snapshot says" in outcome.message


def test_a_snapshot_too_large_for_the_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="has room for"):
        restore(forge(listing(directory("d")), bytes=1 << 60), tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"packs": {0: PackInfo("ab" * 32, 1 << 40)}},
        {"packs": {0: PackInfo("../../../etc", 100)}},
        {"listing": [Ref(b"", -1, 0, 0, 1 << 60)]},
        {"entries": -1},
        {"epoch": "../../x"},
        {"host": "../x"},
        {"sequence": 1 << 70},
        {"outcome": "splendid"},
        {"chunk_key": Secret(b"short")},
    ],
)
def test_a_header_beyond_reason_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RepositoryError):
        forge(listing(directory("d")), **changes)


HEADER: dict[str, Any] = {
    "host": "prod",
    "epoch": NAME.epoch,
    "sequence": 1,
    "previous": None,
    "started": "",
    "finished": "",
    "outcome": "complete",
    "keys": {"chunk": CHUNK_KEY.hex(), "seed": 0},
    "entries": 1,
    "bytes": 5,
    "sources": [{"name": "data", "kind": "tree", "entries": 1, "bytes": 5, "facts": {}}],
    "facts": {},
    "problems": [["data/x", "gone"]],
    "packs": {"0": ["ab" * 32, 100]},
    "listing": [["00" * 32, 0, 0, 10, 10]],
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([2**70, "ab" * 32]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("0"), inner, max_size=3),
    max_leaves=8,
)


def open_header(text: bytes) -> Snapshot:
    """Open a snapshot that is signed and sealed as it should be, around whatever header."""
    signed = manifest.MAGIC + text + b"\n"
    content = signed + base64.b64encode(KEY.sign(signed)) + b"\n"
    store = MemoryStore()
    store.put_new(NAME.key("prod"), age.seal(compression.compress(content), RECIPIENTS))
    return Repository(store, "prod", (OPERATOR,), Pin(KEY.verify_key)).open(NAME)


def test_the_header_that_the_generator_starts_from_is_taken() -> None:
    assert open_header(json.dumps(HEADER).encode()).manifest.entries == 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(key=st.sampled_from(sorted(HEADER)), value=ANYTHING, lost=st.booleans())
def test_whatever_a_header_says_it_is_taken_or_refused_and_leads_nowhere(key: str, value: object, lost: bool) -> None:
    header = {name: told for name, told in {**HEADER, key: value}.items() if not (lost and name == key)}
    try:
        snapshot = open_header(json.dumps(header).encode())
        list(snapshot.parts())
    except RepositoryError:
        return
    # There is no pack behind the listing, so only a snapshot without one can be read to its end.
    assert snapshot.manifest.listing == ()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b"{" * 5000,
        b"[" * 100_000,
        b'{"host":' + b"[" * 50_000,
        b"\xff\xfe",
        b'{"host": "prod"}\n{"host": "prod"}',
        b'"' + b"x" * 1_000_000,
        json.dumps({**HEADER, "facts": {"a": 1}}).encode().replace(b'"a": 1', b'"a": ' + b"[" * 3000 + b"]" * 3000),
        json.dumps({**HEADER, "entries": 0}).encode().replace(b'"entries": 0,', b'"entries": ' + b"9" * 5000 + b",", 1),
    ],
    ids=range(13),
)
def test_what_is_no_header_is_refused(text: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RepositoryError):
        open_header(text)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_a_path_that_comes_twice_is_written_once(kind: str, tmp_path: Path) -> None:
    content = file("a", size=len(CONTENT), chunks=[GOOD_REF])
    again = {"file": content, "directory": directory("a"), "symlink": {"path": "a", "type": "symlink", "target": "b"}}
    lines, claims = listing(content, again[kind]), {"entries": 2, "bytes": len(CONTENT) * (1 + (kind == "file"))}
    assert [path for path, _ in attack(tmp_path / "place", lines, **claims).lost] == ["a"]
    (made,) = (tmp_path / "place" / "target").iterdir()
    # Whichever came first stays as it is: nothing was written over it or through it.
    assert made.is_dir() if kind == "directory" else made.read_bytes() == CONTENT
    assert "File exists" in attack(tmp_path / "strict", lines, best_effort=False, **claims).message


NAMES = st.sampled_from(["a", "b", "..", ".", "", "way", "x" * 256, "\0", "\udcff", "é", "victim", "passwd"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join) | st.sampled_from(["/etc/x", "../victim/passwd"])
TARGETS = PATHS | st.sampled_from(["../../victim", "../victim/passwd", "/tmp", "..", "a/b"])
NUMBERS = st.integers(-2, 2**65) | st.sampled_from([0, 5, len(CONTENT), 10**9])


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["directory", "file", "file", "symlink", "symlink", "link", "fifo", "block", "?"]))
    entry: dict[str, Any] = {
        "path": draw(PATHS),
        "type": kind,
        "mode": draw(st.sampled_from(["0755", "7777", "0000", "x"])),
    }
    if kind in ("symlink", "link"):
        entry["target"] = draw(TARGETS)
    if kind == "file":
        how = draw(st.sampled_from(["empty", "hole", "chunk", "wild"]))
        if how == "hole":
            entry |= {"size": 4096, "chunks": [[4096]]}
        elif how == "chunk":
            entry |= {"size": len(CONTENT), "chunks": [GOOD_REF]}
        elif how == "wild":
            wild = draw(st.lists(st.lists(NUMBERS, min_size=1, max_size=5), max_size=2))
            entry |= {"size": draw(NUMBERS), "chunks": wild}
        else:
            entry |= {"size": 0, "chunks": []}
    if kind == "block":
        entry["device"] = [draw(st.integers(0, 300)), 1]
    return entry


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(made=st.lists(entries(), min_size=1, max_size=8), best_effort=st.booleans())
def test_whatever_is_listed_nothing_outside_the_target_is_touched(
    made: list[dict[str, Any]], best_effort: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    attack(tmp_path_factory.mktemp("hostile") / "place", listing(*made), best_effort=best_effort)


@pytest.mark.full
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(entries(), min_size=1, max_size=12), best_effort=st.booleans())
def test_whatever_is_listed_nothing_outside_the_target_is_touched_at_length(
    made: list[dict[str, Any]], best_effort: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    attack(tmp_path_factory.mktemp("hostile") / "place", listing(*made), best_effort=best_effort)


def test_the_generator_does_reach_the_writer(tmp_path: Path) -> None:
    """The suite above would pass on listings that are all refused: this one is taken."""
    lines = listing(directory("a"), file("a/b", size=len(CONTENT), chunks=[GOOD_REF]))
    outcome = attack(tmp_path / "place", lines, best_effort=False, entries=2, bytes=len(CONTENT))
    assert outcome.lost == ()
    assert (tmp_path / "place/target/a/b").read_bytes() == CONTENT


@pytest.mark.parametrize("best_effort", [True, False])
def test_a_chunk_that_is_not_the_one_it_says_is_refused(best_effort: bool, tmp_path: Path) -> None:
    """The frame opens and has the right length; only its keyed name tells that it is another one."""
    wrong = ["ab" * 32, *GOOD_REF[1:]]
    lines = listing(file("a", size=len(CONTENT), chunks=[wrong]))
    outcome = attack(tmp_path / "place", lines, best_effort=best_effort, entries=1, bytes=len(CONTENT))
    if best_effort:
        assert [path for path, _ in outcome.lost] == ["a"]
    else:
        assert "is not the one it should be" in outcome.message
    assert list((tmp_path / "place" / "target").iterdir()) == []


@pytest.mark.parametrize("where", ["way/inside", "way/deeper/inside"])
def test_a_directory_that_somebody_turns_into_a_link_meanwhile_is_not_entered(where: str, tmp_path: Path) -> None:
    """A user of the machine may own the target's neighbourhood; every component is opened without following links."""
    (tmp_path / "outside" / "deeper").mkdir(parents=True)
    with fresh_directory(tmp_path / "target") as root:
        tree = SafeTree(root, privileged=False, owners=False)
        (tmp_path / "target" / "way").symlink_to(tmp_path / "outside")
        with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
            tree.whole_file(Descent(root), Entry(where, "file", mode=0o644), b"x")
    assert sorted(path.name for path in (tmp_path / "outside").rglob("*")) == ["deeper"]


def test_symbolic_links_are_made_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as anything else is made there is no link to follow."""
    made: list[str] = []
    for call in ("link", "mkfifo", "symlink"):
        real = getattr(os, call)
        monkeypatch.setattr(
            os, call, lambda *words, real=real, call=call, **named: (made.append(call), real(*words, **named))
        )
    lines = listing(
        {"path": "a", "type": "symlink", "target": "f"},
        file("f"),
        {"path": "b", "type": "link", "target": "f"},
        {"path": "c", "type": "fifo"},
    )
    assert attack(tmp_path / "place", lines).lost == ()
    assert made == ["link", "mkfifo", "symlink"]

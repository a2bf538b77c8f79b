"""The agent's secrets over a root of its own: whole or not at all, and back from sealed copies."""

import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.agent import deliver
from toolkit.agent.deliver import Receipt
from toolkit.agent.paths import Paths
from toolkit.agent.restore import listing, restore
from toolkit.crypto import age, tags
from toolkit.vault.delivery import LARGEST, Delivery, Entry
from toolkit.words.errors import HostError, SecretError
from toolkit.words.values import Secret

KEY = b"5f" * 32
HERE = {"uid": os.getuid(), "gid": os.getgid()}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Return a root with the host's key, as a first deploy leaves it."""
    paths = Paths(tmp_path)
    paths.key.parent.mkdir(parents=True)
    paths.key.write_bytes(KEY + b"\n")
    return paths


def entry(name: str, value: bytes, mode: int = 0o400) -> Entry:
    return Entry(name, tags.tag(KEY, name, value), mode, size=len(value), **HERE)


def put(paths: Paths, values: dict[str, bytes], *, keep: dict[str, bytes] | None = None, mode: int = 0o400) -> Receipt:
    entries = tuple(entry(name, value, mode) for name, value in values.items())
    kept = frozenset(tags.tag(KEY, name, value) for name, value in (keep or {}).items())
    return deliver.put(paths, Delivery("shop", "r1", entries, kept), b"".join(values.values()))


def held(paths: Paths) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((paths.memory / "shop").iterdir())}


def named(values: dict[str, bytes]) -> dict[str, bytes]:
    return {entry(name, value).file: value for name, value in values.items()}


def forget(paths: Paths) -> None:
    """Do to memory what a reboot does."""
    for path in (paths.memory / "shop").iterdir():
        path.unlink()
    (paths.memory / "shop").rmdir()


def state(paths: Paths) -> dict[str, bytes]:
    """Return every file below the root with its content."""
    return {str(path): path.read_bytes() for path in sorted(paths.root.rglob("*")) if path.is_file()}


FIRST = {"db": b"one", "api": b"two\x00\xff"}


def test_a_delivery_is_in_memory_and_sealed(paths: Paths) -> None:
    receipt = put(paths, FIRST)
    assert held(paths) == named(FIRST)
    assert set(receipt.written) == set(named(FIRST))
    copy = paths.sealed / "shop" / (entry("db", b"one").file + ".age")
    identity = age.identities_in(Secret(paths.identity.read_bytes()))
    assert age.unseal(copy.read_bytes(), identity) == b"one"


def test_files_have_the_mode_their_consumer_needs_and_folders_let_through(paths: Paths) -> None:
    put(paths, FIRST, mode=0o440)
    assert {path.stat().st_mode & 0o777 for path in (paths.memory / "shop").iterdir()} == {0o440}
    assert (paths.memory / "shop").stat().st_mode & 0o777 == 0o711
    assert (paths.sealed / "shop").stat().st_mode & 0o777 == 0o700
    closed = [*(paths.sealed / "shop").iterdir(), paths.identity]
    assert {path.stat().st_mode & 0o777 for path in closed} == {0o600}


def test_files_belong_to_their_consumer(paths: Paths) -> None:
    # Only root gives files away; anybody else keeps them.
    uid, gid = (999, 998) if os.getuid() == 0 else (os.getuid(), os.getgid())
    delivery = Delivery("shop", "r1", (replace(entry("db", b"one"), uid=uid, gid=gid),))
    deliver.put(paths, delivery, b"one")
    found = (paths.memory / "shop" / delivery.files[0].file).stat()
    assert (found.st_uid, found.st_gid) == (uid, gid)
    forget(paths)
    restore(paths)
    found = (paths.memory / "shop" / delivery.files[0].file).stat()
    assert (found.st_uid, found.st_gid) == (uid, gid)


def test_the_same_again_writes_nothing_and_keeps_inodes(paths: Paths) -> None:
    put(paths, FIRST)
    before = {path.name: path.stat().st_ino for path in (paths.memory / "shop").iterdir()}
    assert put(paths, FIRST).written == ()
    assert {path.name: path.stat().st_ino for path in (paths.memory / "shop").iterdir()} == before


def test_a_new_mode_reaches_the_file_that_is_there(paths: Paths) -> None:
    put(paths, FIRST)
    place = paths.memory / "shop" / entry("db", b"one").file
    inode = place.stat().st_ino
    put(paths, FIRST, mode=0o444)
    assert (place.stat().st_ino, place.stat().st_mode & 0o777) == (inode, 0o444)


def test_a_changed_value_is_a_new_file_and_the_old_one_stays_while_it_is_kept(paths: Paths) -> None:
    put(paths, FIRST)
    second = FIRST | {"db": b"changed"}
    put(paths, second, keep={"db": b"one"})
    assert held(paths) == named(FIRST) | named(second)
    receipt = put(paths, second)
    assert held(paths) == named(second)
    assert receipt.removed == (entry("db", b"one").file,)
    assert not (paths.sealed / "shop" / (entry("db", b"one").file + ".age")).exists()


def test_what_is_removed_is_overwritten_first(paths: Paths) -> None:
    put(paths, FIRST)
    with (paths.memory / "shop" / entry("db", b"one").file).open("rb") as old:
        put(paths, {"api": FIRST["api"]})
        assert old.read() == bytes(3)


def test_a_kept_tag_that_nobody_has_is_told_as_lost(paths: Paths) -> None:
    receipt = put(paths, FIRST, keep={"db": b"from another life"})
    assert receipt.lost == (tags.tag(KEY, "db", b"from another life"),)


def test_the_set_comes_back_after_a_reboot_with_owner_and_mode(paths: Paths) -> None:
    put(paths, FIRST, mode=0o440)
    forget(paths)
    assert restore(paths) == 2
    assert held(paths) == named(FIRST)
    assert {path.stat().st_mode & 0o777 for path in (paths.memory / "shop").iterdir()} == {0o440}


def test_kept_secrets_come_back_too(paths: Paths) -> None:
    put(paths, FIRST)
    put(paths, {"db": b"changed"}, keep=FIRST)
    forget(paths)
    restore(paths)
    assert held(paths) == named(FIRST | {"db": b"one"}) | named({"db": b"changed"})


def test_kept_secrets_that_are_only_sealed_are_laid_out_by_a_delivery(paths: Paths) -> None:
    put(paths, FIRST)
    forget(paths)
    receipt = put(paths, {"db": b"changed"}, keep=FIRST)
    assert receipt.lost == ()
    assert held(paths) == named(FIRST | {"db": b"one"}) | named({"db": b"changed"})


def test_a_restore_on_a_host_without_secrets_is_content(tmp_path: Path) -> None:
    assert restore(Paths(tmp_path)) == 0


def test_a_restore_leaves_what_is_there_in_place(paths: Paths) -> None:
    put(paths, FIRST)
    inodes = {path.stat().st_ino for path in (paths.memory / "shop").iterdir()}
    restore(paths)
    assert {path.stat().st_ino for path in (paths.memory / "shop").iterdir()} == inodes


def test_two_deliveries_at_once_leave_one_whole_set(paths: Paths) -> None:
    sets = [{f"s{number}": b"%d" % which for number in range(8)} for which in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda values: put(paths, values), sets * 3))
    assert held(paths) in [named(values) for values in sets]
    [stack] = listing(paths)["stacks"]
    assert (len(stack["files"]), stack["holes"]) == (8, [])


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond this size: a write then fails in the middle, as on a full tmpfs."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_changes_nothing(paths: Paths) -> None:
    put(paths, FIRST)
    before = state(paths)
    with (
        room_for(5000),
        pytest.raises(HostError, match=r"cannot write .*/shop/big-[0-9a-f]{16}: File too large") as caught,
    ):
        put(paths, {"db": b"new", "big": b"x" * 9000})
    assert "nothing was changed" in caught.value.hint
    assert state(paths) == before


def test_what_a_killed_run_left_is_removed_by_the_next(paths: Paths) -> None:
    put(paths, FIRST)
    (paths.memory / "shop" / ".db-0.draft").write_bytes(b"half")
    (paths.sealed / "shop" / "stray-0123456789abcdef.age").write_bytes(b"orphan")
    put(paths, FIRST)
    assert held(paths) == named(FIRST)
    assert len(list((paths.sealed / "shop").iterdir())) == 3


def test_a_wrong_tag_is_refused(paths: Paths) -> None:
    put(paths, FIRST)
    before = state(paths)
    wrong = replace(entry("db", b"one"), tag="0" * 16)
    with pytest.raises(SecretError, match="db: the tag is not that of the value"):
        deliver.put(paths, Delivery("shop", "r2", (wrong,)), b"one")
    assert state(paths) == before


def test_a_body_that_does_not_add_up_is_refused(paths: Paths) -> None:
    with pytest.raises(SecretError, match="2 bytes for secrets of 3 bytes"):
        deliver.put(paths, Delivery("shop", "r2", (entry("db", b"one"),)), b"on")


def test_a_host_without_its_key_says_so(paths: Paths) -> None:
    paths.key.unlink()
    with pytest.raises(SecretError, match="key is missing"):
        put(paths, FIRST)


@pytest.mark.parametrize("when", ["put", "restore"])
def test_a_directory_in_the_place_of_a_secret_is_refused(paths: Paths, when: str) -> None:
    put(paths, FIRST)
    forget(paths)
    (paths.memory / "shop" / entry("db", b"one").file).mkdir(parents=True)
    with pytest.raises((HostError, SecretError), match="is a directory where a secret belongs") as caught:
        put(paths, FIRST) if when == "put" else restore(paths)
    assert "rmdir" in caught.value.message + caught.value.hint


def test_a_directory_in_the_place_of_a_sealed_copy_is_refused(paths: Paths) -> None:
    put(paths, FIRST)
    before = state(paths)
    (paths.sealed / "shop" / (entry("db", b"new").file + ".age")).mkdir()
    with pytest.raises(HostError, match=r"\.age is a directory where a secret belongs"):
        put(paths, {"api": b"new", "db": b"new"})
    assert state(paths) == before


def spoil(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


HARM = {
    "damaged": (lambda copy: copy.write_bytes(spoil(copy.read_bytes())), "a damaged age file"),
    "cut": (lambda copy: copy.write_bytes(copy.read_bytes()[:-9]), "a damaged age file"),
    "empty": (lambda copy: copy.write_bytes(b""), "a damaged age file"),
    "missing": (lambda copy: copy.unlink(), "is missing"),
    "a directory": (lambda copy: (copy.unlink(), copy.mkdir()), "Is a directory"),
    "swapped": (lambda copy: copy.write_bytes(copy.with_name(entry("api", FIRST["api"]).file + ".age").read_bytes()),
                "holds another value than its name says"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_a_sealed_copy_that_is_not_whole_is_a_loud_hole(paths: Paths, harm: str) -> None:
    put(paths, FIRST)
    act, said = HARM[harm]
    copy = paths.sealed / "shop" / (entry("db", b"one").file + ".age")
    act(copy)
    forget(paths)
    with pytest.raises(SecretError, match=said) as caught:
        restore(paths)
    assert str(copy) in caught.value.message
    assert "invoke deploy" in caught.value.hint
    assert held(paths) == named({"api": FIRST["api"]}), "the rest is laid out"
    if copy.is_dir():
        copy.rmdir()
    put(paths, FIRST)
    forget(paths)
    assert restore(paths) == 2, "a delivery heals it"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "identity is missing"), (b"AGE-SECRET-KEY-1NONSENSE\n", "not an age identity"),
                          (age.new_identity().reveal(), "no identity opens this age file")],
    ids=["lost", "nonsense", "of another host"],
)  # fmt: skip
def test_a_host_that_lost_its_identity_says_so_and_a_delivery_heals_it(paths: Paths, content, said: str) -> None:
    put(paths, FIRST)
    paths.identity.unlink() if content is None else paths.identity.write_bytes(content)
    with pytest.raises(SecretError, match=said):
        restore(paths)
    paths.identity.unlink(missing_ok=True)
    put(paths, {"db": b"changed"}, keep=FIRST)
    forget(paths)
    assert restore(paths) == 3, "kept values in memory were sealed anew"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "toolkit secrets 1", "files": [{}]}'])
def test_a_damaged_index_is_named(paths: Paths, content: bytes) -> None:
    put(paths, FIRST)
    (paths.sealed / "shop/set.json").write_bytes(content)
    with pytest.raises(SecretError, match=r"set\.json is damaged"):
        restore(paths)
    with pytest.raises(SecretError, match=r"set\.json is damaged"):
        put(paths, FIRST)


def test_the_index_of_a_newer_agent_is_not_guessed_at(paths: Paths) -> None:
    put(paths, FIRST)
    (paths.sealed / "shop/set.json").write_text('{"format": "toolkit secrets 2"}')
    with pytest.raises(SecretError, match="has the format 'toolkit secrets 2'"):
        restore(paths)


def test_the_list_names_what_is_there_and_never_a_value(paths: Paths) -> None:
    put(paths, {"db": b"canary-value"})
    [stack] = listing(paths)["stacks"]
    assert stack["holes"] == []
    assert [(file["name"], file["mode"], file["size"]) for file in stack["files"]] == [("db", "0400", 12)]
    assert "canary" not in str(listing(paths))


def test_the_list_names_holes(paths: Paths) -> None:
    put(paths, FIRST)
    (paths.memory / "shop" / entry("db", b"one").file).unlink()
    (paths.sealed / "shop" / (entry("api", FIRST["api"]).file + ".age")).unlink()
    [stack] = listing(paths)["stacks"]
    assert len(stack["holes"]) == 2
    assert all("is missing" in hole for hole in stack["holes"])


BAD = {
    "slash": ({"name": "a/b"}, "is no name for a secret"),
    "dot-dot": ({"name": ".."}, "is no name for a secret"),
    "hidden": ({"name": ".a"}, "is no name for a secret"),
    "nul": ({"name": "a\0b"}, "is no name for a secret"),
    "line end": ({"name": "a\n"}, "is no name for a secret"),
    "tag": ({"tag": "../../../../x"}, "is no tag"),
    "mode": ({"mode": 0o4755}, "impossible owner or mode"),
    "owner": ({"uid": -1}, "impossible owner or mode"),
    "empty": ({"size": 0}, "0 bytes"),
    "too large": ({"size": LARGEST + 1}, "1048577 bytes"),
}


@pytest.mark.parametrize("what", BAD)
def test_an_entry_that_cannot_be_is_refused(what: str) -> None:
    change, said = BAD[what]
    with pytest.raises(SecretError, match=said):
        replace(entry("db", b"one"), **change)


@pytest.mark.parametrize("stack", ["..", "", "a/b", "-a", "A"])
def test_a_stack_that_is_no_folder_is_refused(stack: str) -> None:
    with pytest.raises(SecretError, match="is no name for a stack"):
        Delivery(stack, "r1", ())


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(SecretError, match="db is delivered twice"):
        Delivery("shop", "r1", (entry("db", b"one"), entry("db", b"two")))


@pytest.mark.parametrize("change", [{"files": [{}]}, {"files": 3}, {"keep": None}, {"stack": None}, {"files": ["x"]}])
def test_a_request_in_another_shape_is_refused(change: dict) -> None:
    header = Delivery("shop", "r1", (entry("db", b"one"),)).header()
    with pytest.raises(SecretError):
        Delivery.parse(header | change)
    assert Delivery.parse(header).files[0].name == "db"

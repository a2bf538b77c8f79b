"""Secrets from init to check, on a repository with two hosts. No terminal, no host."""

from pathlib import Path

import pytest

from toolkit.crypto import age
from toolkit.vault import editor, recipients
from toolkit.vault.files import Vault
from toolkit.vault.identity import Keyring
from toolkit.words.clock import FakeClock
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret
from toolkit.workflows import secrets

ESCROW = "age1m9dp8erusp93004e5z82tt4ea982x6nea5h5hgxr7lswuzwwfylsuqq9dn"
COMPOSE = """
services:
  db: {image: db, secrets: [password]}
  api: {image: api, secrets: [url]}
secrets: {password: {environment: P}, url: {environment: U}}
"""
HOST = """
connection: local
stack:
  name: shop
  directory: shop
  secrets:
    url: "db://{{ password }}@db"
"""


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    return Keyring({"TOOLKIT_IDENTITY": str(tmp_path / "me" / "identity"), "PATH": "/usr/bin:/bin"})


@pytest.fixture
def root(tmp_path: Path, keys: Keyring) -> Path:
    root = tmp_path / "repository"
    (root / "hosts").mkdir(parents=True)
    (root / "shop").mkdir()
    (root / "shop" / "compose.yaml").write_text(COMPOSE)
    for host in ("prod", "stage"):
        (root / "hosts" / f"{host}.yml").write_text(HOST)
    secrets.init(root, keys, escrow=ESCROW)
    return root


def test_a_start_names_the_operator_and_the_escrow(root: Path, keys: Keyring) -> None:
    own = age.recipient_of(keys.identities()[0])
    assert recipients.read(root) == (own, ESCROW)


def test_an_escrow_that_is_drawn_here_opens_everything_and_is_kept_nowhere(tmp_path: Path) -> None:
    root, keys = tmp_path / "r", Keyring({"TOOLKIT_IDENTITY": str(tmp_path / "id")})
    root.mkdir()
    made = secrets.init(root, keys)
    assert made.escrow_identity is not None
    text = made.escrow_identity.reveal()
    assert age.recipient_of(made.escrow_identity) == made.escrow
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and text in path.read_bytes()]
    assert text.decode() not in repr(made)


def test_a_start_overwrites_nothing(root: Path, keys: Keyring) -> None:
    before = {path: path.read_bytes() for path in (keys.path, root / recipients.FILE)}
    with pytest.raises(SecretError, match="are there already") as caught:
        secrets.init(root, keys)
    assert caught.value.exit_code == 11
    assert {path: path.read_bytes() for path in before} == before


def test_a_colleague_gets_an_identity_and_the_list_stays(root: Path, tmp_path: Path) -> None:
    before = (root / recipients.FILE).read_bytes()
    made = secrets.init(root, Keyring({"TOOLKIT_IDENTITY": str(tmp_path / "robin")}))
    assert (made.new_identity, made.new_recipients, made.escrow_identity) == (True, False, None)
    assert (root / recipients.FILE).read_bytes() == before


def test_an_identity_serves_a_second_repository(tmp_path: Path, root: Path, keys: Keyring) -> None:
    (tmp_path / "second").mkdir()
    made = secrets.init(tmp_path / "second", keys, escrow=ESCROW)
    assert not made.new_identity
    assert recipients.read(tmp_path / "second") == recipients.read(root)


@pytest.mark.parametrize(
    ("inside", "escrow", "message"),
    [(True, ESCROW, "would be inside the repository"), (False, "hunter2", "^--escrow: not a recipient")],
)
def test_a_start_that_cannot_be_right_makes_nothing(tmp_path: Path, inside: bool, escrow: str, message: str) -> None:
    root = tmp_path / "r"
    root.mkdir()
    keys = Keyring({"TOOLKIT_IDENTITY": str((root if inside else tmp_path) / "identity")})
    with pytest.raises(SecretError, match=message) as caught:
        secrets.init(root, keys, escrow=escrow)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert not list(root.iterdir())
    assert not keys.path.exists()


def test_a_secret_belongs_to_a_host_that_has_a_file(root: Path) -> None:
    assert secrets.put(root, "prod", "password", Secret(b"x")) == "secrets/prod/password.age"
    assert secrets.put(root, "", "password", Secret(b"x")) == "secrets/common/password.age"
    with pytest.raises(SecretError) as caught:
        secrets.put(root, "prdo", "password", Secret(b"x"))
    assert caught.value.message == "there is no hosts/prdo.yml"
    assert caught.value.hint == "there are: prod, stage"


def test_a_name_that_is_taken_is_not_drawn_again(root: Path, keys: Keyring) -> None:
    secrets.generate(root, "", "password", length=20, alphabet="hex")
    before = secrets.value(root, "", "password", keys)
    with pytest.raises(SecretError, match="is there already") as caught:
        secrets.generate(root, "", "password", length=20, alphabet="hex")
    assert "secrets.rotate password" in caught.value.hint
    assert secrets.value(root, "", "password", keys) == before
    assert len(before.reveal()) == 20


def test_a_hosts_value_is_what_it_gets(root: Path, keys: Keyring) -> None:
    secrets.put(root, "", "password", Secret(b"pw"))
    assert secrets.value(root, "prod", "url", keys).reveal() == b"db://pw@db"


def test_rotating_keeps_shape_and_place_and_leaves_a_note(root: Path, keys: Keyring) -> None:
    secrets.generate(root, "", "password", length=24, alphabet="hex")
    before = secrets.value(root, "", "password", keys).reveal()
    file = secrets.rotate(root, "prod", "password", keys, note="Robin\nleft", who="me@here", clock=FakeClock())
    after = secrets.value(root, "", "password", keys).reveal()
    assert file == "secrets/common/password.age"
    assert (len(after), after != before) == (24, True)
    note = (root / secrets.NOTES).read_text()
    assert note.endswith("\n2023-11-14 common/password by me@here: Robin left\n")
    assert after.decode() not in note


def test_what_was_not_drawn_is_not_rotated(root: Path, keys: Keyring) -> None:
    secrets.put(root, "", "password", Secret(b"two words"))
    with pytest.raises(SecretError, match=r"^secrets/common/password\.age: its shape") as caught:
        secrets.rotate(root, "", "password", keys, note="", who="me", clock=FakeClock())
    assert "set that" in caught.value.hint
    assert secrets.value(root, "", "password", keys).reveal() == b"two words"
    assert not (root / secrets.NOTES).exists()


def test_editing_changes_only_what_changed(root: Path, keys: Keyring) -> None:
    secrets.put(root, "", "password", Secret(b"before"))
    file = root / "secrets/common/password.age"
    sealed = file.read_bytes()
    assert secrets.edit(root, "", "password", keys, lambda value: value) == ""
    assert file.read_bytes() == sealed
    assert secrets.edit(root, "", "password", keys, lambda value: Secret(value.reveal() + b"!"))
    assert secrets.value(root, "", "password", keys).reveal() == b"before!"


@pytest.mark.parametrize(
    ("before", "script", "after"),
    [
        (b"one", "sed -i s/one/two/", b"two"),
        (b"one", "sed -i '$a\\'", b"one"),
        (b"a\nb", "sed -i '$a\\'", b"a\nb"),
        (b"", "sh -c 'echo new > \"$0\"'", b"new"),
        (b"a\nb\n", "sed -i s/a/c/", b"c\nb\n"),
        (b"a", 'sh -c \'printf "k\\nl\\n" > "$0"\'', b"k\nl\n"),
    ],
)
def test_an_editor_adds_no_line_end_of_its_own(tmp_path: Path, before: bytes, script: str, after: bytes) -> None:
    environ = {"EDITOR": script, "PATH": "/usr/bin:/bin"}
    assert editor.edit(Secret(before), environ, memory=tmp_path).reveal() == after
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "program", "message"),
    [
        (b"x", "false", "the editor ended with exit code 1"),
        (b"x", "no-such-editor", "the editor 'no-such-editor' cannot be run"),
        (b"\xff\xfe", "true", "a binary secret does not go into an editor"),
    ],
)
def test_an_editor_that_fails_leaves_nothing_behind(tmp_path: Path, value: bytes, program: str, message: str) -> None:
    with pytest.raises(SecretError) as caught:
        editor.edit(Secret(value), {"EDITOR": program, "PATH": "/usr/bin:/bin"}, memory=tmp_path)
    assert (caught.value.message, caught.value.exit_code) == (message, 11)
    assert not list(tmp_path.iterdir())


def test_the_edited_file_is_for_its_owner_alone_and_overwritten(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    look = f'sh -c \'stat -c %a "$0" "$(dirname "$0")" > {tmp_path}/modes; ln "$0" {kept}\''
    editor.edit(Secret(b"c4n4ry"), {"EDITOR": look, "PATH": "/usr/bin:/bin"}, memory=tmp_path)
    assert (tmp_path / "modes").read_text() == "600\n700\n"
    assert kept.read_bytes() == bytes(6)


def test_everything_is_sealed_for_the_recipients_of_now(root: Path, keys: Keyring, tmp_path: Path) -> None:
    secrets.put(root, "", "password", Secret(b"a"))
    secrets.put(root, "prod", "tls", Secret(b"b"))
    robin = Keyring({"TOOLKIT_IDENTITY": str(tmp_path / "robin")})
    made = secrets.init(root, robin)
    with (root / recipients.FILE).open("a") as listed:
        listed.write(made.recipient + "\n")
    with pytest.raises(SecretError, match="no identity opens"):
        secrets.value(root, "", "password", robin)
    assert secrets.reencrypt(root, keys) == ("secrets/common/password.age", "secrets/prod/tls.age")
    assert secrets.value(root, "", "password", robin).reveal() == b"a"
    assert Vault(root).read("prod", "tls", robin).reveal() == b"b"


def test_one_file_that_does_not_open_leaves_all_as_they_were(root: Path, keys: Keyring) -> None:
    for name in ("a", "b", "c"):
        secrets.put(root, "", name, Secret(b"x"))
    (root / "secrets/common/c.age").write_text("junk")
    before = {path: path.read_bytes() for path in (root / "secrets").rglob("*.age")}
    with pytest.raises(SecretError, match=r"secrets/common/c\.age: a damaged age file"):
        secrets.reencrypt(root, keys)
    assert {path: path.read_bytes() for path in before} == before


def test_a_disk_that_fills_up_midway_leaves_all_as_they_were(
    root: Path, keys: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        secrets.put(root, "", name, Secret(b"x"))
    before = {path: path.read_bytes() for path in (root / "secrets").rglob("*.age")}
    original, written = Vault.put, []

    def put(vault: Vault, path: Path, sealed: bytes) -> None:
        written.append(path.name)
        if len(written) == 3:
            raise SecretError("cannot be written: No space left on device")
        original(vault, path, sealed)

    monkeypatch.setattr(Vault, "put", put)
    with pytest.raises(SecretError, match="No space left"):
        secrets.reencrypt(root, keys)
    assert written[:3] == ["a.age", "b.age", "c.age"]
    assert {path: path.read_bytes() for path in before} == before


def test_the_list_says_who_uses_what_and_no_values(root: Path, keys: Keyring) -> None:
    secrets.put(root, "", "password", Secret(b"c4n4ry"))
    secrets.put(root, "prod", "password", Secret(b"c4n4ry"))
    secrets.put(root, "prod", "spare", Secret(b"c4n4ry"))
    listed = secrets.listing(root, "")
    assert [(entry.name, entry.where, entry.users) for entry in listed] == [
        ("password", "common", ("stage: service db", "stage: secret url")),
        ("password", "prod", ("prod: service db", "prod: secret url")),
        ("spare", "prod", ()),
        ("url", "hosts/prod.yml (template)", ("prod: service api",)),
        ("url", "hosts/stage.yml (template)", ("stage: service api",)),
    ]
    assert [entry.where for entry in secrets.listing(root, "stage")] == ["common", "hosts/stage.yml (template)"]
    assert "c4n4ry" not in repr(listed)


def problems(root: Path, keys: Keyring) -> dict[str, str]:
    return {finding.name: finding.problem for finding in secrets.check(root, "prod", keys).findings}


def test_a_sound_host_has_no_findings(root: Path, keys: Keyring) -> None:
    secrets.put(root, "", "password", Secret(b"kJ3nq8Vt"))
    review = secrets.check(root, "prod", keys)
    assert (review.checked, review.findings) == (2, ())


def test_everything_that_is_unfit_is_found_at_once(root: Path, keys: Keyring) -> None:
    (root / "shop" / "compose.yaml").write_text(
        "services: {a: {secrets: [missing, newline, damaged, placeholder, UPPER, password]}}\n"
    )
    secrets.put(root, "", "newline", Secret(b"kJ3nq8Vt\n"))
    secrets.put(root, "", "placeholder", Secret(b"changeme"))
    (root / "secrets/common/damaged.age").write_text("junk")
    found = problems(root, keys)
    assert found == {
        "missing": "no secret missing in secrets/prod/missing.age or secrets/common/missing.age",
        "newline": "ends with a stray newline",
        "damaged": "secrets/common/damaged.age: a damaged age file: not an age file",
        "placeholder": "is a placeholder",
        "UPPER": "'UPPER' is not the name of a secret",
        "password": "no secret password in secrets/prod/password.age or secrets/common/password.age",
        "url": "hosts/prod.yml: stack.secrets.url: unknown variable password",
    }


def test_a_forgotten_reencrypt_and_a_missing_escrow_are_found(root: Path, keys: Keyring) -> None:
    secrets.put(root, "", "password", Secret(b"kJ3nq8Vt"))
    own = recipients.read(root)[0]
    (root / recipients.FILE).write_text(own + "\n")
    assert problems(root, keys) == {
        "recipients": "secrets/recipients.txt names one recipient",
        "password": "sealed for 2 recipients, secrets/recipients.txt names 1",
    }
    secrets.reencrypt(root, keys)
    assert problems(root, keys) == {"recipients": "secrets/recipients.txt names one recipient"}

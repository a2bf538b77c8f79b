"""Sealing: our age files are age's. Held to stock `age` and to pyrage, on what is well formed and on what is not."""

import base64
import subprocess
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.repository_setup import noise
from toolkit.crypto import age, bech32
from toolkit.crypto.age_payload import PIECE
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

# A fixed identity, so that what fails can be looked at again.
IDENTITY = Secret.of(str(pyrage.x25519.Identity.generate()))
RECIPIENT = age.recipient_of(IDENTITY)
SIZES = (0, 1, 15, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 17)


def with_pyrage(sealed: bytes) -> bytes:
    return bytes(pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(IDENTITY.reveal().decode())]))


@pytest.mark.parametrize("size", SIZES)
def test_what_we_seal_pyrage_opens_and_the_other_way_round(size: int) -> None:
    content = noise(size, size)
    sealed = age.seal(content, [age.recipient_of(age.new_identity()), RECIPIENT])
    assert with_pyrage(sealed) == age.unseal(sealed, [IDENTITY]) == content
    theirs = pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(RECIPIENT)])
    assert age.unseal(theirs, [age.new_identity(), IDENTITY]) == content


@pytest.mark.parametrize("size", SIZES)
def test_what_we_seal_stock_age_opens_and_the_other_way_round(size: int, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(IDENTITY.reveal() + b"\n")
    content = noise(size, size)
    sealed = age.seal(content, [RECIPIENT])
    opened = subprocess.run(["age", "-d", "-i", str(tmp_path / "key")], input=sealed, capture_output=True, check=True)
    assert opened.stdout == content
    theirs = subprocess.run(["age", "-r", RECIPIENT], input=content, capture_output=True, check=True).stdout
    assert age.unseal(theirs, [IDENTITY]) == content
    armoured = subprocess.run(["age", "-a", "-r", RECIPIENT], input=content, capture_output=True, check=True).stdout
    assert age.unseal(armoured, [IDENTITY]) == content


def test_an_ssh_key_seals_and_opens(tmp_path: Path) -> None:
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    (identity,) = age.identities_in(Secret(key.read_bytes()))
    sealed = age.seal(b"both kinds", [public, RECIPIENT])
    assert age.unseal(sealed, [identity]) == age.unseal(sealed, [IDENTITY]) == b"both kinds"


def test_an_identity_file_may_have_comments() -> None:
    text = Secret(b"# created: now\n# public key: " + RECIPIENT.encode() + b"\n" + IDENTITY.reveal() + b"\n")
    assert age.identities_in(text) == (IDENTITY,)
    with pytest.raises(SecretError, match="no identity"):
        age.identities_in(Secret(b"# nothing\n"))


def test_nobody_else_opens_it() -> None:
    with pytest.raises(SecretError, match="no identity opens"):
        age.unseal(age.seal(b"x", [RECIPIENT]), [age.new_identity()])


@pytest.mark.parametrize(
    "recipient",
    ["age1nonsense", "", "ssh-ed25519 AAAA", RECIPIENT[:-1], RECIPIENT.upper()[:10]],
    ids=["nonsense", "empty", "short ssh key", "cut", "cut and in capitals"],
)
def test_a_recipient_that_is_none_is_refused(recipient: str) -> None:
    with pytest.raises(SecretError, match="is no recipient"):
        age.seal(b"x", [recipient])


def test_a_plaintext_is_never_sealed_the_same_way_twice() -> None:
    assert age.seal(b"x", [RECIPIENT]) != age.seal(b"x", [RECIPIENT])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_changed_file_is_refused_or_means_the_same_to_pyrage(data: st.DataObject) -> None:
    """One change anywhere: nothing that pyrage refuses may open here, and nothing may open to other content."""
    content = noise(PIECE + 100, 1)
    sealed = bytearray(age.seal(content, [age.recipient_of(age.new_identity()), RECIPIENT]))
    edit = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
    # Headers are short, and most of what can go wrong is in them.
    at = data.draw(st.one_of(st.integers(0, 420), st.integers(0, len(sealed) - 1)))
    if edit == "flip":
        sealed[at] ^= data.draw(st.integers(1, 255))
    elif edit == "cut":
        del sealed[at:]
    elif edit == "insert":
        sealed.insert(at, data.draw(st.integers(0, 255)))
    else:
        del sealed[at]
    try:
        opened = age.unseal(bytes(sealed), [IDENTITY])
    except SecretError:
        return
    assert opened == content == with_pyrage(bytes(sealed))


def header_of(sealed: bytes) -> tuple[list[bytes], bytes]:
    head, _, payload = sealed.partition(b"\n---")
    return head.split(b"\n"), b"\n---" + payload


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [b"age-encryption.org/v2", *lines[1:]],
        lambda lines: [lines[0] + b"\r", *lines[1:]],
        lambda lines: [lines[0], lines[1].replace(b"X25519", b"x25519"), *lines[2:]],
        lambda lines: [lines[0], lines[1] + b" extra", *lines[2:]],
        lambda lines: [lines[0], lines[1][:-1], *lines[2:]],
        lambda lines: [lines[0], lines[1] + b"=", *lines[2:]],
        lambda lines: [lines[0], lines[1], lines[2] + b"=="],
        lambda lines: [lines[0], lines[1], lines[2], b""],
        lambda lines: [
            lines[0],
            lines[1].replace(lines[1].split(b" ")[2], base64.b64encode(bytes(32)).rstrip(b"=")),
            *lines[2:],
        ],
        lambda lines: [*lines, lines[1], lines[2]],
        lambda lines: [lines[0], b"-> other-kind", b"", *lines[1:]],
        lambda lines: lines[:1],
    ],
)
def test_every_malformed_header_is_refused(spoil) -> None:
    lines, rest = header_of(age.seal(b"content", [RECIPIENT]))
    spoiled = b"\n".join(spoil(lines)) + rest
    with pytest.raises(SecretError):
        age.unseal(spoiled, [IDENTITY])
    with pytest.raises(pyrage.DecryptError):
        with_pyrage(spoiled)


@pytest.mark.parametrize(
    "text",
    [  # BIP 173
        "A12UEL5L",
        "a12uel5l",
        "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
        "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
        "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    ],
)
def test_bech32_takes_the_published_good_strings(text: str) -> None:
    try:
        prefix, _ = bech32.decode(text)
    except ValueError as error:
        # Two of them hold groups of five bits that are no whole bytes, which keys never do.
        assert str(error) == "bits left over"
    else:
        assert prefix == text.lower().rpartition("1")[0]


@pytest.mark.parametrize(
    "text", ["pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "A1G7SGD8", "10a06t8", "1qzzfhee", "a12UEL5L"]
)
def test_bech32_refuses_the_published_bad_strings(text: str) -> None:
    with pytest.raises(ValueError, match=r"bech32|checksum|case"):
        bech32.decode(text)

"""Signatures: the published vectors, and a key that is kept once and for all."""

import stat
import threading
from pathlib import Path

import pytest

from toolkit.crypto.signing import SigningKey, VerifyKey
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

# RFC 8032, section 7.1, tests 1 to 3: seed, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), VECTORS)
def test_the_published_vectors_hold(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(Secret(bytes.fromhex(seed)))
    assert str(key.verify_key) == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert VerifyKey.parse(public).accepts(bytes.fromhex(signature), bytes.fromhex(message))
    assert not VerifyKey.parse(public).accepts(bytes.fromhex(signature), bytes.fromhex(message) + b"\n")


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31, "ab" * 33])
def test_a_signing_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SecretError, match="is no signing key"):
        VerifyKey.parse(text)


def test_a_key_is_drawn_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    found: list[VerifyKey] = []
    threads = [
        threading.Thread(target=lambda: found.append(SigningKey.keep(tmp_path / "key").verify_key)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_key_file_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(SecretError, match="is no signing key"):
        SigningKey.keep(tmp_path / "key")

"""Templates and what decides over values: pure functions, each fault with its place."""

import re

import pytest

from toolkit.vault import draw, fitness, history, templates
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

AT = "hosts/prod.yml: stack.secrets.url"
VALUES = {
    "password": Secret(b"p@ss/w:rd%"),
    "key": Secret(bytes([0, 255])),
    "nul": Secret(b"a\0b"),
    "a.b-c": Secret(b"d"),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://app:{{ password }}@db", b"postgres://app:p@ss/w:rd%@db"),
        ("{{password|urlencode}}", b"p%40ss%2Fw%3Ard%25"),
        ("{{ key | base64 }}{{ a.b-c }}", b"AP8=d"),
        ("{{ key | urlencode }}", b"%00%FF"),
        ("{{ password | base64 | urlencode }}", b"cEBzcy93OnJkJQ%3D%3D"),
        ("{ not } }} this", b"{ not } }} this"),
    ],
)
def test_a_template_is_filled(text: str, expected: bytes) -> None:
    assert templates.render(text, VALUES.__getitem__, AT).reveal() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ password", "a {{ without its }}"),
        ("{{ }}", "not a name between {{ and }}"),
        ("{{ pass word }}", "not a name between {{ and }}"),
        ("{{ password.__class__() }}", "not a name between {{ and }}"),
        ("{{ password | sha256 }}", "there is no filter sha256"),
        ("{{ key }}", "key is binary, which does not go into a template"),
        ("{{ nul }}", "nul is binary, which does not go into a template"),
    ],
)
def test_a_faulty_template_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SecretError) as caught:
        templates.render(text, VALUES.__getitem__, AT)
    assert (caught.value.message, caught.value.exit_code) == (f"{AT}: {message}", 11)
    assert caught.value.hint


def test_a_value_is_never_read_as_a_template() -> None:
    assert templates.render("{{ a }}", lambda _name: Secret(b"{{ b }}"), AT).reveal() == b"{{ b }}"


def test_the_names_in_a_template_come_once_each() -> None:
    assert templates.names("{{ b }}{{ a }}{{ b | base64 }}", AT) == ("b", "a")


@pytest.mark.parametrize("alphabet", sorted(draw.ALPHABETS))
def test_a_drawn_secret_has_its_length_and_alphabet(alphabet: str) -> None:
    drawn = draw.draw(400, alphabet).reveal().decode()
    assert len(drawn) == 400
    assert set(drawn) <= set(draw.ALPHABETS[alphabet])
    assert draw.draw(400, alphabet).reveal().decode() != drawn


@pytest.mark.parametrize(
    ("length", "alphabet", "message"),
    [(7, "hex", "7 is not a length for a secret"), (5000, "hex", "5000 is not a length"), (32, "emoji", "no alphabet")],
)
def test_what_cannot_be_drawn_is_refused(length: int, alphabet: str, message: str) -> None:
    with pytest.raises(SecretError, match=message):
        draw.draw(length, alphabet)


@pytest.mark.parametrize(
    ("old", "shape"),
    [
        (b"12345678", r"[0-9]{8}"),
        (b"0123456789abcdef", r"[0-9a-f]{16}"),
        (b"abcdefghxyz", r"[0-9a-z]{11}"),
        (b"abcdEFGH1", r"[0-9a-zA-Z]{9}"),
        (b"a-b_C-d_1", r"[0-9a-zA-Z_-]{9}"),
        (b"p@ss%wrd!", r"[0-9a-zA-Z.,:;+*=!?@%^~_-]{9}"),
    ],
)
def test_a_rotated_secret_keeps_its_shape(old: bytes, shape: str) -> None:
    fresh = draw.again(Secret(old))
    assert re.fullmatch(shape, fresh.reveal().decode())
    assert fresh.reveal() != old


@pytest.mark.parametrize(
    "old", [b"short", b"two words here", b"-----BEGIN X-----\n", bytes(range(128, 200)), b"a$b$c$d$e"]
)
def test_what_was_never_drawn_is_not_rotated(old: bytes) -> None:
    with pytest.raises(SecretError, match="its shape is not one that can be drawn"):
        draw.again(Secret(old))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"kJ3nq8Vt", []),
        (b"-----BEGIN KEY-----\nx\n-----END KEY-----\n", []),
        (bytes([0, 255, 10, 0]), []),
        (b"", ["is empty"]),
        (b" \n", ["is nothing but white space"]),
        (b"kJ3nq8Vt\n", ["ends with a stray newline"]),
        (b"kJ3nq8Vt\r\n", ["ends with a stray newline"]),
        (b" kJ3nq8Vt", ["begins or ends with white space"]),
        (b"changeme", ["is a placeholder"]),
        (b"Change-Me!", ["is a placeholder"]),
        (b"changeme123", ["is a placeholder"]),
        (b"<your token>", ["is a placeholder"]),
        (b"${DB_PASSWORD}", ["is a placeholder"]),
        (b"xxxxxxxx", ["is a placeholder"]),
        (b"password\n", ["ends with a stray newline", "is a placeholder"]),
    ],
)
def test_unfit_values_are_known(value: bytes, expected: list[str]) -> None:
    assert list(fitness.faults(Secret(value))) == expected


def test_the_newest_change_of_each_file_is_found_in_gits_log() -> None:
    log = "\x1e1700000200\tRobin\n\nsecrets/common/a.age\n\x1e1700000100\tAlex\n\nsecrets/common/a.age\nsecrets/b.age\n"
    assert history.parse(log) == {
        "secrets/common/a.age": history.Edit(1700000200.0, "Robin"),
        "secrets/b.age": history.Edit(1700000100.0, "Alex"),
    }
    assert history.parse("") == {}

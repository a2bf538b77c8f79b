"""Redacting: a secret is found however it is written, and what is none stays readable."""

import base64
import html
import json
import re
import shlex
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.stack import redact
from toolkit.stack.redact import Known, Redactor

CANARY = "c4n4ry/+ <&'\"$ü-4711"


def spellings(value: str) -> dict[str, str]:
    raw = value.encode()
    return {
        "plain": value,
        "json": json.dumps({"password": value}),
        "json unicode": json.dumps({"password": value}, ensure_ascii=False),
        "url": f"https://x/?p={quote(value, safe='')}&q=1",
        "url path": quote(value),
        "form": quote_plus(value),
        "url lower": re.sub("%..", lambda match: match[0].lower(), quote(value, safe="")),
        "html": html.escape(value),
        "shell": f"run {shlex.quote(value)}",
        "repr": repr(value),
        "base64": base64.b64encode(raw).decode(),
        "base64 of a login": base64.b64encode(b"relay:" + raw).decode(),
        "base64 of more": base64.b64encode(b"ab:" + raw + b"@host/db").decode(),
        "base64 of yet more": base64.b64encode(b"a:" + raw + b"!").decode(),
        "base64 for URLs": base64.urlsafe_b64encode(b"x:" + raw).decode(),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "compose": value.replace("$", "$$"),
    }


@pytest.mark.parametrize("name", spellings(CANARY))
def test_a_secret_is_found_however_it_is_written(name: str) -> None:
    written = spellings(CANARY)[name]
    cleaned = Redactor([Known("db_password", CANARY.encode())]).text(f"before {written} after")
    assert "[db_password]" in cleaned, cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert not leaks(CANARY, cleaned)


def leaks(value: str, text: str) -> bool:
    return any(text.find(written) >= 0 for written in spellings(value).values())


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=8, max_size=30)
)
def test_whatever_a_secret_is_made_of_it_does_not_get_through(value: str) -> None:
    redactor = Redactor([Known("x", value.encode())])
    raw = value.encode()
    for before in (b"", b"a", b"ab", b"abc"):
        for after in (b"", b"z", b"zy", b"zyx"):
            text = redactor.text(base64.b64encode(before + raw + after).decode())
            assert "[x]" in text
    for written in (value, json.dumps(value), quote(value), raw.hex(), html.escape(value)):
        assert "[x]" in redactor.text(written)


def test_what_is_no_secret_stays_as_it_is() -> None:
    text = "GET /health 200 in 3 ms\nconnection refused at db:5432"
    assert Redactor([Known("x", b"another")]).text(text) == text
    assert Redactor([]).text(text) == text
    assert Redactor([Known("x", b"a"), Known("y", b"")]).text(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("postgres://relay:hunter2@db/relay", "postgres://relay:[password]@db/relay"),
        ("redis://:hunter2@redis:6379/0", "redis://:[password]@redis:6379/0"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [token]"),
        ("'authorization': 'Basic aHVudGVyMg=='", "'authorization': 'Basic [token]'"),
        ("key AGE-SECRET-KEY-1QQQ end", "key [age identity] end"),
        ("token ghp_abcdefghijklmnop1234", "token [token]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n", "[private key]\n"),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_goes_too(text: str, cleaned: str) -> None:
    assert Redactor([]).text(text) == cleaned


def test_keys_of_several_lines_are_found_line_by_line() -> None:
    key = b"-----BEGIN X-----\nAAAAB3NzaC1yc2EAAAADAQABAAABAQ\nshort\n-----END X-----\n"
    cleaned = Redactor([Known("deploy_key", key)]).text("line: AAAAB3NzaC1yc2EAAAADAQABAAABAQ")
    assert cleaned == "line: [deploy_key]"


def test_values_are_cleaned_wherever_they_stand() -> None:
    redactor = Redactor([Known("x", b"hunter2")])
    assert redactor.value({"a": ["hunter2", 3, None, {"hunter2": True}]}) == {"a": ["[x]", 3, None, {"[x]": True}]}
    assert "hunter2" not in repr(Known("x", b"hunter2"))


def test_every_secret_of_a_host_is_known(tmp_path: Path) -> None:
    memory = tmp_path / "run/secrets/shop"
    memory.mkdir(parents=True)
    (memory / f"db_password-{'a' * 16}").write_text("file-canary\n")
    (memory / f"_env-{'b' * 16}").write_text(
        'LOG=info\nTOKEN=\'env canary\'\nLONG="double \\"canary\\""\nAPI_KEY=xyz\n# NO=comment-canary\n'
    )
    (memory / f"_env.1-{'c' * 16}").write_text("export OTHER=other-canary\n")
    (tmp_path / "etc/toolkit").mkdir(parents=True)
    (tmp_path / "var/lib/toolkit").mkdir(parents=True)
    for path, text in (("etc/toolkit/identity", "AGE-SECRET-KEY-1CANARY"), ("var/lib/toolkit/key", "5f" * 32)):
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o600)
    (tmp_path / "etc/toolkit/firewall.nft").write_text("table inet toolkit-and-more-words")
    found = {one.value.strip(): one.name for one in redact.known(tmp_path, "shop")}
    assert found == {
        b"file-canary": "db_password",
        b"env canary": "TOKEN",
        b'double "canary"': "LONG",
        b"xyz": "API_KEY",
        b"other-canary": "OTHER",
        b"AGE-SECRET-KEY-1CANARY": "identity",
        b"5f" * 32: "key",
    }


def test_variables_of_a_container_count_where_their_name_says_so() -> None:
    lines = ["PASSWORD=hunter2", "PASSWORD_FILE=/run/secrets/x", "MODE=ok", "KEY_PATH=/etc/key", "nonsense"]
    assert [one.name for one in redact.of_environment(lines)] == ["PASSWORD"]

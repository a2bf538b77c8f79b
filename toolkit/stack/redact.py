"""Redacting: what is written for somebody else to read holds no secret that this host knows, however it is encoded.

A secret is looked for as it is, and as JSON, URLs, shells, HTML, base64 (at each of its three alignments) and hex write
it. What is found is replaced by its name, so that a reader still sees what stood there.
"""

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

# A secret of fewer characters would blot out half of a text, and is none.
SHORTEST = 3
# A variable is more often a setting than a secret: short ones count only where their name says what they are.
VARIABLE = 6
LARGEST = 1 << 16

_TELLING = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|AUTH|CRED|PRIVATE|DSN|SALT", re.IGNORECASE)
_TAGGED = re.compile(r"(.+)-[0-9a-f]{16}")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*[=:]\s*(.*)")

# Secrets nobody told us of, by their shape.
_SHAPES = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^@\s/]+(@)", re.IGNORECASE), r"\1[password]\2"),
    (re.compile(r"(\bauthorization\W{1,4}(?:bearer|basic|token)\s+)[^\s\"']+", re.IGNORECASE), r"\1[token]"),
    (re.compile(r"AGE-SECRET-KEY-[0-9A-Z-]+"), "[age identity]"),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "[private key]",
    ),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|xox[abprs]-|sk-|AKIA)[A-Za-z0-9_-]{12,}"), "[token]"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), "[token]"),
)


@dataclass(frozen=True)
class Known:
    """One secret: what it is called, and its value."""

    name: str
    value: bytes

    def __repr__(self) -> str:
        return f"Known({self.name})"


class Redactor:
    """Replaces every secret that it was told of, and what looks like one."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._names: dict[str, str] = {}
        for one in known:
            for written in _spellings(one.value):
                self._names.setdefault(written, one.name)
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        if self._pattern:
            text = self._pattern.sub(lambda match: f"[{self._names[match[0]]}]", text)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    def value(self, value: Any) -> Any:
        """Return a value made of what JSON knows, with every text in it redacted, keys too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        return value


def _spellings(value: bytes) -> Iterator[str]:
    for piece in _pieces(value.strip()):
        yield from _encoded(piece)
        text = piece.decode(errors="replace")
        for written in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]):
            yield from (written, written.replace("/", "\\/"))
        yield from (quote(text, safe=""), quote(text), quote_plus(text), html.escape(text), shlex.quote(text))
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(text, safe=""))
        yield text.replace("$", "$$")


def _pieces(value: bytes) -> Iterator[bytes]:
    """Yield what stands for a secret: all of it, and each long line of one that has several, as keys do."""
    if SHORTEST <= len(value) <= LARGEST:
        yield value
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= 16 and not line.startswith(b"-----"))


def _encoded(value: bytes) -> Iterator[str]:
    if len(value) < VARIABLE:
        return
    yield from (value.hex(), value.hex().upper())
    for before in range(3):
        # Inside of something longer, such as `user:password`, the characters at both ends depend on what is around.
        text = base64.b64encode(bytes(before) + value).decode().rstrip("=")
        text = text[-(-before * 8 // 6) : len(text) - (1 if (before + len(value)) % 3 else 0)]
        yield from (text, text.replace("+", "-").replace("/", "_"))


def known(root: Path, stack: str) -> Iterator[Known]:
    """Yield every secret that lies on a host: the stack's files and env files, the agent's keys and credentials."""
    for path in sorted((root / "run/secrets" / stack).glob("*")):
        match = _TAGGED.fullmatch(path.name)
        name, body = (match[1] if match else path.name), _read(path)
        yield from _variables(body) if name.startswith("_env") else (Known(name, body),)
    for path in (root / "var/lib/toolkit/key", *sorted((root / "etc/toolkit").rglob("*"))):
        if path.is_file() and path.stat().st_mode & 0o077 == 0:
            yield from _credentials(path.name, _read(path))


def settings(root: Path, stack: str) -> Iterator[Known]:
    """Yield every value of the stack's env files, also those that are hardly secrets: for what strangers read."""
    for path in sorted((root / "run/secrets" / stack).glob("_env*")):
        for line in _read(path).decode(errors="replace").splitlines():
            if (match := _LINE.fullmatch(line)) and len(value := _unquoted(match[2])) >= VARIABLE - 2:
                yield Known(match[1], value.encode())


def cleaned(root: Path, stack: str, text: str) -> str:
    """Return a text without any secret that lies on the host."""
    return Redactor(known(root, stack)).text(text)


def of_environment(lines: Iterable[str]) -> Iterator[Known]:
    """Yield variables of a container that are secrets by their names: `NAME=value`."""
    for line in lines:
        name, _, value = line.partition("=")
        if _TELLING.search(name) and not name.endswith("_FILE") and not value.startswith("/"):
            yield Known(name, value.encode())


def _read(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as stream:
        return stream.read(LARGEST)
    return b""


def _variables(body: bytes) -> Iterator[Known]:
    for line in body.decode(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if not match or line.lstrip().startswith("#"):
            continue
        name, value = match[1], _unquoted(match[2])
        if len(value) >= VARIABLE or _TELLING.search(name):
            yield Known(name, value.encode())


def _unquoted(written: str) -> str:
    written = written.strip()
    if len(written) >= 2 and written[0] == written[-1] == "'":
        return written[1:-1]
    if len(written) >= 2 and written[0] == written[-1] == '"':
        inner = written[1:-1].replace("\\n", "\n").replace("\\r", "\r")
        return re.sub(r"\\(.)", r"\1", inner)
    return written


def _credentials(name: str, body: bytes) -> Iterator[Known]:
    """Yield what looks like a credential in a file of the agent's, whatever its format."""
    for word in re.findall(rb"[A-Za-z0-9+/_=.-]{16,}", body):
        yield Known(name, word)

"""The kinds of value a host file has: each one checks its own shape and says in a sentence what it expects.

Messages never repeat what was found: it may be a secret in the wrong place. Shapes are also a border: what passes here
ends up in `sshd_config`, apt sources and argument lists, so no line ends, and nothing that begins with a dash.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
)

from toolkit.config.providers import KEPT_NAME, KEPT_NAME_TOLD, fault_in, is_provider, kept_name
from toolkit.config.schedule import Schedule
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration, Size

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Port:
    """A port that is reached from outside."""

    number: int
    protocol: str = "tcp"

    @classmethod
    def parse(cls, text: "str | int | Port") -> Self:
        """Read `443`, `443/tcp` or `51820/udp`. Raises ValueError."""
        match = re.fullmatch(r"([0-9]{1,5})(?:/(tcp|udp))?", str(text))
        if not match or not 1 <= int(match[1]) <= 65535:
            raise ValueError("expected a port from 1 to 65535, or one with its protocol such as 51820/udp")
        return cls(int(match[1]), match[2] or "tcp")

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


def _shape(pattern: str, expected: str) -> Any:
    """Return a check that the whole text matches; `expected` completes "expected …"."""

    def check(text: str) -> str:
        # Compiled at its first use: a file has few of these kinds, and compiling all costs every run 15 ms.
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


def _read(parse: Callable[[Any], T], kind: type[T]) -> Callable[[object], T]:
    def read(value: object) -> T:
        if isinstance(value, kind):
            return value
        try:
            return parse(value)
        except ConfigError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        except OverflowError as error:
            raise ValueError("expected a number that a machine can have") from error

    return read


def _whole_as_text(value: object) -> object:
    # A number without a fraction has one spelling, so nothing is lost; 1.10 would become 1.1.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _yes_or_no(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected text; sshd says yes and no")
    return value


def _provider(text: str) -> str:
    if not is_provider(text):
        raise ValueError("a secret must not be written here; use a provider: env:NAME or command:program arguments")
    return _provider_or_literal(text)


def _outside_provider(text: str) -> str:
    if kept_name(text) is not None:
        raise ValueError(
            "the vault is not open before there is a connection; use env:NAME or command:program arguments"
        )
    return _provider(text)


def secret_source(text: str) -> str:
    """Return where a secret comes from, a provider or a template over other secrets. Raises ValueError."""
    if not is_provider(text) and "{{" not in text:
        raise ValueError("a secret must not be written here; use a provider, or a template such as {{ other_secret }}")
    return _provider_or_literal(text)


def _provider_or_literal(text: str) -> str:
    if fault := is_provider(text) and fault_in(text):
        raise ValueError(fault)
    return text


_KEY_KINDS = r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
_PUBLIC_KEY = rf"({_KEY_KINDS}) ([A-Za-z0-9+/]+={{0,2}})(?: [^\r\n]*)?"


def public_key(text: str) -> str:
    """Return an OpenSSH public key as it came, having looked inside. Raises ValueError."""
    if "PRIVATE KEY" in text:
        raise ValueError("this is a private key; remove it, replace the key, and put the public half here")
    match = re.fullmatch(_PUBLIC_KEY, text)
    if not match:
        raise ValueError('expected a public key such as "ssh-ed25519 AAAA…"')
    try:
        blob = base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise ValueError("the public key is damaged: a part of it is missing") from error
    kind = match[1].encode()
    # The blob repeats its kind, with its length in front (RFC 4253, 6.6).
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind) or len(blob) < len(kind) + 36:
        raise ValueError("the public key is damaged: it does not hold what its first word says")
    return text


def _plain(value: object) -> object:
    """Lists as lists: what goes on to JSON must compare equal to what comes back from it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


Schema = dict[str, Any]


# pydantic's own markers for this would import its whole JSON Schema machinery, which no deploy needs.
@dataclass(frozen=True, eq=False)
class _Written:
    """How a value is written in the file, where that is not how the model has it."""

    schema: Schema

    def __get_pydantic_json_schema__(self, _core: object, _handler: object) -> Schema:
        return dict(self.schema)


class _Switch:
    """Lets `false` stand for a part that is turned off, which the model then has as None."""

    def __get_pydantic_json_schema__(self, core: object, handler: Callable[[object], Schema]) -> Schema:
        variants = handler(core)["anyOf"]
        return {"anyOf": [{"const": False} if kind == {"type": "null"} else kind for kind in variants]}


def _switched(value: object) -> object:
    if value is False:
        return None
    return {} if value is True or value is None else value


OrOff = Annotated[T | None, BeforeValidator(_switched), _Switch()]
OrNone = Annotated[T | None, BeforeValidator(lambda value: None if value is False else value), _Switch()]
"""A value that is no part: `false` says that there is none, and `true` says nothing."""

_LINE = r"[^\x00-\x1f\x7f]*"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"

Text = Annotated[str, BeforeValidator(_whole_as_text), _Written({"type": ["string", "integer"]})]
TextLine = Annotated[Text, _shape(_LINE, "one line of text")]
SshdValue = Annotated[TextLine, BeforeValidator(_yes_or_no)]
Word = Annotated[str, _shape(_WORD, "one word of letters, digits, dots, dashes and underscores")]
Filled = Annotated[str, _shape(r"[^\x00-\x1f\x7f]+", "one line of text, not empty")]

KeyOrPath = Annotated[str, _shape(r"[^\x00-\x1f\x7f]+|\s*-----BEGIN PGP[^\x00]+", "a file, or an armoured public key")]

PortNumber = Annotated[int, Field(ge=1, le=65535)]
OpenPort = Annotated[
    Port,
    PlainValidator(Port.parse),
    _Written({"type": ["integer", "string"], "examples": [443, "51820/udp"]}),
]
Bytes = Annotated[
    Size,
    PlainValidator(_read(Size.parse, Size)),
    Field(gt=0, lt=10**18),
    _Written({"type": ["string", "integer"], "examples": ["512MiB", "2GB"]}),
]
Seconds = Annotated[
    Duration,
    PlainValidator(_read(Duration.parse, Duration)),
    Field(gt=0, lt=10**18),
    _Written({"type": ["string", "integer"], "examples": ["90s", "5m"]}),
]

_STORE = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?(\?[^\s#]*)?|file:///[^\x00-\x1f\x7f?#]+"


def _store(text: str) -> str:
    if not re.fullmatch(_STORE, text):
        raise ValueError("expected s3://bucket/prefix?endpoint=https://… or file:///path, without credentials in it")
    options = [pair.partition("=")[0] for pair in text.partition("?")[2].split("&") if pair]
    if unknown := sorted(set(options) - {"endpoint", "region", "ca"}):
        raise ValueError(f'unknown option "{unknown[0][:20]}"; known are endpoint, region and ca')
    if "/../" in f"{text.partition('?')[0]}/":
        raise ValueError("expected an address without .. in it")
    return text


def _recipient(text: str) -> str:
    if re.search("age-secret-key|private key", text, re.IGNORECASE):
        raise ValueError("this is a private key; remove it, replace the key, and put the public half here")
    if not re.fullmatch(r"age1[0-9a-z]{50,}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( [^\x00-\x1f\x7f]*)?", text):
        raise ValueError("expected a whole age1… public key, or an ssh-ed25519 or ssh-rsa one")
    return text


def _tree(text: str) -> str:
    if not re.fullmatch(r"(/[^/\x00-\x1f\x7f]+)+", text) or {".", ".."} & set(text.split("/")):
        raise ValueError("expected an absolute path such as /srv/files, without a slash at its end")
    if re.match(r"/(proc|sys|dev|run)(/|$)", text):
        raise ValueError("holds no data, only what the running system shows; name the trees with data in them")
    return text


Span = Annotated[
    Duration,
    PlainValidator(_read(Duration.parse, Duration)),
    Field(gt=0, lt=10**11),
    _Written({"type": ["string", "integer"], "examples": ["30d", "12h"]}),
]
"""A duration of days rather than minutes."""

Interval = Annotated[
    Duration,
    PlainValidator(_read(Duration.parse, Duration)),
    Field(ge=1, lt=10**6),
    _Written({"type": ["string", "integer"], "examples": ["30s", "5m"]}),
]

_OUTSIDE: Schema = {
    "type": "string",
    "pattern": "^(env|command):",
    "examples": ["env:NAME", "command:program arguments"],
}
_PROVIDER = _OUTSIDE | {"pattern": "^(env|command|secret):", "examples": [*_OUTSIDE["examples"], "secret:NAME"]}
OutsideProvider = Annotated[str, AfterValidator(_outside_provider), _Written(_OUTSIDE)]
Provider = Annotated[str, AfterValidator(_provider), _Written(_PROVIDER)]
ProviderOrText = Annotated[Text, AfterValidator(_provider_or_literal)]
PublicKey = Annotated[str, AfterValidator(public_key)]
Settings = Annotated[dict[str, object], AfterValidator(_plain)]

SecretName = Annotated[str, _shape(KEPT_NAME, KEPT_NAME_TOLD)]
SecretSource = Annotated[str, AfterValidator(secret_source)]
FileOwner = Annotated[Text, _shape(r"[0-9]{1,10}|[a-z_][a-z0-9_-]{0,31}", "a numeric id, or a name")]
SecretMode = Annotated[Text, _shape(r"0?[46][046][04]", "a mode such as 0400, 0440 or 0444")]

Address = Annotated[str, _shape(r"[A-Za-z0-9:][A-Za-z0-9._:%-]*", "a name, an IP address or an alias of ~/.ssh/config")]
Login = Annotated[str, _shape(r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?", "a user name")]
LoginPattern = Annotated[str, _shape(r"[A-Za-z0-9_*?][A-Za-z0-9._*?@:/-]*", "a user name, or a pattern of sshd's")]
Jump = Annotated[str, _shape(r"[A-Za-z0-9_][A-Za-z0-9._@:,-]*", "user@host, or several of them with commas")]
NewLogin = Annotated[str, _shape(r"[a-z_][a-z0-9_-]{0,31}", "a user name of lower-case letters, digits, - and _")]
Package = Annotated[str, _shape(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9]+)?", "the name of a Debian package")]
Version = Annotated[str, _shape(r"[0-9][A-Za-z0-9.:~+-]*", "a version or its beginning, such as 28.5")]
Url = Annotated[str, _shape(r"https?://[^\s\x00-\x1f\x7f]+", "an address that begins with https:// or http://")]
TimeOfDay = Annotated[str, _shape(r"([01][0-9]|2[0-3]):[0-5][0-9]", "a time of day such as 03:30")]
Timezone = Annotated[str, _shape(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", "a time zone such as Europe/Berlin")]
SysctlKey = Annotated[str, _shape(r"[a-z][a-z0-9_-]*([./][A-Za-z0-9_-]+)+", "a kernel setting such as vm.swappiness")]
Keyword = Annotated[str, _shape(r"[A-Za-z][A-Za-z0-9]*", "a plain word, as in man sshd_config")]
RegistryHost = Annotated[str, _shape(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?", "a registry's name such as ghcr.io")]
ProjectName = Annotated[str, _shape(r"[a-z0-9][a-z0-9_-]*", "a name of lower-case letters, digits, - and _")]
VariableName = Annotated[str, _shape(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name: letters, digits and _")]

StoreUrl = Annotated[str, AfterValidator(_store)]
Principal = Annotated[
    str, _shape(r"arn:[a-z-]+:[^\s\x00-\x1f\x7f]+", "a name such as arn:aws:iam::123456789012:user/prod")
]
Recipient = Annotated[str, AfterValidator(_recipient)]
TreePath = Annotated[str, AfterValidator(_tree)]
TreeName = Annotated[str, _shape(rf"{_WORD}(/{_WORD})*", "a relative name such as files or app/uploads")]
Pattern = Annotated[
    str, _shape(r"[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*", "a pattern such as cache/* or *.tmp, relative to the path")
]
Count = Annotated[int, Field(ge=0, le=10_000)]

EventKind = Annotated[
    str,
    _shape(
        r"(watchdog|deploy|backup|drill)(\.[a-z]+(-[a-z]+)*)?",
        "watchdog, deploy, backup or drill, or one event of them such as deploy.mixed",
    ),
]

When = Annotated[
    Schedule,
    PlainValidator(_read(Schedule.parse, Schedule)),
    _Written({"type": ["string", "object"], "examples": ["daily", "every 6h", "30 2 * * *", "Mon..Fri 02:30"]}),
]
Percent = Annotated[int, Field(ge=1, le=100_000)]
ServiceName = Annotated[str, _shape(_WORD, "a service of the stack")]
SourceName = Annotated[
    str, _shape(rf"[a-z]+/{_WORD}", "a source's name such as postgres/db: `invoke backup.sources` lists them")
]
PasswordPlace = Annotated[
    str, _shape(r"file:/[^\x00-\x1f\x7f]+|env:[A-Za-z_][A-Za-z0-9_]*", "file:/path or env:NAME, inside the container")
]

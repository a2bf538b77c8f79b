"""Rules about secrets where they do not belong. No message holds a value, or a part of one."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

from toolkit.config import providers
from toolkit.stack.lint.model import Model, Service
from toolkit.stack.lint.rule import Found, Rule, each

_WORD = r"PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SECRET_?KEY|CREDENTIALS?"
_NAME = re.compile(rf"(^|_)({_WORD}|ENCRYPTION_?KEY|SIGNING_?KEY|MASTER_?KEY|AUTH)(_\d+|_BASE64)?$", re.IGNORECASE)
# PASSWORD_FILE is the very thing to do; ALLOW_EMPTY_PASSWORD holds yes or no.
_HARMLESS = re.compile(r"^(true|false|yes|no|on|off|null|none)$|^(/[\w.@-]+)+/?$|^https?://[^@]*$", re.IGNORECASE)
_PUBLIC = re.compile(r"(HASH|DIGEST|SHA\d*|COMMIT|REVISION|VERSION|PUBLIC|FINGERPRINT|CHECKSUM|_ID)", re.IGNORECASE)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]*:[^@/\s]+@", re.IGNORECASE)
_DRAWN = re.compile(r"(?<![\w.+/=-])[A-Za-z0-9+/_-]{24,}={0,2}(?![\w.+/-])")
_OPTION = re.compile(r"^--?(requirepass|password|pass|passwd|secret|token|api-?key|masterauth)(=.+)?$", re.IGNORECASE)


def looks_secret(name: str, value: str) -> str:
    """Return why a variable looks like a secret, without a word of its value; empty where it does not."""
    if not value.strip() or _HARMLESS.match(value.strip()):
        return ""
    if _NAME.search(name):
        return "by its name"
    if _URL.search(value):
        return "a URL with a password in it"
    if not _PUBLIC.search(name) and any(_is_drawn(match[0]) for match in _DRAWN.finditer(value)):
        return "its value looks drawn at random"
    return ""


def _is_drawn(word: str) -> bool:
    if re.fullmatch(r"[0-9a-f]+", word, re.IGNORECASE):
        return len(word) >= 32 and _entropy(word.lower()) > 3.0
    mixed = all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    # Prose repeats its letters; what was drawn uses nearly as many different ones as its length allows.
    return mixed and _entropy(word) > 0.85 * math.log2(min(len(word), 64))


def _entropy(word: str) -> float:
    """Return the bits per character, after Shannon."""
    shares = [count / len(word) for count in Counter(word).values()]
    return -sum(share * math.log2(share) for share in shares)


def _in_environment(_model: Model, service: Service) -> Iterator[Found]:
    for name, value in sorted(service.environment.items()):
        if why := looks_secret(name, value):
            yield Found(f"{name} looks like a secret ({why})", service.name, ("environment", name))


def _in_arguments(_model: Model, service: Service) -> Iterator[Found]:
    words = service.command
    for word, following in pairwise((*words, "")):
        option = _OPTION.match(word)
        if option and _is_value(option[2] or following):
            yield Found(f"--{option[1]} is given in its arguments", service.name, ("command",))
        elif _URL.search(word) and "$$" not in word:
            yield Found("a URL with a password stands in its arguments", service.name, ("command",))


def _is_value(given: str) -> bool:
    # `$$(cat …)` is for the shell in the container, and a path or an option is none either.
    return bool(given) and not given.lstrip("=\"'").startswith(("$", "/", "-"))


def _through_variable(model: Model) -> Iterator[Found]:
    if model.stack is None:
        return
    places: dict[tuple[str, ...], Mapping[str, str]] = {("variables",): model.stack.variables}
    places |= {("env_files", file): variables for file, variables in model.stack.env_files.items()}
    for place, variables in places.items():
        for name, value in variables.items():
            if kept := providers.kept_name(value):
                told = f"the secret {kept} goes into the variable {name}, and so into an environment"
                yield Found(told, keys=("stack", *place, name))


RULES = (
    Rule(
        "secret-in-environment",
        "warning",
        "`docker inspect`, crash reports and every child process show the environment.",
        "Deliver it as a file: Compose's `secrets:` and a variable ending in `_FILE`, or read `/run/secrets/NAME`.",
        each(_in_environment),
    ),
    Rule(
        "secret-in-arguments",
        "warning",
        "Every user of the machine sees the arguments of every process.",
        "Let the program read it from a file or from standard input.",
        each(_in_arguments),
    ),
    Rule(
        "secret-through-variable",
        "warning",
        "A variable ends up in the container's environment, where `docker inspect` shows it, whatever the vault does.",
        "Name the secret under Compose's `secrets:` and read it as a file.",
        _through_variable,
        whole=True,
    ),
)

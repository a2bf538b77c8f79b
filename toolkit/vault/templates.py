"""Templates: a secret made of others, such as `postgres://app:{{ password | urlencode }}@db/app`.

Pure: `{{ name }}` is replaced by a value, after the filters `urlencode` (safe anywhere in a URL) or `base64`. Nothing
else is a language here. Values that are not text stand in no template, unless a filter makes text of them.
"""

import base64
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

FILTERS: Mapping[str, Callable[[bytes], bytes]] = {
    "urlencode": lambda value: quote(value, safe="").encode(),
    "base64": base64.b64encode,
}
_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_INSIDE = re.compile(r"\s*([A-Za-z0-9_][A-Za-z0-9._-]*)((?:\s*\|\s*[A-Za-z0-9_]+)*)\s*")


def is_template(text: str) -> bool:
    return "{{" in text


def names(text: str, at: str) -> tuple[str, ...]:
    """Return the secrets a template is made of, each once. Raises SecretError, naming `at`, for one that is wrong."""
    found = [_parse(match[1], at)[0] for match in _PLACE.finditer(text)]
    if "{{" in _PLACE.sub("", text):
        raise SecretError(f"{at}: a {{{{ without its }}}}", hint="write {{ name }}")
    return tuple(dict.fromkeys(found))


def render(text: str, value_of: Callable[[str], Secret], at: str) -> Secret:
    """Return the template with values in it. Raises SecretError, naming `at`, and never a value."""
    names(text, at)
    made, end = b"", 0
    for match in _PLACE.finditer(text):
        name, filters = _parse(match[1], at)
        made += text[end : match.start()].encode() + _filtered(name, value_of(name), filters, at)
        end = match.end()
    return Secret(made + text[end:].encode())


def _parse(inside: str, at: str) -> tuple[str, tuple[str, ...]]:
    match = _INSIDE.fullmatch(inside)
    if not match:
        raise SecretError(f"{at}: not a name between {{{{ and }}}}", hint="write {{ name }} or {{ name | urlencode }}")
    filters = tuple(word.strip() for word in match[2].split("|")[1:])
    if unknown := [word for word in filters if word not in FILTERS]:
        raise SecretError(f"{at}: there is no filter {unknown[0]}", hint=f"there are {' and '.join(FILTERS)}")
    return match[1], filters


def _filtered(name: str, value: Secret, filters: tuple[str, ...], at: str) -> bytes:
    content = value.reveal()
    for word in filters:
        content = FILTERS[word](content)
    if not _is_text(content):
        hint = "use it as a file of its own, or through the filter base64"
        raise SecretError(f"{at}: {name} is binary, which does not go into a template", hint=hint)
    return content


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False

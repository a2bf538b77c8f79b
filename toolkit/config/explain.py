"""What the models reject, in sentences: from pydantic's errors to faults with a line and a way out."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from toolkit.config.document import Node
from toolkit.config.faults import Fault, Trail
from toolkit.config.models import WORD_OR_PART

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "greater_than": "more than {gt}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "too_short": "at least one",
}
# What pydantic adds to a place, and no file has: members of a union, and that a key is meant, not its value.
_ADDED = {*WORD_OR_PART, "[key]"}
_SECRET = {
    *("token", "sudo_password", "variables", "secrets", "notify"),
    *("key", "keys", "access_key", "secret_key", "session_token"),
}

Schema = dict[str, Any]


def host_schema() -> Schema:
    """Return the schema of a host file. Only a file with a typing error needs one; others are spared its import."""
    from toolkit.config.schema import HOST, schema

    return schema(HOST)


def faults(error: ValidationError, root: Node, schema: Callable[[], Schema] = host_schema) -> list[Fault]:
    """Return one fault for each thing that is wrong, at its line in the text; `schema` knows the keys there are."""
    return [_fault(details, root, schema) for details in error.errors(include_url=False)]


def _fault(details: ErrorDetails, root: Node, schema: Callable[[], Schema]) -> Fault:
    trail: Trail = tuple(step for step in details["loc"] if step not in _ADDED)
    return Fault(root.line_of(trail), trail, _sentence(details, trail, schema))


def _sentence(details: ErrorDetails, trail: Trail, schema: Callable[[], Schema]) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "required, and not there"
    if kind == "extra_forbidden":
        return _unknown(trail, schema)
    expected = _EXPECTED[kind].format(**context) if kind in _EXPECTED else details["msg"]
    return f"expected {expected}{_also(details, trail)}{_found(value, trail)}{_quoting(kind, value)}"


def _also(details: ErrorDetails, trail: Trail) -> str:
    if WORD_OR_PART[0] in details["loc"]:
        return " or a mapping"
    part = (len(trail) == 2 and trail[0] == "machine") or trail == ("watchdog",)
    switched = part and details["type"] in {"model_type", "dict_type"}
    return ", or false to turn it off" if switched else ""


def _unknown(trail: Trail, schema: Callable[[], Schema]) -> str:
    close = difflib.get_close_matches(str(trail[-1]), sorted(known_keys(trail[:-1], schema())), n=1)
    return f'unknown key, did you mean "{close[0]}"?' if close else "unknown key"


def _found(value: object, trail: Trail) -> str:
    if _SECRET.intersection(trail):
        return ""
    if isinstance(value, dict | tuple):
        return f", found a {'mapping' if isinstance(value, dict) else 'list'}" if value else ", found none"
    if value is None:
        return ", found nothing"
    if isinstance(value, bool):
        return f", found {str(value).lower()}"
    return f", found {value!r}" if isinstance(value, int | float) else f', found "{str(value)[:60]}"'


def _quoting(kind: str, value: object) -> str:
    if kind in {"string_type", "literal_error"} and isinstance(value, bool | int | float):
        return "; put it in quotes"
    return "; remove the quotes" if kind == "int_type" and isinstance(value, str) and value.isdecimal() else ""


def known_keys(trail: Trail, whole: Schema) -> set[str]:
    """Return the keys that may stand in the mapping at this place."""
    places = [whole]
    for step in trail:
        places = [inner for place in places for inner in _inside(place, step, whole)]
    return {key for place in places for key in place.get("properties", {})}


def _inside(place: Schema, step: str | int, schema: Schema) -> Iterator[Schema]:
    named = place.get("properties", {}).get(step) or place.get("additionalProperties")
    found = place.get("items") if isinstance(step, int) else named
    for variant in (found or {}).get("anyOf") or (found or {}).get("oneOf") or [found or {}]:
        name = variant.get("$ref", "").rpartition("/")[2]
        yield schema["$defs"][name] if name else variant

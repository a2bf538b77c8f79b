"""JSON Schemas for editors and reference pages for people, of host files and backup files, written from the models.

`python -m toolkit.config.schema` writes them anew; a test says when that was forgotten.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from toolkit.config.backups import BackupDocument
from toolkit.config.models import Document, Part
from toolkit.config.schedule import Schedule
from toolkit.words.values import Duration, Size

Schema = dict[str, Any]


@dataclass(frozen=True)
class Described:
    """One kind of file: its model, and what its schema and its page are called and begin with."""

    model: type[Part]
    title: str
    schema_file: str
    page_file: str
    introduction: str


HOST = Described(
    Document,
    "Host file",
    "host.schema.json",
    "host-file.md",
    """# The host file

`hosts/<name>.yml` says what one machine should be and what runs on it. `hosts/example.yml` shows every part in use and
`hosts/example-minimal.yml` how little is needed. `python -m toolkit.config.schema` writes this page from the models.

- Unknown keys, doubled keys and values of a wrong kind are faults, told together with file, line and key.
- A key with nothing behind it has its default. Parts that can be turned off take `false`.
- The dialect is YAML 1.2: only `true` and `false` are booleans, only decimal digits are numbers. `no` and `22:22` are
  text. Versions belong in quotes, or `28.10` would be the number 28.1.
- A *provider* is `env:NAME`, a variable of the calling process, `command:program arguments`, what a program prints, or
  `secret:NAME`, a secret of this repository (docs/secrets.md). Programs are run without a shell, in the repository,
  when the value is needed and never by reading the file.
- Sizes are written `512MiB` or `2GB`, durations `90s`, `5m` or `2h30m`.

""",
)

BACKUPS = Described(
    BackupDocument,
    "Backup file",
    "backup.schema.json",
    "backup-file.md",
    """# The backup file

`backups/<name>.yml` says what of a host is backed up, where to, and how long it is kept; the host file of the same name
says how the host is reached. `backups/example.yml` shows every part in use. What the verbs do with it is in
[backups](backup.md). `python -m toolkit.config.schema` writes this page from the models.

- Unknown keys, doubled keys and values of a wrong kind are faults, told together with file, line and key.
- Credentials are *providers*, never values: `env:NAME`, `command:program arguments` or `secret:NAME`, as in
  [the host file](host-file.md).
- Durations are written `30d`, `12h` or `90m`, sizes `512MiB` or `2GB`.

""",
)


class _Generator(GenerateJsonSchema):
    """Writes the defaults that are sizes and durations as a person does, and without loss: 10MB, not 9.5 MiB."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, Schedule):
            return dft.text
        if isinstance(dft, Size):
            return _spelled(dft, {"GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1})
        return (
            _spelled(dft, {"d": 86400, "h": 3600, "m": 60, "s": 1})
            if isinstance(dft, Duration)
            else super().encode_default(dft)
        )


def schema(kind: Described = HOST) -> Schema:
    """Return the JSON Schema (2020-12) of such a file."""
    bare: Schema = _without_titles(kind.model.model_json_schema(schema_generator=_Generator))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.title, **bare}


def reference(kind: Described = HOST) -> str:
    """Return the reference page: a table of keys for each part."""
    whole = schema(kind)
    parts = [("", whole), *_parts(whole, whole["$defs"])]
    return kind.introduction + "\n".join(_section(trail, part) for trail, part in parts)


def write(docs: Path) -> None:
    """Write the files into the folder of the documentation."""
    for kind in (HOST, BACKUPS):
        (docs / kind.schema_file).write_text(json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n")
        (docs / kind.page_file).write_text(reference(kind))


def _spelled(value: float, units: dict[str, int]) -> str:
    return next(f"{int(value) // factor}{unit}" for unit, factor in units.items() if int(value) % factor == 0)


def _without_titles(value: Any) -> Any:
    # pydantic titles every field with its own name, which tells nobody anything.
    if isinstance(value, dict):
        return {key: _without_titles(item) for key, item in value.items() if key != "title"}
    return [_without_titles(item) for item in value] if isinstance(value, list) else value


def _parts(part: Schema, definitions: Schema, trail: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every part with the keys that lead to it, outer ones first."""
    for key, field in part["properties"].items():
        for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(field)):
            here = f"{trail}{key}{_MANY.get(field.get('type', ''), '')}"
            yield here, definitions[name]
            yield from _parts(definitions[name], definitions, f"{here}.")


_MANY = {"array": "[]", "object": ".NAME"}


def _section(trail: str, part: Schema) -> str:
    heading = f"## `{trail}`\n\n" if trail else ""
    about = " ".join(part["description"].split())
    rows = [_row(key, field, part.get("required", ())) for key, field in part["properties"].items()]
    table = ["| key | value | default | meaning |", "|---|---|---|---|", *rows]
    return f"{heading}{about}\n\n" + "\n".join(table) + "\n"


def _row(key: str, field: Schema, required: list[str]) -> str:
    default = "**required**" if key in required else _default(field)
    return f"| `{key}` | {_kind(field)} | {default} | {field['description']} |"


def _default(field: Schema) -> str:
    value = field.get("default")
    if "default" not in field:
        return "on" if {"const": False} in field.get("anyOf", ()) else "its own defaults"
    return "none" if value in (None, [], {}) else f"`{json.dumps(value)}`"


def _kind(field: Schema) -> str:
    """Return a short word for what may stand here."""
    variants = [kind for kind in field.get("anyOf") or field.get("oneOf") or [field] if kind != {"type": "null"}]
    return " or ".join(dict.fromkeys(_word(kind) for kind in variants))


def _word(kind: Schema) -> str:
    if "const" in kind:
        return f"`{json.dumps(kind['const'])}`"
    if "enum" in kind:
        return ", ".join(f"`{word}`" for word in kind["enum"])
    if "examples" in kind:
        return "such as " + ", ".join(f"`{example}`" for example in kind["examples"])
    if kind.get("type") == "array":
        return f"list of {_kind(kind['items'])}"
    if kind.get("type") == "object" and isinstance(inner := kind.get("additionalProperties"), dict):
        return f"mapping to {_kind(inner)}"
    return _WORDS.get(str(kind.get("type")), "mapping")


_WORDS = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "`true` or `false`",
    "['string', 'integer']": "text or number",
}


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[2] / "docs")

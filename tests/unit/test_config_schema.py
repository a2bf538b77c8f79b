import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.config.schema import BACKUPS, HOST, Described, reference, schema

ROOT = Path(__file__).parents[2]
AGAIN = "run python -m toolkit.config.schema"


BOTH = pytest.mark.parametrize("kind", [HOST, BACKUPS], ids=lambda kind: kind.title)


@BOTH
def test_the_schema_in_the_documentation_is_current(kind: Described) -> None:
    assert json.loads((ROOT / "docs" / kind.schema_file).read_text()) == schema(kind), AGAIN


@BOTH
def test_the_reference_page_is_current(kind: Described) -> None:
    assert (ROOT / "docs" / kind.page_file).read_text() == reference(kind), AGAIN


def fields(kind: Described) -> Iterator[tuple[str, dict[str, Any]]]:
    whole = schema(kind)
    for part, definition in {kind.title: whole, **whole["$defs"]}.items():
        assert definition["additionalProperties"] is False
        yield from ((f"{part}.{key}", field) for key, field in definition["properties"].items())


@BOTH
def test_every_key_says_what_it_means(kind: Described) -> None:
    assert not [key for key, field in fields(kind) if not field.get("description")]


@BOTH
def test_every_key_is_in_the_reference_page(kind: Described) -> None:
    page = reference(kind)
    assert not [key for key, _ in fields(kind) if f"| `{key.rpartition('.')[2]}` |" not in page]


@pytest.mark.parametrize(
    ("part", "key", "default"),
    [("Docker", "log_max_size", "10MB"), ("Swap", "size", "2GB"), ("Stack", "one_shots_within", "10m")],
)
def test_defaults_are_spelled_as_a_person_writes_them(part: str, key: str, default: str) -> None:
    assert schema()["$defs"][part]["properties"][key]["default"] == default


def test_a_part_that_can_be_turned_off_takes_false_in_editors() -> None:
    assert {"const": False} in schema()["$defs"]["Machine"]["properties"]["firewall"]["anyOf"]

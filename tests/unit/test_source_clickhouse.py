"""How many rows a frozen table has: by the parts' own record, by the server's, and by nobody's."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.sources.clickhouse import _counted
from toolkit.sources.clickhouse_client import Client
from toolkit.sources.clickhouse_schema import Table
from toolkit.sources.docker import Docker


class Server(Client):
    """Knows rows of parts, and is not asked for anything else."""

    def rows(self, sql: str, **_: str) -> list[dict[str, Any]]:
        assert sql.startswith("SELECT name, rows FROM system.parts WHERE database = 'shop' AND table = 'old'")
        return [{"name": "all_1", "rows": "40"}, {"name": "all_2", "rows": "2"}, {"name": "newer", "rows": 9}]


SERVER = Server(Docker(), "clickhouse")


def table(engine: str = "MergeTree") -> Table:
    return Table(database="shop", name="old", engine=engine, create="", parts="data/shop/old")


def parts(root: Path, **recorded: str | None) -> Path:
    for name, text in recorded.items():
        folder = root / "shadow/toolkit/data/shop/old" / name
        folder.mkdir(parents=True)
        if text is not None:
            (folder / "count.txt").write_text(text)
    return root


def test_parts_say_themselves_how_many_rows_they_have(tmp_path: Path) -> None:
    assert _counted(SERVER, parts(tmp_path, all_1="3", all_2="4"), table()) == 7


@pytest.mark.parametrize("written", [None, "", "many"])
def test_the_server_says_it_for_one_that_does_not(tmp_path: Path, written: str | None) -> None:
    assert _counted(SERVER, parts(tmp_path, all_1="3", all_2=written), table()) == 5


def test_a_table_whose_rows_merge_has_a_range(tmp_path: Path) -> None:
    assert _counted(SERVER, parts(tmp_path, all_1=None, all_2=None), table("SummingMergeTree")) == [1, 42]


def test_one_that_nobody_knows_of_leaves_the_table_uncounted(tmp_path: Path) -> None:
    assert _counted(SERVER, parts(tmp_path, all_1=None, all_9=None), table()) is None


def test_a_table_without_parts_is_empty(tmp_path: Path) -> None:
    assert _counted(SERVER, tmp_path, table()) == 0


def test_a_table_whose_parts_cannot_be_looked_at_is_uncounted_and_not_empty(tmp_path: Path) -> None:
    there = parts(tmp_path / "elsewhere", all_1="3") / "shadow/toolkit/data/shop/old"
    place = tmp_path / "root/shadow/toolkit/data/shop/old"
    place.parent.mkdir(parents=True)
    place.symlink_to(there)
    assert _counted(SERVER, tmp_path / "root", table()) is None

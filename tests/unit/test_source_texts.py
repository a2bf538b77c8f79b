"""What sources read and write as text: places in a log, accounts, settings, names."""

import pytest

from toolkit.sources.clickhouse_load import _accounts, rows_name
from toolkit.sources.clickhouse_schema import Table
from toolkit.sources.mysql_client import _plain
from toolkit.sources.postgres import dump_name
from toolkit.sources.postgres_client import conninfo
from toolkit.sources.redis import _named
from toolkit.sources.redis_client import _refuse, keyspace
from toolkit.sources.wal import Position, Wal, believed, check_chain, needed, number, segment_name, written
from toolkit.sources.wal_recover import _settings
from toolkit.words.errors import ConfigError, HostError, RepositoryError

MIB = 1 << 20


def test_a_place_in_the_log_is_a_number_and_back() -> None:
    assert number("16/B374D848") == 0x16B374D848
    assert written(0x16B374D848) == "16/B374D848"
    assert segment_name(1, number("0/3000060"), 16 * MIB) == "000000010000000000000003"
    assert segment_name(2, number("1/FF000000"), 16 * MIB) == "0000000200000001000000FF"
    assert segment_name(1, number("1/C0000000"), 1 << 30) == "000000010000000100000003"


def test_what_must_be_shipped_is_whole_segments_and_the_written_part_of_the_last() -> None:
    at = Position(
        shipped=number("0/3F00000"),
        status="reserved",
        written=number("0/5000100"),
        segment=16 * MIB,
        timeline=1,
        system="7",
        data="/d",
    )
    assert [*needed(at)] == [
        ("000000010000000000000003", 16 * MIB),
        ("000000010000000000000004", 16 * MIB),
        ("000000010000000000000005", 256),
    ]
    assert at.behind == number("0/5000100") - number("0/3F00000")


def shipping(start: int, end: int, timeline: int = 1, system: str = "7") -> dict[str, object]:
    return {"start": start, "end": end, "timeline": timeline, "system": system}


def test_a_chain_may_overlap_and_must_not_have_a_gap() -> None:
    check_chain([shipping(0, 10), shipping(5, 20), shipping(20, 30)])
    with pytest.raises(HostError, match="gap: the log from 0/A to 0/B was never shipped"):
        check_chain([shipping(0, 10), shipping(11, 20)])
    for other in (shipping(10, 20, timeline=2), shipping(10, 20, system="8")):
        with pytest.raises(HostError, match="of another server, or of another life"):
            check_chain([shipping(0, 10), other])


@pytest.mark.parametrize(
    "wrong", [{"segment": 0}, {"segment": 5}, {"end": "9"}, {"start": -1}, {"timeline": True}, {"moment": 5}]
)
def test_facts_about_the_log_are_believed_only_if_they_can_be_true(wrong: dict[str, object]) -> None:
    facts = {**shipping(0, 10), "segment": 16 * MIB, "moment": "2026-11-24T12:00:00.000Z"}
    assert believed(facts) == facts
    with pytest.raises(RepositoryError, match="make no sense"):
        believed({**facts, **wrong})


def test_what_a_server_allowed_for_is_read_from_its_control_file() -> None:
    told = """pg_control version number:            1700
wal_level setting:                    replica
max_connections setting:              250
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           9
max_locks_per_xact setting:           many
"""
    assert dict(_settings(told)) == {
        "max_connections": "250",
        "max_worker_processes": "8",
        "max_wal_senders": "10",
        "max_prepared_transactions": "9",
    }


def test_a_slot_has_a_name_that_the_server_takes() -> None:
    with pytest.raises(ConfigError, match="cannot name a slot"):
        Wal(name="wal/db", slot="a'; DROP")


def test_accounts_of_clickhouse_become_statements_in_an_order_that_works() -> None:
    files = [
        "ATTACH USER app IDENTIFIED WITH sha256_hash BY '5E88' SALT 'abc' DEFAULT ROLE reader;\n"
        "ATTACH GRANT reader TO app;\n",
        "ATTACH ROLE reader;\nATTACH GRANT SELECT ON shop.* TO reader;\n",
        "ATTACH QUOTA daily FOR INTERVAL 1 day MAX queries = 5 TO app;\n",
    ]
    assert [*_accounts(files)] == [
        "CREATE ROLE IF NOT EXISTS reader",
        "CREATE USER IF NOT EXISTS app IDENTIFIED WITH sha256_hash BY '5E88' SALT 'abc' DEFAULT ROLE reader",
        "CREATE QUOTA IF NOT EXISTS daily FOR INTERVAL 1 day MAX queries = 5 TO app",
        "GRANT reader TO app",
        "GRANT SELECT ON shop.* TO reader",
    ]


@pytest.mark.parametrize(
    ("engine", "how"),
    [
        ("MergeTree", "parts"),
        ("ReplicatedReplacingMergeTree", "parts"),
        ("SharedMergeTree", "parts"),
        ("Log", "rows"),
        ("Memory", "schema"),
        ("Kafka", "schema"),
        ("MaterializedView", "schema"),
        ("Dictionary", "schema"),
    ],
)
def test_tables_of_clickhouse_are_kept_by_their_engine(engine: str, how: str) -> None:
    assert Table(database="d", name="t", engine=engine, create="").how == how


def test_names_of_databases_and_tables_become_names_of_files() -> None:
    assert dump_name("shop") == "databases/shop.dump"
    assert dump_name("we'ird /db") == "databases/we%27ird%20%2fdb.dump"
    assert dump_name("..") == "databases/%2e..dump"
    assert dump_name(".x") != dump_name("x")
    table = Table(database="../d", name="a.b", engine="Log", create="")
    assert rows_name(table) == "rows/%2E%2E%2Fd/a%2Eb.native"


def test_a_database_called_like_a_connection_string_is_only_a_name() -> None:
    assert conninfo("host=evil user=x") == "dbname='host=evil user=x'"
    assert conninfo("o'ne\\") == "dbname='o\\'ne\\\\'"


def test_fields_of_batch_output_are_unescaped() -> None:
    assert _plain("a\\tb\\nc\\\\n") == "a\tb\nc\\n"


def test_the_manifest_of_an_append_only_set_names_its_files() -> None:
    manifest = (
        b"file appendonly.aof.2.base.rdb seq 2 type b\n"
        b"file appendonly.aof.1.incr.aof seq 1 type h\n"
        b"file appendonly.aof.2.incr.aof seq 2 type i\n"
    )
    # History is what a rewrite has left over.
    assert _named(manifest) == ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof"]


def test_keys_are_read_from_the_keyspace() -> None:
    assert keyspace("keys=20,expires=5,avg_ttl=0,subexpiry=0") == {
        "keys": 20,
        "expires": 5,
        "avg_ttl": 0,
        "subexpiry": 0,
    }


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("NOAUTH Authentication required.", True),
        ("WRONGPASS invalid username-password pair or user is disabled.", True),
        ("ERR unknown command", True),
        ("LOADING Redis is loading the dataset in memory", True),
        ("OK", False),
        ("PONG", False),
        ("Background saving started", False),
        ("dir\n/data", False),
        ("# Persistence\r\nloading:0", False),
    ],
)
def test_a_refusal_of_redis_is_told_from_an_answer(answer: str, refused: bool) -> None:
    if refused:
        with pytest.raises(HostError, match="refuses PING"):
            _refuse("container", "PING", answer)
    else:
        _refuse("container", "PING", answer)

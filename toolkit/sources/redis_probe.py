"""Redis proven: its files checked by its own tools, and its keys counted."""

import re
from collections.abc import Iterator, Mapping

from toolkit.sources.protocol import Facts, Probe, Verdict, compare, uncounted
from toolkit.sources.redis_client import RedisClient
from toolkit.words.command import script
from toolkit.words.errors import HostError

_TOOL = 'tool=$1; shift; exec "$(command -v "redis-check-$tool" || command -v "valkey-check-$tool")" "$@"'
_KEYS = re.compile(r"\[info\] (\d+) (keys read|expires|already expired)")


def keys_in(to: RedisClient, file: str) -> list[int]:
    """How many keys a saved file brings back: from, without those that may expire meanwhile, to.

    Raises HostError where the file is damaged.
    """
    found = {what: int(number) for number, what in _KEYS.findall(_check(to, "rdb", file))}
    return [found["keys read"] - found.get("expires", 0), found["keys read"]]


def probe(to: RedisClient, source: str, facts: Mapping[str, Facts]) -> Probe:
    """Check what lies on the disk, and compare the number of keys with the manifest's."""
    counts = {"keys": to.keys()}
    told = next((each for each in facts.values() if "counts" in each), {})
    verdicts = [*_files(to), *(compare(told["counts"], counts) if told else uncounted(told))]
    return Probe(source, tuple(verdicts), counts)


def _files(to: RedisClient) -> Iterator[Verdict]:
    folder = to.setting("dir").rstrip("/")
    append_only = to.setting("appendonly") == "yes"
    if append_only and (name := to.setting("appenddirname")):
        yield _verdict(to, "aof", f"{folder}/{name}/{to.setting('appendfilename')}.manifest")
    saved = f"{folder}/{to.setting('dbfilename')}"
    if not append_only or _exists(to, saved):
        yield _verdict(to, "rdb", saved)


def _verdict(to: RedisClient, tool: str, file: str) -> Verdict:
    what = f"redis-check-{tool} {file}"
    try:
        said = _check(to, tool, file).strip().splitlines()
    except HostError as error:
        return Verdict(what, "bad", error.message)
    return Verdict(
        what, "good", next((line for line in reversed(said) if "OK" in line or "valid" in line), "no complaint")
    )


def _check(to: RedisClient, tool: str, file: str) -> str:
    wanted = script(f"{{ {_TOOL}; }} 2>&1", tool, file)
    output = to.docker.inside(to.container, wanted, patience=to.patience).decode(errors="replace")
    if tool == "rdb" and "RDB looks OK" not in output:
        raise HostError(f"{file} is damaged:\n{output.strip()[-500:]}")
    return output


def _exists(to: RedisClient, file: str) -> bool:
    return to.docker.inside(to.container, script('[ -e "$1" ] && echo yes || true', file)).strip() == b"yes"

"""Runbook: the page for the night on which a host is lost, with this installation's own names, commands and times.

It is made from files of this repository alone: no machine, bucket or identity has to be there to write or to read it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.config import backup_files
from toolkit.vault.identity import VARIABLE
from toolkit.words.errors import Error
from toolkit.words.report import printable
from toolkit.words.values import Duration
from toolkit.workflows.attempt import required
from toolkit.workflows.backups import Backups

# ruff: noqa: E501 - the lines of a page are as long as its commands and tables are

REPORTS = "reports"
_KINDS = {"toolkit drill 1": "a drill", "toolkit recovery 1": "a recovery"}


@dataclass(frozen=True)
class Measured:
    """How long it took the last time: `how` says whether that was a drill or a recovery. Seconds."""

    how: str
    when: str
    seconds: Mapping[str, float]
    file: str

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def page(backups: Backups) -> str:
    """Return the page as Markdown. Raises ConfigError for a host without a stack."""
    stack, host = required(backups.described).name, backups.host
    parts = [
        _HEAD.format(host=host, stack=stack),
        _TIMES.format(times="\n".join(_times(measured(backups)))),
        _HOLD.format(host=host, held="\n".join(_held(backups))),
        _DATA.format(host=host, stack=stack) + "".join(_moments(backups)),
        _LOST.format(host=host, user=_user(backups)),
        _AFTER.format(host=host),
        _BARE.format(host=host, copy=_copy(backups), key=_key(backups), stack=stack),
    ]
    return "\n".join(parts)


def measured(backups: Backups) -> Measured | None:
    """Return the newest measurement of how long it takes to be back; None where nobody ever tried."""
    folder = backups.file.root / backup_files.FOLDER / REPORTS
    found = [one for path in sorted(folder.glob(f"{backups.host}-*.json")) if (one := _read(path, backups.host))]
    return max(found, key=lambda one: one.when, default=None)


def _read(path: Path, host: str) -> Measured | None:
    """Read a report of either kind. What is none is passed over: a page has to come out in any case."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        data: dict[str, Any] = json.loads(path.read_bytes())
        how = _KINDS[data["format"]]
        # A drill's report lies in its signed envelope; a recovery's is the file itself.
        body = data["report"] if how == "a drill" else data
        if body["host"] != host:
            return None
        if "phases" in body:
            seconds = {one["name"]: float(one["seconds"]) for one in body["phases"] if one.get("recovers", True)}
        else:
            seconds = {str(name): float(value) for name, value in body["seconds"].items()}
        when = str(body.get("started") or body["began"])
        return Measured(how, when, seconds, f"{backup_files.FOLDER}/{REPORTS}/{path.name}")
    return None


def _times(found: Measured | None) -> Iterator[str]:
    if found is None:
        yield "Nobody has measured it yet: no drill and no recovery of this host left a report. Until one does,"
        yield "nobody knows how long it takes, nor whether it works."
        return
    yield f"It took {Duration(found.total)} in {found.how} on {printable(found.when)} (`{printable(found.file)}`):"
    yield ""
    yield "| phase | took |"
    yield "|---|---|"
    for name, seconds in found.seconds.items():
        yield f"| {printable(name).replace('|', '/')} | {Duration(seconds)} |"


def _held(backups: Backups) -> Iterator[str]:
    where = backups.file.repository
    yield "| what | where |"
    yield "|---|---|"
    yield f"| the backups | `{where.url}`, below `{backups.host}/` |"
    if where.operator:
        yield f"| the bucket's keys | `{where.operator.access_key}` and `{where.operator.secret_key}` |"
    yield f"| your identity | the file that `${VARIABLE}` names, or `~/.config/toolkit/identity` |"
    for number, recipient in enumerate(_recipients(backups), 1):
        yield f"| it fits one of these (any opens everything), no. {number} | `{recipient}` |"
    yield f"| whom to believe | `backups/{backups.host}.head`: the host's signing key and the newest snapshot seen |"
    for registry in backups.described.registries:
        yield f"| images | `{registry.host}` as `{registry.user}`, token from `{registry.token}` |"


def _recipients(backups: Backups) -> Sequence[str]:
    with suppress(Error):
        return backups.recipients
    return ()


def _moments(backups: Backups) -> Iterator[str]:
    """How to bring each database whose log is shipped back to a moment; nothing where none is."""
    shipping = sorted(backups.shipping)
    if not shipping:
        return
    named = f" --source {shipping[0]}" if len(shipping) > 1 else ""
    yield _MOMENT.format(host=backups.host, named=named, shipping=", ".join(f"`{one}`" for one in shipping))


def _user(backups: Backups) -> str:
    connection = backups.described.connection
    return (connection != "local" and connection.user) or "admin"


def _copy(backups: Backups) -> str:
    url = urlsplit(backups.file.repository.url)
    if url.scheme == "file":
        return f"cp --recursive {url.path} copy"
    return f"rclone copy s3:{url.netloc}{url.path} copy"


def _key(backups: Backups) -> str:
    with suppress(Error):
        return str(backups.pin().signing_key)
    return "SIGNING_KEY"


_HEAD = """\
# {host} is down: what to do

Written by `invoke runbook --host {host}` for {stack}. Work from top to bottom; every command can be run again. Nothing
here deletes anything, and what a restore replaces is kept.
"""
_TIMES = """\
## How long it takes

{times}
"""
_HOLD = """\
## 1. What you need

This repository, your identity, and the bucket's keys in your environment. Nothing else survives a lost host, and nothing
else is needed.

{held}

```sh
invoke backup.snapshots --host {host}
```

This lists the snapshots, opened with your identity. Exit code 11: the identity or the bucket's keys are not where they
are looked for. Exit code 23: what is stored is not what was seen before; read the message, and name an older snapshot by
`--snapshot`. No identity at all: the escrow's opens everything as well.
"""
_DATA = """\
## 2. The machine lives, and its data is wrong

Can you reach it? `invoke status --host {host}` answers, or says why not. If the machine is gone, go on with part 3.

```sh plan
invoke restore --host {host} --plan
```

says what would be replaced, how old the snapshot is, and what gets lost. Then

```sh
invoke restore --host {host} --yes
invoke restore.kept --host {host}
```

Everything is loaded and proven beside what is in use; {stack} stops only for the swap. What fails changes nothing, or is
put back. `invoke restore.undo --host {host}` goes back to the data from before.
"""
_MOMENT = """
Did it go wrong at a moment that you know? The log of {shipping} is shipped, so that database comes back as it was at any
moment, in UTC where you write no zone. What cannot be reached is said with the nearest moment that can.

```sh moment
invoke restore --host {host} --at "2026-11-28 03:00"{named} --plan
invoke restore --host {host} --at "2026-11-28 03:00"{named} --yes
```
"""
_LOST = """\
## 3. The machine is gone

Rent another one: Debian or Ubuntu, bare, with your SSH key and a user who may use sudo. Write how to reach it into `hosts/replacement.yml`:

```yaml
connection:
  address: ADDRESS
  user: {user}
  host_key: ssh-ed25519 AAAA…
```

The key is what `ssh-keyscan` says, compared with your provider's console. Copy the `machine:` part of `hosts/{host}.yml`
below it. Then

```sh plan
invoke recover --host {host} --to replacement --plan
```

```sh lost
invoke recover --host {host} --to replacement
```

Was it cut off, by a lost line, Ctrl-C or a closed lid? Run it again: it goes on. A secret that the vault cannot give is
taken from the snapshot, and that is said.
"""
_AFTER = """\
## 4. When it serves again

1. Put the `connection:` of `hosts/replacement.yml` into `hosts/{host}.yml`, and remove `hosts/replacement.yml`.
2. Point DNS at the new address.
3. Look, back up, and believe the new machine's signing key:

```sh after
invoke status --host {host}
invoke backup --host {host}
invoke backup.trust --host {host} --replace
invoke backup.snapshots --host {host}
```

4. Commit `hosts/` and `backups/`.
"""
_BARE = """\
## 5. Without this toolkit

`age`, `zstd` and Python 3 are enough. Copy the bucket with any tool for S3:

```sh server
{copy}
```

```sh copy
python3 copy/recover.py --identity "${{TOOLKIT_IDENTITY:-$HOME/.config/toolkit/identity}}" copy/{host} list
python3 copy/recover.py --identity "${{TOOLKIT_IDENTITY:-$HOME/.config/toolkit/identity}}" --signing-key {key} copy/{host} restore latest recovered
```

In `recovered/` are then

| folder | what it is | how it comes back |
|---|---|---|
| `stack/release` | the Compose files of {stack}, as they ran, with every image's digest in `override.yaml` | `docker compose up` |
| `stack/secrets` | its secrets, in clear: mind where you put them | the files that Compose names |
| `postgres/*` | `globals.sql` and a dump of each database | `psql -f globals.sql`, `pg_restore --create --dbname postgres` |
| `mysql/*` | `databases.sql`, `users.sql` | `mariadb < databases.sql` |
| `redis/*` | `dump.rdb` or append-only files | into `/data`, before Redis starts, with `appendonly no` for `dump.rdb` |
| `clickhouse/*` | definitions and parts | `schema.json` first, then parts into `detached/` and `ATTACH` |
| `sqlite/*`, `volume/*` and others | files | copied into their volumes |
"""

"""From a URL to a store: `s3://bucket/prefix?endpoint=https://…`, `file:///path` or `memory:`."""

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from toolkit.store.directory import DirectoryStore
from toolkit.store.keys import checked
from toolkit.store.memory import MemoryStore
from toolkit.store.pace import Pace
from toolkit.store.protocol import AdminStore, Credentials
from toolkit.words.errors import ConfigError

_S3_OPTIONS = ("endpoint", "region", "ca")


def open_store(
    url: str, credentials: Credentials | None = None, *, root: Path | None = None, pace: Pace | None = None
) -> AdminStore:
    """Return the store at this URL; nothing is contacted yet. Raises ConfigError.

    What may be done there depends on the credentials: a host's may only add and list. A relative path of a `ca` begins
    at `root`, or where the process is. `pace` limits what is sent to a server.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return DirectoryStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return _s3(parts.netloc, parts.path.strip("/"), dict(parse_qsl(parts.query)), credentials, root, pace)
    raise ConfigError(f"{url!r} is not a store", hint="write s3://bucket/prefix?endpoint=https://… or file:///path")


def _s3(
    bucket: str,
    prefix: str,
    options: dict[str, str],
    credentials: Credentials | None,
    root: Path | None,
    pace: Pace | None,
) -> AdminStore:
    if unknown := sorted(set(options) - set(_S3_OPTIONS)):
        raise ConfigError(f"s3://{bucket}: unknown option {unknown[0]!r}", hint=f"known are {', '.join(_S3_OPTIONS)}")
    if credentials is None:
        raise ConfigError(f"s3://{bucket} needs credentials", hint="give the store an access key and a secret key")
    # boto3 takes a third of a second to import, which a directory store need not pay.
    from toolkit.store.s3 import S3Place, S3Store

    place = S3Place(
        bucket=bucket,
        prefix=checked(prefix) if prefix else "",
        endpoint=options.get("endpoint"),
        region=options.get("region", "us-east-1"),
        ca=str((root or Path()) / options["ca"]) if "ca" in options else None,
    )
    return S3Store(place, credentials, pace=pace)

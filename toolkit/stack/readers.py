"""Readers: who on the host owns each secret file of a release. Compose cannot say, so the toolkit decides and sets it.

First counts what the host file says, then Compose's long syntax, then the user that the services run as.
"""

from collections.abc import Iterable, Mapping

from toolkit.host import Host
from toolkit.stack.manifest import Manifest, Reader, is_internal
from toolkit.vault.delivery import Entry
from toolkit.words.command import command, script
from toolkit.words.errors import HostError, SecretError

# Users of images, one line each, in the order asked.
_USERS = 'for image in "$@"; do docker image inspect --format "{{.Config.User}}" "$image" || exit; done'


def entries(host: Host, manifest: Manifest, sizes: Mapping[str, int]) -> tuple[Entry, ...]:
    """Return where each secret of a release goes and who may read it, in the order of their names.

    Raises SecretError where its services disagree, HostError for an owner whom the host does not know.
    """
    users = _users(host, manifest)
    return tuple(_entry(host, manifest, name, sizes[name], users) for name in sorted(manifest.secrets))


def _users(host: Host, manifest: Manifest) -> dict[str, str]:
    """Return who each service runs as: what Compose says, or else its image."""
    silent = [name for name, one in manifest.services.items() if one.secrets and not one.user]
    images = [manifest.pinned(name) for name in silent]
    told = host.run(script(_USERS, *images)).text.split("\n") if images else []
    stated = {name: one.user for name, one in manifest.services.items()}
    return stated | dict(zip(silent, told, strict=False))


def _entry(host: Host, manifest: Manifest, name: str, size: int, users: Mapping[str, str]) -> Entry:
    if is_internal(name):
        # Env files are Compose's to read, which runs as root.
        return Entry(name, manifest.secrets[name], 0o600, 0, 0, size)
    stated = manifest.terms.readers.get(name, Reader())
    services = manifest.services.items()
    grants = [(service, one) for service, body in services for one in body.secrets if one.name == name]
    owner = stated.owner or _agreed(name, (one.uid or _uid(name, service, users) for service, one in grants))
    group = stated.group or _agreed(name, (one.gid for _, one in grants))
    mode = stated.mode or _agreed(name, (one.mode for _, one in grants))
    return Entry(
        name=name,
        tag=manifest.secrets[name],
        mode=int(mode or "0400", 8),
        uid=_number(host, "passwd", owner),
        gid=_number(host, "group", group),
        size=size,
    )


def _uid(name: str, service: str, users: Mapping[str, str]) -> str:
    """Return the number of the user that a service runs as; root reads every file and does not count."""
    user = users.get(service, "").partition(":")[0]
    if user in ("", "root", "0"):
        return ""
    if not user.isdigit():
        raise SecretError(
            f"{name}: {service} runs as {user}, whose number only its image knows",
            hint=f"set stack.secrets.{name}.owner to that number",
        )
    return user


def _agreed(name: str, wanted: Iterable[str]) -> str:
    found = sorted({one for one in wanted if one})
    if len(found) > 1:
        raise SecretError(
            f"{name}: its services want different readers: {', '.join(found)}",
            hint=f'set stack.secrets.{name} in the host file: a group they share, and mode "0440"',
        )
    return found[0] if found else ""


def _number(host: Host, database: str, written: str) -> int:
    """Return a numeric id; a name is the host's own."""
    if not written or written.isdigit():
        return int(written or 0)
    result = host.run(command("getent", database, written), check=False)
    if not result.ok:
        raise HostError(f"nobody is called {written}", hint="correct stack.secrets, or use a number")
    return int(result.text.split(":")[2])

"""What a registry's refusal means, and what to do about it.

The Engine passes on what registries say with little order: a missing login comes as 500, a wrong token as 401 or 403.
So the words count as much as the status.
"""

from toolkit.words.errors import RegistryError

UNAUTHORIZED = (
    "unauthorized",
    "no basic auth credentials",
    "authentication required",
    "incorrect username or password",
)
DENIED = ("denied", "forbidden", "insufficient_scope")
ABSENT = ("manifest unknown", "name unknown", "not found", "no such manifest")
LIMITED = ("toomanyrequests", "rate limit", "too many requests")
UNTRUSTED = ("x509:", "tls:", "http response to https client")


def refusal(host: str, reference: str, registry: str, user: str | None, status: int, said: str) -> RegistryError:
    """Return the error for an image, or for a login where `reference` is empty."""
    words, what = said.lower(), reference or f"the login to {registry}"
    if status == 429 or _any(LIMITED, words):
        return RegistryError(
            f"{registry} has no more answers for {user or 'strangers'} just now, asked for {what}: {_last(said)}",
            hint="wait until the rate limit is over, log in (registries in the host file), or set up a mirror",
        )
    if status == 404 or _any(ABSENT, words):
        hint = "check name and tag for typing errors, and that it was pushed"
        return RegistryError(f"{registry} has no {what}", hint=hint)
    denied = status == 403 or _any(DENIED, words)
    # GHCR calls it denied when a login is refused.
    if status == 401 or _any(UNAUTHORIZED, words) or (denied and not reference):
        return _unauthorized(registry, user, what)
    return _denied(registry, user, what) if denied else _no_answer(host, registry, what, said)


def _any(marks: tuple[str, ...], words: str) -> bool:
    return any(mark in words for mark in marks)


def _unauthorized(registry: str, user: str | None, what: str) -> RegistryError:
    if user is None:
        return RegistryError(
            f"{registry} wants a login for {what}", hint=f"add {registry} to registries in the host file"
        )
    return RegistryError(
        f"{registry} refuses the token of {user}, for {what}",
        hint="it is wrong, expired or another user's: make a new one and put it where registries.token points",
    )


def _denied(registry: str, user: str | None, what: str) -> RegistryError:
    return RegistryError(
        f"{registry} denies {user or 'strangers'} access to {what}",
        hint="the token needs the scope to read packages (read:packages on GHCR), and its user access to this one; "
        "a registry may say the same of an image that does not exist",
    )


def _no_answer(host: str, registry: str, what: str, said: str) -> RegistryError:
    if _any(UNTRUSTED, said.lower()):
        return RegistryError(
            f"{host} does not trust {registry}, for {what}: {_last(said)}",
            hint=f"put the registry's CA into /etc/docker/certs.d/{registry}/ca.crt on the host",
        )
    return RegistryError(
        f"{host} gets no answer from {registry} for {what}: {_last(said)}",
        hint="check the registry's name, the host's DNS and network, and the registry's own status page",
    )


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1] if lines else "no reason given"

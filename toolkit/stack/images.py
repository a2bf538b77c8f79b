"""Images on the host: pulled by digest with throw-away logins, and what they say of themselves."""

import json
from collections.abc import Sequence

from toolkit.stack.manifest import Manifest
from toolkit.stack.service import Check
from toolkit.stack.site import Site
from toolkit.words.command import script
from toolkit.words.errors import HostError

# Side by side: the Engine itself limits how many layers it fetches at once.
_PULL = """
config=$1; shift
printf '%s\\n' "$@" | xargs -P 4 -n 1 docker --config "$config" pull 2>&1
"""
_CHECKS = 'for image in "$@"; do docker image inspect --format "{{json .Config.Healthcheck}}" "$image"; done'
_NANO = 1e9


def pull(site: Site, images: Sequence[str], login: str) -> None:
    """Have images on the host. Raises HostError; what came is kept for the next attempt. A stop ends it at once."""
    if not images:
        return

    def told(line: str) -> None:
        site.listener.line(line)
        site.pause()

    with site.interruptible():
        result = site.host.run(script(_PULL, login, *images, called="docker pull"), check=False, follow=told)
    if not result.ok:
        full = "no space left on device" in result.complaint.lower()
        hint = "free some space on the host (`docker system df`)" if full else "run the same again: what came is kept"
        raise HostError(f"cannot pull every image:\n{_last_words(result.text + result.complaint)}", hint=hint)


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if "rror" in line or "enied" in line or "no space" in line]
    return "\n".join(lines[-4:] or said.splitlines()[-4:])


def checks_of(site: Site, manifest: Manifest) -> dict[str, Check | None]:
    """Return each service's health check as Docker will run it: what Compose says, over what the image says."""
    silent = {name: one for name, one in manifest.services.items() if one.check is None}
    images = [manifest.pinned(name) for name in silent]
    told = site.host.run(script(_CHECKS, *images)).text.splitlines() if images else []
    own = {name: one.check for name, one in manifest.services.items()}
    return own | {name: _parse(line) for name, line in zip(silent, told, strict=False)}


def _parse(line: str) -> Check | None:
    body = json.loads(line or "null")
    if not body or not body.get("Test"):
        return None
    usual = Check()
    return Check(
        test=tuple(body["Test"]),
        interval=body.get("Interval", 0) / _NANO or usual.interval,
        timeout=body.get("Timeout", 0) / _NANO or usual.timeout,
        retries=body.get("Retries") or usual.retries,
        start=body.get("StartPeriod", 0) / _NANO,
    )

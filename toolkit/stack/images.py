"""Images on the host: pulled by digest with throw-away logins, and what they say of themselves."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from toolkit.stack.manifest import Manifest
from toolkit.stack.service import Check
from toolkit.stack.site import Site
from toolkit.words.command import Result, script
from toolkit.words.errors import Error, HostError

# Side by side: the Engine itself limits how many layers it fetches at once.
_PULL = """
config=$1; shift
printf '%s\\n' "$@" | xargs -P 4 -n 1 docker --config "$config" pull 2>&1
"""
# The same with nobody waiting. What it says and how it ended lie beside the logins, in memory; the end is written last.
_BEGIN = """
config=$1; shift
setsid sh -c '
  config=$1; shift
  printf "%s\\n" "$@" | xargs -P 4 -n 1 docker --config "$config" pull >"$config/said" 2>&1
  echo $? >"$config/code.new" && mv "$config/code.new" "$config/code"
' sh "$config" "$@" </dev/null >/dev/null 2>&1 &
echo $!
"""
_JOIN = """
while [ ! -e "$1/code" ] && kill -0 "$2" 2>/dev/null; do sleep 0.1; done
cat "$1/said"
[ -e "$1/code" ] && exit "$(cat "$1/code")"
echo 'the pull was ended from outside'; exit 1
"""
# Some shells take a `--` for a number.
_END = 'kill -TERM "-$1" 2>/dev/null || true'
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
    _check(result)


@dataclass(frozen=True)
class Pulling:
    """Images that come while something else is done; the logins have to stay until they are there."""

    site: Site
    images: Sequence[str]
    login: str
    process: str

    def join(self) -> None:
        """Wait until all are there. Raises HostError; a stop ends the wait at once."""
        with self.site.interruptible():
            result = self.site.host.run(script(_JOIN, self.login, self.process, called="docker pull"), check=False)
        _check(result)


@contextmanager
def pulling(site: Site, images: Sequence[str], login: str) -> Iterator[Pulling]:
    """Have images come while the context lasts. Where it ends before they are there, so does the pull."""
    begun = site.host.run(script(_BEGIN, login, *images, called="docker pull")).text.strip()
    try:
        yield Pulling(site, images, login, begun)
    finally:
        with suppress(Error):
            site.host.run(script(_END, begun), check=False)


def _check(result: Result) -> None:
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

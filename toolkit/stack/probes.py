"""Probes and assertions: what a host file wants to be true before a release counts, asked on the host itself."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from toolkit.host import Host
from toolkit.stack.containers import Container, Verdict
from toolkit.stack.manifest import Assertion, Probe, Terms
from toolkit.words.command import command

TIMEOUT = 5
LARGEST = 1 << 20
SHOWN = 200


def complaints(host: Host, terms: Terms, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield a line for each probe and assertion that does not hold."""
    for probe in terms.probes:
        if said := ask(probe):
            yield said
    running = {verdict.service: verdict.containers for verdict in verdicts}
    for assertion in terms.assertions:
        for container in running.get(assertion.service, ()):
            if said := check(host, assertion, container):
                yield said


def ask(probe: Probe) -> str:
    """Make one HTTP request; return what is wrong with the answer, or nothing."""
    # No proxy of this machine's, and no redirect: what is probed is the address itself.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirect()]
    if probe.url.startswith("https:"):
        context = _context(insecure=probe.insecure, trusted=_changed(ssl.get_default_verify_paths().cafile))
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(probe.url, timeout=TIMEOUT) as answer:
            return _judged(probe, answer.status, answer.read(LARGEST))
    except urllib.error.HTTPError as error:
        with error:
            return _judged(probe, error.code, error.read(LARGEST))
    except (OSError, ValueError) as error:
        return f"{probe.url}: {getattr(error, 'reason', None) or error}"


def _changed(path: str | None) -> float:
    with suppress(OSError):
        return Path(path).stat().st_mtime if path else 0.0
    return 0.0


@lru_cache(maxsize=2)
def _context(*, insecure: bool, trusted: float) -> ssl.SSLContext:
    """Return how to speak TLS; `trusted` is when the file of authorities changed last."""
    # Kept: reading every authority there is takes longer than a request, and the watchdog asks all day.
    del trusted
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _judged(probe: Probe, status: int, body: bytes) -> str:
    text = body.decode(errors="replace")
    if status != probe.status:
        return f"{probe.url}: answered {status}, expected {probe.status}: {text[:SHOWN]}".rstrip(": ")
    if probe.contains not in text:
        return f"{probe.url}: the answer does not contain {probe.contains!r}: {text[:SHOWN]}"
    return ""


def check(host: Host, assertion: Assertion, container: Container) -> str:
    """Look inside of one container; return what is not as it was said, or nothing."""
    if assertion.variable:
        found, what = _variable(host, container, assertion.variable), f"the variable {assertion.variable}"
        # What it is may be a secret; what it should be stands in the host file.
        shown = ""
    else:
        result = host.run(command("timeout", 20, "docker", "exec", container.id, *assertion.command), check=False)
        found, what = result.text.strip() if result.ok else None, f"`{' '.join(assertion.command)}`"
        shown = f", found {(result.text.strip() or result.complaint)[:SHOWN]!r}"
    if found is not None and _holds(assertion, found):
        return ""
    wanted = f"contain {assertion.contains!r}" if assertion.equals is None else f"be {assertion.equals!r}"
    return f"{assertion.service}: {what} should {wanted}{shown}"


def _holds(assertion: Assertion, found: str) -> bool:
    return found == assertion.equals if assertion.equals is not None else assertion.contains in found


def _variable(host: Host, container: Container, name: str) -> str | None:
    told = host.run(command("docker", "inspect", "--format", "{{json .Config.Env}}", container.id), check=False)
    with suppress(ValueError, TypeError):
        return dict(line.partition("=")[::2] for line in json.loads(told.text)).get(name)
    return None

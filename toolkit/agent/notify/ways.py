"""Ways to somebody: an HTTP POST of JSON, or one of the services that Apprise knows.

What is raised names no address: it may end up in a log.
"""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from toolkit.agent.notify.targets import APPRISE, Target

TIMEOUT = 10
# Of these a second try says the same again; of every other one it may not.
_FINAL = frozenset({400, 405, 406, 413, 414, 415, 422})


class NotSent(Exception):
    """`final` says that trying again is of no use."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def send(target: Target, message: Mapping[str, Any]) -> None:
    """Send one message. Raises NotSent."""
    if target.kind == APPRISE:
        _by_apprise(target, message)
    else:
        _by_webhook(target.url.reveal().decode(errors="replace").strip(), message)


def _by_webhook(url: str, message: Mapping[str, Any]) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "server-toolkit"}
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NotSent("its address does not begin with https:// or http://")
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        request = urllib.request.Request(bare, json.dumps(message).encode(), headers, method="POST")  # noqa: S310
        with urllib.request.build_opener(_NoRedirect()).open(request, timeout=TIMEOUT) as answer:
            answer.read(1 << 16)
    except urllib.error.HTTPError as error:
        with error:
            raise NotSent(f"answered {error.code}", final=error.code in _FINAL) from None
    except urllib.error.URLError as error:
        raise NotSent(_told(error.reason)) from None
    except (OSError, ValueError, urllib.error.ContentTooShortError) as error:
        raise NotSent(_told(error)) from None
    except Exception as error:
        # http.client has errors of its own, and some of them quote the address.
        raise NotSent(type(error).__name__) from None


def _told(error: object) -> str:
    # A ValueError may repeat the address that it does not understand.
    return str(error) if isinstance(error, OSError) else type(error).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _by_apprise(target: Target, message: Mapping[str, Any]) -> None:
    # 190 ms and a dozen packages, which are on this host only when its host file asks for them.
    import logging

    try:
        import apprise
    except ImportError:
        raise NotSent("Apprise is not on this host: provision again") from None
    logging.getLogger("apprise").disabled = True
    kinds = {"info": apprise.NotifyType.INFO, "warning": apprise.NotifyType.WARNING}
    # In memory: what it would keep on the disk may name addresses.
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY)
    sender = apprise.Apprise(asset=asset)
    if not sender.add(target.url.reveal().decode(errors="replace").strip()):
        raise NotSent("Apprise does not understand its address")
    kind = kinds.get(str(message["severity"]), apprise.NotifyType.FAILURE)
    if not sender.notify(body=str(message["text"]), title=str(message["title"]), notify_type=kind):
        raise NotSent("Apprise could not send it")

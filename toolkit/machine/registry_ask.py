"""Runs on the host: asks its Docker Engine what images are in their registries. Standard library only.

It is sent to the host as text. A JSON list of [reference as in a URL, login or null] comes on standard input, so that
no token shows in arguments or environment, and a list of [HTTP status, body] goes to standard output. Status 0: nobody
answered. It runs on each deploy, and importing HTTP and thread pools took longer than all the rest.
"""

import base64
import json
import socket
import sys
from typing import Any

SOCKET = "/run/docker.sock"
TIMEOUT = 60
AT_ONCE = 8


def ask(image: tuple[str, dict[str, str] | None]) -> socket.socket:
    """Ask the Engine's API for one image; the answer is read later."""
    reference, login = image
    lines = [f"GET /distribution/{reference}/json HTTP/1.0", "Host: localhost"]
    if login:
        lines.append(f"X-Registry-Auth: {base64.urlsafe_b64encode(json.dumps(login).encode()).decode()}")
    engine = socket.socket(socket.AF_UNIX)
    engine.settimeout(TIMEOUT)
    engine.connect(SOCKET)
    engine.sendall("\r\n".join([*lines, "", ""]).encode())
    return engine


def answer(engine: socket.socket) -> tuple[int, Any]:
    """Return the status and the body. In HTTP 1.0 the end of the stream is the end of the answer."""
    try:
        with engine:
            whole = b"".join(iter(lambda: engine.recv(65536), b""))
    except TimeoutError:
        return 0, {"message": f"no answer within {TIMEOUT} s"}
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body or b"{}")


def main() -> None:
    images, answers = json.load(sys.stdin), []
    try:
        for start in range(0, len(images), AT_ONCE):
            # All are asked before the first answer is read: the Engine goes to their registries side by side.
            asked = [ask(image) for image in images[start : start + AT_ONCE]]
            answers += [answer(engine) for engine in asked]
    except OSError as error:
        sys.exit(f"docker does not answer at {SOCKET}: {error}")
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()

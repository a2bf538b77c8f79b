"""A service that behaves well or badly, as MODE says: one program for every fault of a deploy.

ok                 answers /health and /version; on SIGTERM it finishes what it has and ends
crash              says why and ends with exit code 3
crash-after:N      ends after N seconds
never              answers /health with 503
oom                takes memory until somebody stops it
slow-stop:N        takes N seconds to end
migrate, migrate-fail   do their work, or do not, and end

While it runs it can be made ill: POST /hang and it answers nothing any more, POST /leak and it takes 30 MB for good;
with a file /tmp/ill it answers 503, over restarts too.
"""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODE, _, ARGUMENT = os.environ.get("MODE", "ok").partition(":")
HUNG, ENDING = threading.Event(), threading.Event()
HOARD: list[bytearray] = []
VERSION = f"{os.environ.get('RELEASE', '?')} {os.environ['IMAGE']}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A connection that a proxy keeps for later does not keep the process alive for long.
    timeout = 2

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        if HUNG.is_set():
            ENDING.wait()
        self._answer(503 if MODE == "never" or Path("/tmp/ill").exists() else 200, VERSION)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/hang":
            HUNG.set()
        if self.path == "/leak":
            HOARD.append(bytearray(b"x") * (30 << 20))
        self._answer(200, VERSION)

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def serve() -> None:
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler)
    # A request under way is finished, and only then is the process gone.
    server.daemon_threads = False

    def end(*_: object) -> None:
        ENDING.set()
        if MODE == "slow-stop":
            time.sleep(float(ARGUMENT))
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever(poll_interval=0.2)
    server.server_close()


def main() -> None:
    if MODE == "migrate":
        Path("/data/migrated").write_text(VERSION)
        return
    if MODE == "migrate-fail":
        sys.exit("the column is there already")
    if MODE == "crash":
        sys.stdout.write("the reason why\n")
        sys.exit(3)
    if MODE == "crash-after":
        threading.Thread(target=lambda: (time.sleep(float(ARGUMENT)), os._exit(4)), daemon=True).start()
    if MODE == "oom":
        hoard = []
        while True:
            hoard.append(bytearray(8 << 20))
    serve()


if __name__ == "__main__":
    main()

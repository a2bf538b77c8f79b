"""A webhook's other side, run on a lab host: writes each body that it gets as a line, and answers 204."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Path(sys.argv[2]).open("ab") as lines:
            lines.write(body + b"\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

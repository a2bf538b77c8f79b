"""Probes and assertions: an answer that is not as it should be has a sentence, and no value that may be secret."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from toolkit.host.fake import FakeHost
from toolkit.stack import probes
from toolkit.stack.containers import Container, Verdict
from toolkit.stack.manifest import Assertion, Probe, Terms

BOX = Container("id-1", "n", "api", "i", "running", "", 0, False, 0, 1.0)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"/moved": 302, "/sick": 503}.get(self.path, 200)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/")
            self.end_headers()
            self.wfile.write(b"all is well")

        def log_message(self, *_: object) -> None: ...

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()


@pytest.mark.parametrize(
    ("path", "wanted", "said"),
    [
        ("/", {}, ""),
        ("/", {"contains": "well"}, ""),
        ("/", {"contains": "ill"}, "does not contain 'ill': all is well"),
        ("/sick", {}, "answered 503, expected 200: all is well"),
        ("/sick", {"status": 503}, ""),
        # Where a redirect leads is another probe.
        ("/moved", {}, "answered 302, expected 200"),
        ("/moved", {"status": 302}, ""),
    ],
)
def test_an_answer_is_judged_by_status_and_text(server: str, path: str, wanted: dict[str, object], said: str) -> None:
    told = probes.ask(Probe(server + path, **wanted))  # type: ignore[arg-type]
    assert said in told
    assert bool(told) == bool(said)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://no.such.host.invalid/", "ftp:/x", "http://["])
def test_no_answer_is_a_complaint_and_no_crash(url: str) -> None:
    assert probes.ask(Probe(url)).startswith(url)


def test_proxies_of_the_machine_are_left_out(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert probes.ask(Probe(server)) == ""


@pytest.mark.parametrize(
    ("assertion", "said"),
    [
        (Assertion("api", ("mode",), contains="noevic"), ""),
        (Assertion("api", ("mode",), equals="noeviction"), ""),
        (Assertion("api", ("mode",), equals="lru"), "api: `mode` should be 'lru', found 'noeviction'"),
        (Assertion("api", ("fails",), contains="x"), "api: `fails` should contain 'x', found 'no such key'"),
        (Assertion("api", variable="MODE", equals="a=b"), ""),
        (Assertion("api", variable="MODE", equals="c"), "api: the variable MODE should be 'c'"),
        (Assertion("api", variable="NEVER", equals="c"), "api: the variable NEVER should be 'c'"),
    ],
)
def test_assertions_look_inside_and_never_show_a_variable(assertion: Assertion, said: str) -> None:
    host = FakeHost()
    host.answer("timeout 20 docker exec id-1 mode", "noeviction\n")
    host.answer("timeout 20 docker exec id-1 fails", code=1, stderr="no such key")
    host.answer("docker", '["PATH=/bin", "MODE=a=b"]')
    assert probes.check(host, assertion, BOX) == said


def test_every_probe_and_every_container_is_asked() -> None:
    host = FakeHost()
    terms = Terms(files=(), probes=(Probe("http://127.0.0.1:9/"),), assertions=(Assertion("api", ("x",), equals="y"),))
    told = list(probes.complaints(host, terms, [Verdict("api", "healthy", "", (BOX, BOX))]))
    assert len(told) == 3

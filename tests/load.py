"""Runs on a lab host: asks servers on loopback, fifty times a second each, until /run/load-stop is there.

Every request is a connection of its own; a third are POSTs, which no proxy may send twice once they were sent.
Prints how many were asked, and what went wrong, as JSON.
"""

import http.client
import json
import sys
import threading
import time
from pathlib import Path

STOP = Path("/run/load-stop")
EVERY = 0.02
LONGEST = 300

asked, failed, versions = [0], [], set()
lock = threading.Lock()


def ask(port: int, number: int) -> None:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        method, path = [("GET", "/version"), ("POST", "/version"), ("GET", "/slow")][number % 3]
        connection.request(method, path, b"x" * 100 if method == "POST" else None)
        answer = connection.getresponse()
        body = answer.read().decode()
        problem = "" if answer.status == 200 else f"{answer.status} {body[:80]}"
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        problem, body = f"{type(error).__name__} {error}", ""
    with lock:
        asked[0] += 1
        versions.add(body)
        if problem:
            failed.append(f"{port} {method} {path}: {problem}")


def main() -> None:
    ports, number, end = [int(word) for word in sys.argv[1:]], 0, time.monotonic() + LONGEST
    threads = []
    while not STOP.exists() and time.monotonic() < end:
        for port in ports:
            thread = threading.Thread(target=ask, args=(port, number))
            thread.start()
            threads.append(thread)
        number += 1
        threads = [one for one in threads if one.is_alive()]
        time.sleep(EVERY)
    for thread in threads:
        thread.join()
    json.dump({"asked": asked[0], "failed": failed, "versions": sorted(versions)}, sys.stdout)


main()

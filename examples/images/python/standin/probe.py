"""A container's health check: `python3 -m standin.probe 3000` fails, with the reason, unless `/health` answers 200."""

import sys
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=4)
try:
    connection.request("GET", "/health")
    response = connection.getresponse()
    said = response.read().decode(errors="replace").strip()
except OSError as error:
    sys.exit(f"no answer: {error}")
sys.stdout.write(f"{said}\n")
sys.exit(0 if response.status == 200 else 1)

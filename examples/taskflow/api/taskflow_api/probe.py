"""The container's health check: `python3 -m taskflow_api.probe` fails, with the reason, unless the API is ready."""

import sys
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", 3000, timeout=4)
connection.request("GET", "/health")
response = connection.getresponse()
sys.stdout.write(response.read().decode())
sys.exit(response.status != 200)

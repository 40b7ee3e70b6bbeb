#!/usr/bin/python3 -I
"""Health check of a container: exit status 0 if the server or worker in it is ready.

Asks the operator's port (docs/operations.md) of this machine, with nothing but Python's own
library, since it runs every few seconds.
"""

import os
import sys
from http.client import HTTPConnection

port = int(os.environ.get("VO_OPERATOR_PORT", "8081"))
try:
    connection = HTTPConnection("127.0.0.1", port, timeout=4)
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    print(answer.read(500).decode("utf-8", "replace").strip())
except OSError as error:
    sys.exit(f"port {port}: {error}")
sys.exit(answer.status != 200)

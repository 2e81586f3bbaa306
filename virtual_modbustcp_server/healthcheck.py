"""Exit with 0 if the server in this container answers a Modbus TCP request, even with an exception."""

from __future__ import annotations

import socket
import struct
import sys

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 502
# Transaction 1, protocol 0, 6 bytes to follow: unit 0, function 3, register 0, count 1.
REQUEST = struct.pack(">HHHBBHH", 1, 0, 6, 0, 3, 0, 1)

with socket.create_connection(("127.0.0.1", PORT), timeout=2) as connection:
    connection.sendall(REQUEST)
    reply = connection.recv(260)
sys.exit(0 if reply[:4] == REQUEST[:4] else f"no Modbus TCP reply: {reply!r}")

"""Hold idle connections: `hold.py HOST --port 9400 --connections 20`; nothing is sent on them."""

from __future__ import annotations

import argparse
import contextlib
import socket
import time


def main() -> None:
    """Connect, and keep the connections until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=9400)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    held = []
    for _ in range(options.connections):
        with contextlib.suppress(OSError):
            held.append(socket.create_connection((options.host, options.port), timeout=1))
    time.sleep(max(0.0, end - time.monotonic()))
    for each in held:
        each.close()


if __name__ == "__main__":
    main()

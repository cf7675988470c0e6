"""Keep a redis server from its work: `blocker.py HOST --block-ms 300 --rest-ms 200`; others wait meanwhile."""

from __future__ import annotations

import argparse
import contextlib
import socket
import time

SCRIPT = (
    "local t=redis.call('TIME') local e=t[1]*1000000+t[2]+ARGV[1]*1000 "
    "repeat t=redis.call('TIME') until t[1]*1000000+t[2]>e"
)


def main() -> None:
    """Run a slow script again and again until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--block-ms", type=int, default=300)
    parser.add_argument("--rest-ms", type=float, default=200.0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    words = ["EVAL", SCRIPT, "0", str(options.block_ms)]
    request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with contextlib.suppress(OSError), socket.create_connection((options.host, options.port), timeout=5) as made:
        while time.monotonic() < end:
            made.sendall(request.encode())
            made.recv(200)
            time.sleep(options.rest_ms / 1e3)


if __name__ == "__main__":
    main()

"""Accept slowly: `listener.py --port 9100 --backlog 1 --accept-ms 50 --seconds 6`; each connection gets one byte."""

from __future__ import annotations

import argparse
import contextlib
import socket
import time


def main() -> None:
    """Accept, answer and close one connection after the other until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--backlog", type=int, default=128)
    parser.add_argument("--accept-ms", type=float, default=0.0, help="time that each connection takes")
    parser.add_argument("--reset-every", type=int, default=0, help="end every so many-th connection by RST")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", options.port))
    listener.listen(options.backlog)
    number = 0
    while (left := end - time.monotonic()) > 0:
        listener.settimeout(left)
        with contextlib.suppress(OSError):
            connection = listener.accept()[0]
            number += 1
            time.sleep(options.accept_ms / 1e3)
            if options.reset_every and number % options.reset_every == 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                connection.send(b"x")
            connection.close()


if __name__ == "__main__":
    main()

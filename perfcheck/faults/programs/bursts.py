"""Send datagrams in bursts: `bursts.py HOST --on-ms 120 --off-ms 40 --bit-per-s 20000000 --length 900`.

`bursts.py --listen` takes them. Without `--bit-per-s` they go as fast as this process can.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import time


def main() -> None:
    """Send and rest in turn until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?", default="::")
    parser.add_argument("--listen", action="store_true")
    parser.add_argument("--port", type=int, default=9500)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--length", type=int, default=900)
    parser.add_argument("--bit-per-s", type=float, default=0.0, help="rate within a burst")
    parser.add_argument("--on-ms", type=float, default=1e6)
    parser.add_argument("--off-ms", type=float, default=0.0)
    options = parser.parse_args()
    if options.listen:
        listen(options)
        return
    made = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET, socket.SOCK_DGRAM)
    payload = bytes(options.length)
    target = (options.host, options.port)
    end = time.monotonic() + options.seconds
    while (begun := time.monotonic()) < end:
        until, sent = min(end, begun + options.on_ms / 1e3), 0
        while (now := time.monotonic()) < until:
            due = options.bit_per_s / 8 * (now - begun) if options.bit_per_s else sent + 32 * options.length
            while sent < due:
                with contextlib.suppress(OSError):
                    made.sendto(payload, target)
                sent += options.length
            if options.bit_per_s:
                time.sleep(0.002)
        time.sleep(options.off_ms / 1e3)


def listen(options: argparse.Namespace) -> None:
    """Take datagrams until the time is over."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((options.host, options.port))
        end = time.monotonic() + options.seconds
        while (left := end - time.monotonic()) > 0:
            made.settimeout(left)
            with contextlib.suppress(TimeoutError):
                made.recv(2048)


if __name__ == "__main__":
    main()

"""Web pages: `pages.py HOST --callers 3 --per-s 6` fetches `/BYTES` on new connections, `pages.py --serve` serves them.

With `--curl` it runs curl instead, one transfer (`get` or `put`) that lasts as long as it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

TIMEOUT_S = 4.0
CURL_SAYS = '{"seconds": %{time_total}, "up": %{size_upload}, "down": %{size_download}, "exit": %{exitcode}}'


class Page(BaseHTTPRequestHandler):
    """Answers `GET /BYTES` by so many bytes and takes what is put."""

    protocol_version = "HTTP/1.1"
    work_s = 0.0
    end = 0.0

    def do_GET(self) -> None:
        """Send zeros."""
        time.sleep(self.work_s)
        left = int(self.path.strip("/") or 0)
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        with contextlib.suppress(OSError):
            while left > 0 and time.monotonic() < self.end:
                piece = bytes(min(left, 1 << 16))
                self.wfile.write(piece)
                left -= len(piece)

    def do_PUT(self) -> None:
        """Read what is put and forget it."""
        left = int(self.headers["Content-Length"])
        while left > 0 and (piece := self.rfile.read1(1 << 16)):
            left -= len(piece)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve, or fetch and report."""
    options = parsed()
    if options.serve:
        serve(options)
    elif options.curl:
        curl(options)
    else:
        fetch(options)


def parsed() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?", default="::")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--port", type=int, default=8088)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--callers", type=int, default=3)
    parser.add_argument("--per-s", type=float, default=6.0, help="pages per second of each caller; 0: no pause")
    parser.add_argument("--bytes", type=float, default=3000)
    parser.add_argument("--curl", choices=("get", "put"))
    parser.add_argument("--limit", type=float, default=0.0, help="curl --limit-rate, in bytes/s")
    parser.add_argument("--backlog", type=int, default=64)
    parser.add_argument("--work-ms", type=float, default=0.0, help="work before each answer")
    parser.add_argument("--single", action="store_true", help="one connection at a time")
    parser.add_argument("--sndbuf", type=int, default=0)
    parser.add_argument("--rcvbuf", type=int, default=0)
    return parser.parse_args()


def serve(options: argparse.Namespace) -> None:
    """Serve until the time is over."""
    Page.work_s = options.work_ms / 1e3
    Page.end = time.monotonic() + options.seconds
    made = (HTTPServer if options.single else ThreadingHTTPServer)(("::", options.port), Page, bind_and_activate=False)
    made.socket.close()
    made.socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    made.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    for name, value in ((socket.SO_SNDBUF, options.sndbuf), (socket.SO_RCVBUF, options.rcvbuf)):
        if value:
            made.socket.setsockopt(socket.SOL_SOCKET, name, value)
    made.request_queue_size = options.backlog
    made.allow_reuse_address = True
    made.socket.bind(("::", options.port))
    made.server_activate()
    made.timeout = 0.5
    while time.monotonic() < Page.end:
        made.handle_request()


def curl(options: argparse.Namespace) -> None:
    """Run curl for one transfer and report its rate."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    size = round(options.bytes)
    put = options.curl == "put"
    url = f"http://{host}:{options.port}/{0 if put else size}"
    words = ["curl", "--silent", "--output", "/dev/null", "--max-time", "20", "--write-out", CURL_SAYS, url]
    words += ["--limit-rate", str(round(options.limit))] if options.limit else []
    words += ["--request", "PUT", "--data-binary", "@-", "--header", "Expect:"] if put else []
    done = subprocess.run(words, check=False, input=bytes(size if put else 0), capture_output=True, timeout=25)
    said = json.loads(done.stdout)
    rate = 8 * (said["up"] if put else said["down"]) / max(said["seconds"], 1e-3)
    report({"app.throughput_bps": rate, "app.errors": float(said["exit"] != 0)})


def fetch(options: argparse.Namespace) -> None:
    """Fetch pages, each on a connection of its own, and report."""
    connects: list[float] = []
    answers: list[float] = []
    errors: list[int] = []
    end = time.monotonic() + options.seconds

    def caller() -> None:
        while (begun := time.monotonic()) < end:
            made = HTTPConnection(options.host, options.port, timeout=min(TIMEOUT_S, max(0.3, end + 1.5 - begun)))
            try:
                made.connect()
                connects.append((time.monotonic() - begun) * 1e6)
                made.request("GET", f"/{round(options.bytes)}", headers={"Connection": "close"})
                made.getresponse().read()
                answers.append((time.monotonic() - begun) * 1e6)
            except (OSError, HTTPException):
                errors.append(1)
            finally:
                made.close()
            if options.per_s:
                time.sleep(max(0.0, min(begun + 1 / options.per_s, end) - time.monotonic()))

    threads = [threading.Thread(target=caller) for _ in range(options.callers)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    metrics: dict[str, float] = {"app.errors": len(errors), "app.requests_per_s": len(answers) / options.seconds}
    for name, values in (("app.connect_us", sorted(connects)), ("app.latency_us", sorted(answers))):
        if values:
            metrics[f"{name}.p50"] = values[len(values) // 2]
            metrics[f"{name}.p99"] = values[min(len(values) - 1, len(values) * 99 // 100)]
    if not options.per_s:
        metrics["app.throughput_bps"] = 8 * options.bytes * len(answers) / options.seconds
    report(metrics)


def report(metrics: dict[str, float]) -> None:
    """Write the metrics by perfcheck's names."""
    os.write(1, (json.dumps({"perfcheck": metrics}) + "\n").encode())


if __name__ == "__main__":
    main()

"""Connect again and again: `caller.py HOST --port 9100 --callers 4 --per-s 20 --seconds 4`.

Each caller is a process that connects, waits for one byte and closes. The last line of output has what came of it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time

TIMEOUT_S = 5.0


def main() -> None:
    """Start the callers, gather what they measured, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--per-s", type=float, default=20.0, help="connections per second of each caller at most")
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    pipes = []
    for _ in range(options.callers):
        out, into = os.pipe()
        if os.fork() == 0:
            os.write(into, json.dumps(call(options, end)).encode())
            os._exit(0)
        os.close(into)
        pipes.append(out)
    connects: list[float] = []
    whole: list[float] = []
    errors = 0
    for out in pipes:
        with os.fdopen(out, "rb") as stream:
            one = json.loads(stream.read())
        connects += one["connects_us"]
        whole += one["whole_us"]
        errors += one["errors"]
    metrics: dict[str, float] = {"app.errors": errors, "app.requests_per_s": len(whole) / options.seconds}
    for name, values in (("app.connect_us", sorted(connects)), ("app.latency_us", sorted(whole))):
        if values:
            metrics[f"{name}.p50"] = values[len(values) // 2]
            metrics[f"{name}.p99"] = values[min(len(values) - 1, len(values) * 99 // 100)]
    os.write(1, (json.dumps({"perfcheck": metrics}) + "\n").encode())


def call(options: argparse.Namespace, end: float) -> dict[str, object]:
    """Connect until the end; return the times of connections that were established and answered."""
    connects: list[float] = []
    whole: list[float] = []
    errors = 0
    while (begun := time.monotonic()) < end:
        try:
            with socket.create_connection((options.host, options.port), timeout=TIMEOUT_S) as connection:
                connects.append((time.monotonic() - begun) * 1e6)
                if connection.recv(1):
                    whole.append((time.monotonic() - begun) * 1e6)
                else:
                    errors += 1
        except OSError:
            errors += 1
        time.sleep(max(0.0, min(begun + 1 / options.per_s, end) - time.monotonic()))
    return {"connects_us": connects, "whole_us": whole, "errors": errors}


if __name__ == "__main__":
    main()

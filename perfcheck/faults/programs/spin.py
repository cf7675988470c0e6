"""Compute in many threads of one process: `spin.py --threads 6 --seconds 4 [--cpu 1]`; hashing holds no lock."""

from __future__ import annotations

import argparse
import hashlib
import os
import threading
import time

BLOCK = bytes(1 << 20)


def main() -> None:
    """Start the threads and wait for their end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--cpu", type=int, default=-1, help="pin to this CPU")
    parser.add_argument("--work", type=int, default=1, help="blocks of 1 MB between two rests")
    parser.add_argument("--rest-ms", type=float, default=0.0)
    options = parser.parse_args()
    if options.cpu >= 0:
        os.sched_setaffinity(0, {options.cpu})
    end = time.monotonic() + options.seconds
    threads = [threading.Thread(target=compute, args=(end, options)) for _ in range(options.threads)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def compute(end: float, options: argparse.Namespace) -> None:
    """Hash and rest in turn until the end."""
    while time.monotonic() < end:
        for _ in range(options.work):
            hashlib.sha256(BLOCK).digest()
        if options.rest_ms:
            time.sleep(options.rest_ms / 1e3)


if __name__ == "__main__":
    main()

"""Change a device's tbf again and again: `gate.py eth1 --open 100mbit --shut 100kbit --open-ms 80 --shut-ms 40`.

While it is shut, packets wait; nobody loses any. So the delay varies although no queue is full. A change gives tbf a
full burst of tokens: the burst is little more than a packet.
"""

from __future__ import annotations

import argparse
import subprocess
import time


def main() -> None:
    """Open and shut until the time is over, and leave it open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device")
    parser.add_argument("--open", default="100mbit")
    parser.add_argument("--shut", default="100kbit")
    parser.add_argument("--open-ms", type=float, default=80.0)
    parser.add_argument("--shut-ms", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        change(options.device, options.shut)
        time.sleep(options.shut_ms / 1e3)
        change(options.device, options.open)
        time.sleep(options.open_ms / 1e3)


def change(device: str, rate: str) -> None:
    """Set the rate of the device's tbf."""
    words = ["tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", rate, "burst", "2kb", "limit", "4mb"]
    subprocess.run(words, check=True, timeout=5)


if __name__ == "__main__":
    main()

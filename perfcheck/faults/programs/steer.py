"""Have another CPU process what this host receives (RPS): `steer.py --cpu 1`, for all its devices.

`--bridge-ports N` also joins eth0 and N devices to a bridge, which copies each broadcast to all of them.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


def main() -> None:
    """Make the bridge, then set the CPUs in a view of /sys that shows this namespace's devices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", type=int, default=1)
    parser.add_argument("--bridge-ports", type=int, default=0)
    options = parser.parse_args()
    if options.bridge_ports:
        bridge(options.bridge_ports)
    libc = ctypes.CDLL(None, use_errno=True)
    checked(libc.unshare(CLONE_NEWNS))
    checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    checked(libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None))
    for queue in Path("/sys/class/net").glob("*/queues/rx-*/rps_cpus"):
        if queue.parts[4] != "lo":
            queue.write_text(f"{1 << options.cpu:x}")


def checked(result: int) -> None:
    """Raise what the C library said."""
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def bridge(ports: int) -> None:
    """Join eth0 to a bridge with so many other ports; the other end of each drops what comes."""
    run("ip", "link", "add", "name", "br0", "type", "bridge")
    run("ip", "link", "set", "dev", "br0", "up")
    for number in range(ports):
        run("ip", "link", "add", "name", f"port{number}", "type", "veth", "peer", "name", f"end{number}")
        run("ip", "link", "set", "dev", f"port{number}", "master", "br0", "up")
        run("ip", "link", "set", "dev", f"end{number}", "up")
    run("ip", "link", "set", "dev", "eth0", "master", "br0")


def run(*words: str) -> None:
    """Run a command; an error ends the program with its message."""
    subprocess.run(words, check=True, timeout=5)


if __name__ == "__main__":
    main()

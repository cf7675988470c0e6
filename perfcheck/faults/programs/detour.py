"""Send a share of the packets another way: `detour.py ADDRESS --in eth0 --every 20`.

Every 20th packet that comes in by eth0 goes to the router at ADDRESS, so packets overtake one another.
"""

from __future__ import annotations

import argparse
import subprocess

TABLE = "77"


def main() -> None:
    """Mark packets by nft and route the marked ones by a table of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--in", dest="device", default="eth0")
    parser.add_argument("--every", type=int, default=20)
    options = parser.parse_args()
    family = ["-6"] if ":" in options.address else []
    run(["ip", *family, "route", "replace", "default", "via", options.address, "table", TABLE])
    run(["ip", *family, "rule", "add", "fwmark", TABLE, "lookup", TABLE, "priority", TABLE])
    run(["nft", "add", "table", "inet", "detour"])
    run(["nft", "add", "chain", "inet", "detour", "pick", "{ type filter hook prerouting priority -150 ; }"])
    every = f"iifname {options.device} numgen random mod {options.every} 0 meta mark set {TABLE}"
    run(["nft", "add", "rule", "inet", "detour", "pick", *every.split()])


def run(words: list[str]) -> None:
    """Run a command; an error ends the program with its message."""
    subprocess.run(words, check=True, timeout=5)


if __name__ == "__main__":
    main()

"""Have every forwarded packet walk through a long list of nft rules that match nothing: `ruleset.py --rules 2000`."""

from __future__ import annotations

import argparse
import subprocess

HOOK = "type filter hook forward priority 0 ;"


def main() -> None:
    """Load one table with the rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=1000)
    options = parser.parse_args()
    rules = "".join(f"ip saddr 203.0.113.{number % 256} counter\n" for number in range(options.rules))
    table = f"table ip heavy {{ chain f {{ {HOOK}\n{rules}}}\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=table.encode(), check=True, timeout=20)


if __name__ == "__main__":
    main()

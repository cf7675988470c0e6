"""Give every route of this host a metric: `route_metric.py cwnd lock 10`, `route_metric.py window 8192`.

Numbers are rounded: metrics are whole.
"""

from __future__ import annotations

import subprocess
import sys


def main() -> None:
    """Add the words to each unicast route of IPv4 and IPv6."""
    metric = [str(round(float(word))) if word[0].isdigit() else word for word in sys.argv[1:]]
    for family in ("-4", "-6"):
        listed = subprocess.run(["ip", family, "route", "show"], check=True, capture_output=True, text=True, timeout=5)
        for line in listed.stdout.splitlines():
            route = [word for word in line.split() if word not in ("linkdown", "dead")]
            subprocess.run(["ip", family, "route", "change", *route, *metric], check=True, timeout=5)


if __name__ == "__main__":
    main()

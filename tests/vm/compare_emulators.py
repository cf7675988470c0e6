"""The same link by netem and by the relay, side by side; for a kernel with netem (a guest is enough).

python tests/vm/guest.py --release 6.12 --timeout 3600 -- \\
    env PYTHONPATH=tests/support .venv/bin/python tests/vm/compare_emulators.py [LINK...]

Takes about 15 minutes. LINK is the number of a link below, from 0; without it, all links run.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, Final

from links_lab import trial, two_hosts

from perfcheck.errors import LabError
from perfcheck.lab.links.netem import NetemEmulator
from perfcheck.lab.links.relay.emulator import RelayEmulator
from perfcheck.model.observation import LinkReport
from perfcheck.model.seams import LinkEmulator

LINKS: Final[tuple[dict[str, Any], ...]] = (
    {"delay": "10ms", "rate": "5mbit", "queue": "30p"},
    {"delay": "10ms", "rate": "20mbit", "queue": "30p"},
    {"delay": "10ms", "rate": "20mbit", "queue": "100kb"},
    {"delay": "10ms", "rate": "40mbit", "queue": "1bdp"},
    {"delay": "25ms", "rate": "10mbit", "queue": "200p", "loss": "1%"},
    {"delay": "10ms", "loss": "1%"},
    {"delay": "10ms", "rate": "20mbit", "queue": {"size": "100p", "discipline": "codel"}},
    {"delay": "10ms", "policer": {"rate": "10mbit", "burst": "64kb"}},
)
RUNS: Final = 5
LOSSY_RUNS: Final = 21
"""With random losses, a few of which a transfer has, one run says little."""
SECONDS: Final = "3"
STARTS: Final = 10


def medians(emulator: LinkEmulator, fields: dict[str, Any]) -> tuple[float, float, float, int]:
    """Return goodput in Mbit/s, mean RTT in ms and retransmissions, medians over runs with seeds of their own.

    The fourth is how many of the runs the emulator itself would not let count.
    """
    goodput, rtt, retransmissions = [], [], []
    invalid = 0
    for run in range(LOSSY_RUNS if "loss" in fields else RUNS):
        ended, reports = one_run(emulator, {**fields, "seed": run + 1})
        invalid += any(report.invalid_reason for report in reports)
        goodput.append(ended["sum_received"]["bits_per_second"] / 1e6)
        rtt.append(ended["streams"][0]["sender"]["mean_rtt"] / 1000)
        retransmissions.append(ended["sum_sent"]["retransmits"])
    return median(goodput), median(rtt), median(retransmissions), invalid


def one_run(emulator: LinkEmulator, fields: dict[str, Any]) -> tuple[dict[str, Any], tuple[LinkReport, ...]]:
    """Make one transfer; again where the link was not what was asked for."""
    for _ in range(STARTS - 1):
        with contextlib.suppress(LabError), two_hosts(emulator, **fields) as hosts:
            return trial(hosts, "-t", SECONDS, "-O", "1", "-C", "cubic")
    with two_hosts(emulator, **fields) as hosts:
        return trial(hosts, "-t", SECONDS, "-O", "1", "-C", "cubic")


def table(wanted: Sequence[int]) -> Iterator[str]:
    """Return the table's lines, of all links or of those with these numbers."""
    emulators: tuple[LinkEmulator, ...] = (NetemEmulator(), RelayEmulator())
    for emulator in emulators:
        emulator.check()
    runs = f"{RUNS} runs ({LOSSY_RUNS} with loss)"
    yield f"Linux {platform.release()}, medians of {runs} of {SECONDS} s after the first second\n"
    yield "| link | emulator | goodput Mbit/s | mean RTT ms | retransmissions | runs that do not count |"
    yield "|---|---|---|---|---|---|"
    for fields in [LINKS[number] for number in wanted] or LINKS:
        link = ", ".join(f"{key} {_words(value)}" for key, value in fields.items())
        for emulator in emulators:
            goodput, rtt, retransmissions, invalid = medians(emulator, fields)
            yield f"| {link} | {emulator.name} | {goodput:.2f} | {rtt:.2f} | {retransmissions:g} | {invalid} |"


def _words(value: str | dict[str, str]) -> str:
    return value if isinstance(value, str) else " ".join(value.values())


def main() -> int:
    """Write the table as it is made."""
    for line in table([int(word) for word in sys.argv[1:]]):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

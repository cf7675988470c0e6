"""Bounds of a scenario: a file beyond them is a mistake, or would keep a machine busy for days."""

from __future__ import annotations

from typing import Final

MAX_HOSTS: Final = 64
MAX_LINKS: Final = 128
MAX_TRAFFIC: Final = 64
MAX_PHASES: Final = 32
MAX_POINTS: Final = 64
"""Combinations of a matrix."""
MAX_CONNECTIONS: Final = 4000
"""Connections of all traffic entries together."""

MAX_SETUP: Final = 256
MAX_SYSCTLS: Final = 256
MAX_ROUTES: Final = 64
"""These three are of all hosts together."""
MAX_SETTINGS: Final = 64
MAX_ADDRESSES: Final = 8
MAX_CPUS: Final = 1024
MAX_CPU: Final = 8191
"""The kernel's own largest number (NR_CPUS)."""
MAX_OWN_METRICS: Final = 64
"""Metrics that one command reports of its own."""
MAX_OPENED: Final = 2_000_000
"""Connections that a trial of `connections` opens one after the other: each has its line in a log in memory."""
MAX_EXPECTED: Final = 400
"""Lines of `expect` and of `tolerance`."""
MAX_TAGS: Final = 32

MAX_COMMAND: Final = 4096
"""Characters of a command."""
MAX_NAME: Final = 64
"""Characters of a tag, and of what the kernel knows by a name."""
MAX_KEY: Final = 200
"""Characters of a sysctl's name, and of a key of the matrix."""
MAX_TEXT: Final = 500
"""Characters of a title, a reference, or a sysctl's or matrix's value."""

MAX_TOTAL_NS: Final = 24 * 3600 * 10**9
"""All runs of a file: its traffic's time, times `repeat`, times the combinations of its matrix."""

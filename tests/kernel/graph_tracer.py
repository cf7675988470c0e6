"""The kernel's own tracer of function graphs: how long each call of one function took, without any BPF."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab_building import need_guest

TRACEFS: Final = Path("/sys/kernel/tracing")
_LEAF: Final = re.compile(r"([\d.]+) us +\| +(\w+)(?: \[\w+\])?\(\)")


@dataclass(kw_only=True)
class Traced:
    """How long each call took, by function; known after the block only."""

    calls_us: dict[str, list[float]] = field(default_factory=dict)


@contextmanager
def traced(*functions: str) -> Iterator[Traced]:
    """Time each call of these functions, none of which calls another, on the whole machine: so only in a guest."""
    need_guest()
    if not (TRACEFS / "current_tracer").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(TRACEFS)], check=True)
    _write("set_ftrace_filter", " ".join(functions))
    _write("current_tracer", "function_graph")
    found = Traced(calls_us={name: [] for name in functions})
    try:
        yield found
        _write("tracing_on", "0")
        for took, name in _LEAF.findall((TRACEFS / "trace").read_text(encoding="ascii", errors="replace")):
            found.calls_us[name].append(float(took))
    finally:
        _write("current_tracer", "nop")
        _write("set_ftrace_filter", "")
        _write("tracing_on", "1")


def _write(name: str, value: str) -> None:
    (TRACEFS / name).write_text(value, encoding="ascii")

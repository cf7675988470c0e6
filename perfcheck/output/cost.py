"""The cost of measuring, in one line below a scenario's results; the record has the figures of each program."""

from __future__ import annotations

from typing import Any

from perfcheck.model.record import RunRecord
from perfcheck.model.units import format_value, plain_number, readable_pct


def cost_lines(record: RunRecord) -> tuple[str, ...]:
    """Return the line; nothing for a record without these figures (one that a fake or an older version made)."""
    cost = record.overhead
    if not {"cpu_pct", "bpf_cpu_s", "user_cpu_s", "rss_bytes", "bpf_map_bytes"} <= cost.keys():
        return ()
    split = f"BPF programs {plain_number(cost['bpf_cpu_s'], 3)} s, user space {plain_number(cost['user_cpu_s'], 3)} s"
    parts = [f"{readable_pct(cost['cpu_pct'], 2)} of one CPU ({split})"]
    if "cpu_pct" in cost.get("at_rest", {}):
        parts.append(f"at rest {readable_pct(cost['at_rest']['cpu_pct'], 2)}")
    memory = f"{_megabytes(cost['rss_bytes'])} resident, {_megabytes(cost['bpf_map_bytes'])} of BPF maps"
    parts += [memory, *_most_expensive(cost.get("programs", {})), f"{record.lost_events} events lost"]
    return (f"measuring: {'; '.join(parts)}",)


def _most_expensive(programs: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    called = {name: one for name, one in programs.items() if "ns_per_call" in one}
    if not called:
        return ()
    name = max(called, key=lambda each: called[each]["run_ns"])
    most = called[name]
    return (f"most expensive program {name}, {most['ns_per_call']:.0f} ns x {format_value(most['calls'], '')} calls",)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else format_value(size, "bytes")

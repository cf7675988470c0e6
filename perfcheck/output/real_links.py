"""Real links as they were measured before the traffic, a line each; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perfcheck.model.record import RunRecord
from perfcheck.model.units import format_value

_REAL = "real"


def real_link_lines(record: RunRecord) -> Iterator[str]:
    """Return what each real link is: nothing of it was asked for, and nothing was changed."""
    for label, made in record.emulators.items():
        proof = made.get("proof") if isinstance(made, Mapping) else None
        if isinstance(proof, Mapping) and proof.get("emulator") == _REAL:
            yield f"{label}: {'; '.join(_parts(proof))}"


def _parts(proof: Mapping[str, Any]) -> Iterator[str]:
    yield f"round trip {_us(proof['rtt_p50_us'])} (min {_us(proof['rtt_min_us'])}, p90 {_us(proof['rtt_p90_us'])})"
    yield f"{proof['lost']} of {proof['sent']} datagrams lost"
    yield f"MTU {proof['mtu']}" + ("" if proof["mtu_passes"] else ", but packets of that size do not pass")
    if proof.get("speed_mbit") is not None:
        yield f"{format_value(1e6 * float(proof['speed_mbit']), 'bps')} by its driver"
    for way in proof["ways"]:
        rate = "" if way.get("rate_bps") is None else f", one connection {format_value(way['rate_bps'], 'bps')}"
        yield f"{way['way']} {_us(way['one_way_us'])} +- {_us(way['one_way_error_us'])} one way{rate}"
    yield f"clocks {_us(proof['clock_offset_us'])} +- {_us(proof['clock_error_us'])} apart"


def _us(value: float) -> str:
    return format_value(float(value), "us")

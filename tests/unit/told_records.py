"""Records of events, written down as bpf/events.bpf.c would tell them."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import numpy.typing as npt

from perfcheck.model.event import EventCount, EventKind, EventStream, ListenOverflow

ADDRESS = np.dtype([("high", "u8"), ("low", "u8")])
TOLD = np.dtype(
    [
        ("ns", "u8"), ("flow", "u8"), ("source", ADDRESS), ("target", ADDRESS), ("source_port", "u2"),
        ("target_port", "u2"), ("ordinal", "u4"), ("seq", "u4"), ("length", "u4"), ("value", "u4"), ("before", "u4"),
        ("srtt_us", "u4"), ("cwnd_segs", "u4"), ("inflight_segs", "u4"), ("pid", "u4"), ("ifindex", "u4"),
        ("segments", "u2"), ("cpu", "u2"), ("host", "u1"), ("kind", "u1"), ("protocol", "u1"), ("tcp_flags", "u1"),
        ("comm", "S1", (16,)),
    ],
    align=True,
)  # fmt: skip
BUCKET = np.dtype([("next_ns", "u8"), ("seen", "u4"), ("told", "u4"), ("no_room", "u4"), ("spare", "u4", (11,))])
CLIENT, SERVER = 1, 2
TO_SERVER, TO_CLIENT = 11, 22
"""Hashes of the two directions of the flow."""
ENDS = {TO_SERVER: ("198.18.0.1", 4000, "198.18.0.2", 80), TO_CLIENT: ("198.18.0.2", 80, "198.18.0.1", 4000)}
START_NS = 5_000_000_000_000
MS = 1_000_000


def halves(text: str) -> tuple[int, int]:
    """Return an address as `struct pc_address`."""
    raw = ipaddress.ip_address(text).packed
    if len(raw) == 4:
        return 0, int.from_bytes(raw, "little")
    return int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")


def told(kind: EventKind, at_ms: float, host: int = CLIENT, flow: int = TO_SERVER, **values: Any) -> npt.NDArray[Any]:
    """Return one record, of the flow in that direction (0: of none)."""
    record = np.zeros(1, TOLD)
    record["ns"], record["kind"], record["host"] = START_NS + round(at_ms * MS), kind, host
    if flow:
        source, source_port, target, target_port = ENDS[flow]
        record["flow"], record["protocol"] = flow, 6
        record["source"], record["target"] = halves(source), halves(target)
        record["source_port"], record["target_port"] = source_port, target_port
    for name, value in values.items():
        record[name] = [value[place : place + 1] for place in range(16)] if name == "comm" else value
    return record


def stream(*records: npt.NDArray[Any], overflows: tuple[ListenOverflow, ...] = ()) -> EventStream:
    """Return a trial's stream of these records, each the next of its kind and CPU unless it says otherwise."""
    together = np.concatenate(records) if records else np.zeros(0, TOLD)
    together = together[np.argsort(together["ns"], kind="stable")]
    kinds, counts = np.unique(together["kind"], return_counts=True)
    numbers = zip(kinds.tolist(), counts.tolist(), strict=True)
    found = {EventKind(kind): EventCount(seen=count, told=count) for kind, count in numbers}
    return EventStream(
        records=together, hosts=("client", "server"), start_ns=START_NS, counts=found, overflows=overflows,
        reasons={7: "NETFILTER_DROP", 8: "QDISC_OVERLIMIT"},
        drop_metrics={7: "ip.drops_netfilter", 8: "qdisc.drops_full"},
    )  # fmt: skip

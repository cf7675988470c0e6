"""A flow whose every packet's way is known, written down as detail mode's records would tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.flow import FlowKey, Protocol

RECORD = np.dtype(
    [("ns", "u8"), ("flow", "u8"), ("seq", "u4"), ("length", "u4"), ("lot", "u4"), ("value", "u4"), ("sent_ns", "u8"),
     ("ifindex", "u4"), ("id", "u2"), ("segments", "u2"), ("cpu", "u2"), ("host", "u1"), ("kind", "u1"),
     ("protocol", "u1"), ("tcp_flags", "u1"), ("spare", "u2")]
)  # fmt: skip
CLIENT, SERVER = 1, 2
FLOW = 0xABCDEF
KEY = FlowKey(
    protocol=Protocol.TCP, host="client", local="198.18.0.1", local_port=4000, remote="198.18.0.2", remote_port=80
)
MSS = 1000
START_NS = 5_000_000_000_000
STEP_NS = 1000
"""From one station to the next inside a host."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One transmission of segment `number`, and when it arrived (0: lost)."""

    number: int
    ns: int
    arrived_ns: int


@dataclass
class Flow:
    """Segments of MSS bytes from `base` on, sent one a `gap_ns`, over a wire of `delay_ns`."""

    base: int
    delay_ns: int
    gap_ns: int = 10_000
    records: list[tuple[int, ...]] = field(default_factory=list)
    sendings: list[Sending] = field(default_factory=list)

    def add(
        self,
        kind: Kind,
        ns: int,
        host: int,
        seq: int,
        length: int,
        *,
        sent_ns: int = 0,
        value: int = 0,
        flow: int = FLOW,
    ) -> None:
        self.records.append(
            (ns, flow, (self.base + seq) % 2**32, length, 0, value, sent_ns, 0, 0, 1, 0, host, kind, 6, 0, 0)
        )

    def transmit(self, number: int, ns: int, lost: bool, extra_ns: int = 0) -> None:
        """Send a segment: queue, driver, and the wire unless it is lost there."""
        self.add(Kind.TX_QUEUE, ns - STEP_NS, CLIENT, number * MSS, MSS, sent_ns=ns - 2 * STEP_NS)
        self.add(Kind.TX_NIC, ns, CLIENT, number * MSS, MSS, value=300)
        arrived = 0 if lost else ns + self.delay_ns + extra_ns
        self.sendings.append(Sending(number, ns, arrived))

    def run(self, losses: Sequence[bool], resend_ns: int, merged: int) -> None:
        """Send a segment for each of `losses`; what is lost is sent again `resend_ns` later and arrives."""
        for number, lost in enumerate(losses):
            self.add(Kind.WRITE, START_NS + number * self.gap_ns - 4 * STEP_NS, CLIENT, number * MSS, MSS)
            self.transmit(number, START_NS + number * self.gap_ns, lost)
        for sending in [one for one in self.sendings if not one.arrived_ns]:
            self.transmit(sending.number, sending.ns + resend_ns, lost=False)
        self.receive(merged)

    def receive(self, merged: int) -> None:
        """Let the server take what arrives, `merged` neighbours at once; in order it becomes ready and is read."""
        arrivals = sorted((one for one in self.sendings if one.arrived_ns), key=lambda one: one.arrived_ns)
        have: set[int] = set()
        ready = 0
        for place in range(0, len(arrivals), merged):
            group = arrivals[place : place + merged]
            for one in group:
                self.add(Kind.RX_NIC, one.arrived_ns, SERVER, one.number * MSS, MSS)
            now = group[-1].arrived_ns + STEP_NS
            for first, length in _runs([one.number for one in group]):
                self.add(Kind.RX_IP, now, SERVER, first * MSS, length * MSS)
                self.add(Kind.RX_TCP, now + STEP_NS, SERVER, first * MSS, length * MSS)
            have |= {one.number for one in group}
            before = ready
            while ready in have:
                ready += 1
            if ready != before:
                self.add(Kind.READY, now + 2 * STEP_NS, SERVER, ready * MSS, (ready - before) * MSS)
                self.add(Kind.READ, now + 3 * STEP_NS, SERVER, ready * MSS, (ready - before) * MSS)

    def stream(self, *, share: float = 1.0, lost: int = 0) -> DetailStream:
        """Return the records in the order of time."""
        events = np.array(self.records, RECORD)
        events = events[np.argsort(events["ns"], kind="stable")]
        return DetailStream(
            events=events, hosts=("client", "server"), flows={FLOW: KEY}, start_ns=START_NS - 1, end_ns=2**62,
            share=share, lost=lost, written=len(events),
        )  # fmt: skip


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours in order go together, as GRO has them."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs

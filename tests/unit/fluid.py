"""A fluid model of flows over links: what generators and TCP would report of them, for metrics that must add up.

Hosts `a`, `b` and `c` stand in a row. In each step of time every link direction is shared fairly by the flows that
cross it. Nothing is lost and nothing waits, so no bit arrives that a link did not carry in that very step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from perfcheck.model.flow import TcpSocket
from perfcheck.model.observation import Observation, TrafficReport
from perfcheck.model.scenario import Iperf3Spec, Scenario
from perfcheck.testing import make_flow_report, make_scenario, make_tcp_socket
from perfcheck.traffic import http
from perfcheck.traffic.iperf3_json import Document
from perfcheck.traffic.iperf3_report import Roles, Run, build_report
from perfcheck.traffic.requests import Answered, arrivals, request_metrics, timed

S: Final = 10**9
STEP_NS: Final = 20_000_000
PER_INTERVAL: Final = 5
SETUP_NS: Final = 60_000_000
AFTER_NS: Final = 40_000_000
HOSTS: Final = "abc"
ADDRESSES: Final = {"a": "198.18.0.1", "b": "198.18.0.2", "c": "198.18.1.2"}
EPOCH_NS: Final = 1_000 * S


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One entry of traffic; `limit_bytes` ends it before `steps` are over, `cap_bps` is what it offers at most."""

    generator: str
    source: str
    target: str
    start_step: int
    steps: int
    reverse: bool = False
    protocol: str = "tcp"
    cap_bps: float = float("inf")
    limit_bytes: float = float("inf")
    background: bool = False

    @property
    def data(self) -> tuple[str, str]:
        """Hosts that the data go from and to; answers of `http` come from the host that is asked."""
        turned = self.reverse or self.generator == "http"
        return (self.target, self.source) if turned else (self.source, self.target)

    @property
    def crossed(self) -> list[tuple[int, str]]:
        """The directions of links that the data cross."""
        here, there = (HOSTS.index(host) for host in self.data)
        if here < there:
            return [(link, "forward") for link in range(here, there)]
        return [(link, "reverse") for link in range(there, here)]

    def entry(self) -> dict[str, Any]:
        """The entry as a scenario file has it."""
        ends = {"from": self.source, "to": self.target, "background": self.background}
        if self.generator == "command":
            server = {"host": self.target, "run": "serve", "port": 80}
            return {"command": {"host": self.source, "run": "ask", "server": server, "background": self.background}}
        if self.generator == "iperf3":
            return {"iperf3": {**ends, "protocol": self.protocol, "reverse": self.reverse, "duration": "1s"}}
        return {self.generator: ends}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Two links in a row (rates forward and reverse), flows, a warm-up, and the bits that each flow moved a step."""

    rates_bps: tuple[tuple[int, int], tuple[int, int]]
    flows: tuple[Flow, ...]
    warmup_steps: int
    moved: np.ndarray[Any, np.dtype[np.float64]] = field(default_factory=lambda: np.zeros((0, 0)))

    def rate(self, direction: tuple[int, str]) -> int:
        """Rate of a direction of a link."""
        return self.rates_bps[direction[0]][direction[1] == "reverse"]

    def scenario(self) -> Scenario:
        """The scenario of this world."""
        links = [
            {"between": list(HOSTS[index : index + 2]), "delay": "1ms", "forward": {"rate": f"{forward}bit"},
             "reverse": {"rate": f"{reverse}bit"}}
            for index, (forward, reverse) in enumerate(self.rates_bps)
        ]  # fmt: skip
        return make_scenario(
            hosts={host: {"router": host == "b"} for host in HOSTS}, links=links,
            traffic=[flow.entry() for flow in self.flows], warmup_ns=self.warmup_steps * STEP_NS,
        )  # fmt: skip

    def run(self) -> World:
        """Return the world with what each flow moved."""
        steps = max(flow.start_step + flow.steps for flow in self.flows)
        moved = np.zeros((len(self.flows), steps))
        left = [8 * flow.limit_bytes for flow in self.flows]
        known: dict[frozenset[int], dict[int, float]] = {}
        for step in range(steps):
            active = frozenset(
                index for index, flow in enumerate(self.flows)
                if flow.start_step <= step < flow.start_step + flow.steps and left[index] > 0
            )  # fmt: skip
            if active not in known:
                known[active] = self._shares({index: self.flows[index] for index in active})
            for index, rate_bps in known[active].items():
                moved[index, step] = min(rate_bps * STEP_NS / S, left[index])
                left[index] -= moved[index, step]
        return World(rates_bps=self.rates_bps, flows=self.flows, warmup_steps=self.warmup_steps, moved=moved)

    def _shares(self, active: dict[int, Flow]) -> dict[int, float]:
        """Max-min fair shares: the tightest direction settles its flows first."""
        left = {each: float(self.rate(each)) for flow in active.values() for each in flow.crossed}
        shares: dict[int, float] = {}
        waiting = dict(active)
        while waiting:
            offers = {
                index: min(flow.cap_bps, *(
                    left[each] / sum(each in other.crossed for other in waiting.values()) for each in flow.crossed
                ))
                for index, flow in waiting.items()
            }  # fmt: skip
            index = min(offers, key=lambda number: offers[number])
            shares[index] = offers[index]
            for each in waiting.pop(index).crossed:
                left[each] -= offers[index]
        return shares

    def reports(self) -> list[TrafficReport]:
        """What the generators would report, by the code that reads their output."""
        return [self._report(index, flow) for index, flow in enumerate(self.flows)]

    def observation(self, collector: str = "tcp") -> Observation:
        """What the collector of TCP would have seen."""
        return Observation(collector=collector, tcp_sockets=tuple(self._sockets()))

    def _bytes(self, index: int) -> list[int]:
        """Whole bytes a step, in no stretch of steps more than were moved: what is left of a byte is not carried on."""
        return [int(each) for each in np.floor(self.moved[index] / 8)]

    def _last_step(self, index: int) -> int:
        flow = self.flows[index]
        moving = np.flatnonzero(self.moved[index])
        limited = flow.limit_bytes != float("inf") and len(moving)
        return int(moving[-1]) + 1 if limited else flow.start_step + flow.steps

    def _report(self, index: int, flow: Flow) -> TrafficReport:
        if flow.generator == "iperf3":
            return self._iperf3(index, flow)
        if flow.generator == "command":
            begin_ns, end_ns = (EPOCH_NS + step * STEP_NS for step in (flow.start_step, self._last_step(index)))
            rate = 8 * sum(self._bytes(index)) * S / (end_ns - begin_ns)
            return TrafficReport(
                generator="command", flows=(), metrics={"app.throughput_bps": rate}, start_ns=begin_ns, end_ns=end_ns,
                background=flow.background,
            )  # fmt: skip
        return self._requests(index, flow)

    def _iperf3(self, index: int, flow: Flow) -> TrafficReport:
        amounts = self._bytes(index)[flow.start_step : self._last_step(index)]
        intervals = []
        for first in range(0, len(amounts), PER_INTERVAL):
            part = amounts[first : first + PER_INTERVAL]
            stream = {"socket": 5, "start": first * STEP_NS / S, "end": (first + len(part)) * STEP_NS / S,
                      "bytes": sum(part), "packets": len(part), "lost_packets": 0, "jitter_ms": 0.1}  # fmt: skip
            intervals.append({"streams": [stream]})
        spec = Iperf3Spec.model_validate(flow.entry()["iperf3"])
        connected = {"socket": 5, "local_host": ADDRESSES[flow.source], "local_port": 40_000 + index,
                     "remote_host": ADDRESSES[flow.target], "remote_port": 5201 + index}  # fmt: skip
        served = {"socket": 5, "local_host": ADDRESSES[flow.target], "local_port": 5201 + index,
                  "remote_host": ADDRESSES[flow.source], "remote_port": 40_000 + index}  # fmt: skip
        end = {"streams": [{"sender": {"socket": 5, "bytes": sum(amounts)}}]}
        client, server = (
            Document.model_validate({"start": {"connected": [ends]}, "intervals": intervals, "end": end})
            for ends in (connected, served)
        )
        begin_ns = EPOCH_NS + flow.start_step * STEP_NS
        run = Run(
            spec=spec, roles=Roles.of(spec), client=client, server=server, start_ns=begin_ns - SETUP_NS,
            end_ns=begin_ns + len(amounts) * STEP_NS + AFTER_NS,
        )  # fmt: skip
        return build_report(run, 0 if flow.background else self.warmup_steps * STEP_NS)

    def _requests(self, index: int, flow: Flow) -> TrafficReport:
        """An answer at the end of each step in which bytes moved, of equal size: the fewest bytes of any."""
        steps = range(flow.start_step, self._last_step(index))
        amounts = self._bytes(index)
        size_bytes = min((amounts[step] for step in steps), default=0)
        answered = Answered(
            sent_us=np.array([step * STEP_NS / 1000 for step in steps]),
            latency_us=np.full(len(steps), STEP_NS / 1000),
        )
        warmup_us = 0.0 if flow.background else self.warmup_steps * STEP_NS / 1000
        begin_ns = EPOCH_NS + flow.start_step * STEP_NS
        if flow.generator == "http":
            metrics = http.measured(answered, warmup_us, size_bytes)
            arrived, measured_ns = arrivals(answered, warmup_us, begin_ns, size_bytes)
        else:
            metrics = request_metrics(answered, warmup_us)
            arrived, measured_ns = arrivals(answered, warmup_us, begin_ns)
        return TrafficReport(
            generator=flow.generator, flows=(), metrics=metrics, start_ns=begin_ns,
            end_ns=begin_ns + len(steps) * STEP_NS + AFTER_NS, background=flow.background, arrivals=arrived,
            measured_ns=measured_ns,
            requests=timed(answered, begin_ns, size_bytes if flow.generator == "http" else 0),
        )  # fmt: skip

    def _sockets(self) -> Sequence[TcpSocket]:
        found = []
        for index, flow in enumerate(self.flows):
            if flow.generator != "iperf3" or flow.protocol != "tcp":
                continue
            here, there = flow.data
            forward = (here, there) == (flow.source, flow.target)
            ports = (40_000 + index, 5201 + index) if forward else (5201 + index, 40_000 + index)
            ends = make_flow_report(
                here, there, sender_address=ADDRESSES[here], receiver_address=ADDRESSES[there], sender_port=ports[0],
                receiver_port=ports[1],
            )  # fmt: skip
            found += [self._sender(index, flow, ends.sender), self._receiver(index, flow, ends.receiver)]
        return found

    def _times(self, index: int, flow: Flow) -> dict[str, Any]:
        begin_ns, end_ns = (EPOCH_NS + step * STEP_NS for step in (flow.start_step, self._last_step(index)))
        first_ns = begin_ns + self.warmup_steps * STEP_NS
        first_ns = first_ns if first_ns < end_ns else 0
        return {"established_ns": begin_ns, "first_ns": first_ns, "last_ns": end_ns if first_ns else 0}

    def _sender(self, index: int, flow: Flow, key: Any) -> TcpSocket:
        amounts, times = self._bytes(index), self._times(index, flow)
        acked = sum(amounts[flow.start_step + self.warmup_steps :]) if times["first_ns"] else 0
        elapsed_us = (times["last_ns"] - times["first_ns"]) // 1000
        # Jiffies are added up whole: the chronos come out longer than a short time.
        counters = {
            "bytes_acked": acked, "elapsed_us": elapsed_us, "busy_us": elapsed_us + 8000,
            "rwnd_limited_us": elapsed_us // 2 + 4000, "sndbuf_limited_us": elapsed_us // 2 + 4000,
            "retrans_segs": 3, "data_segs_out": 2, "lost_segs": 4, "delivered_segs": 2, "delivered_ce_segs": 1,
            "state_open_us": elapsed_us, "state_disorder_us": 0, "state_cwr_us": 0, "state_recovery_us": 900,
            "state_loss_us": 0, "resets": 0,
        }  # fmt: skip
        gauges = {"min_rtt_us": 2000.0, "pacing_rate_bps": float(self.rate(flow.crossed[0]))}
        return make_tcp_socket(
            key, counters=counters if times["first_ns"] else dict.fromkeys(counters, 0), gauges=gauges,
            whole_bytes_acked=sum(amounts), **times,
        )  # fmt: skip

    def _receiver(self, index: int, flow: Flow, key: Any) -> TcpSocket:
        counters = {"resets": 0, "ooo_segs": 0}
        return make_tcp_socket(
            key, counters=counters, gauges={}, whole_bytes_acked=0, whole_bytes_received=sum(self._bytes(index)),
            **self._times(index, flow),
        )  # fmt: skip

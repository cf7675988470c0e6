"""Checks in each trial that no figure exceeds what the path, the time or the whole allows; pure functions.

A figure beyond its bound is a mistake of the measurement. It is shown as a disagreeing cross-check. It does not
decide whether the trial counts, because that must not depend on what was measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from perfcheck.analyse.spans import length_ns
from perfcheck.analyse.together import received
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import Metrics
from perfcheck.model.observation import LinkReport, TrafficReport
from perfcheck.model.record import CrossCheck
from perfcheck.model.scenario import Scenario, TrafficSpec
from perfcheck.model.topology import TrafficPath, data_path, highest_rates

THROUGHPUT: Final = "app.throughput_bps"
PCT: Final = 1.0
"""Clocks of two processes, and edges of intervals."""
_ROUNDING: Final = 1e-6
_Direction = tuple[int, str]
_WHOLES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("tcp.limited_*_pct", tuple(f"tcp.limited_{name}_pct" for name in ("rwnd", "sndbuf", "cwnd", "app"))),
    ("tcp.state_*_pct", tuple(f"tcp.state_{name}_pct" for name in ("open", "disorder", "cwr", "recovery", "loss"))),
)
"""Shares of one whole."""
_PARTS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("tcp.retrans_fast_segs", "tcp.retrans_rto_segs", "tcp.retrans_tlp_segs"), "tcp.retrans_segs"),
    (("tcp.data_segs_out",), "tcp.segs_out"),
    (("tcp.resets",), "tcp.connections"),
)
"""Counts that are parts of another count."""


def bound_checks(
    trial: int,
    scenario: Scenario,
    reports: Sequence[TrafficReport],
    metrics: Metrics,
    links: Sequence[LinkReport] = (),
    *,
    cpus: int,
) -> Iterator[CrossCheck]:
    """Compare a trial's figures with their bounds; `reports` are in the order of the scenario's traffic.

    Each check's `theirs` is the bound, and it agrees where ours is not above it. What is below 0 disagrees with 0.
    """
    yield from _of_links(trial, scenario, reports, links)
    yield from _of_tcp(trial, scenario, reports, metrics, links)
    yield from _of_signs(trial, metrics)
    yield from _of_shares(trial, scenario, metrics)
    yield from _of_parts(trial, metrics)
    hosts_pct = [metrics[name] for name in ("cpu.busy_pct", "cpu.emulator_busy_pct") if name in metrics]
    if hosts_pct:
        yield _check("cpu.busy_pct", trial, sum(hosts_pct), 100.0 * cpus, f"the time of {cpus} CPUs")


def _check(name: str, trial: int, ours: float, most: float, source: str, slack: float = 0.0) -> CrossCheck:
    return CrossCheck(
        name=name, trial=trial, ours=ours, theirs=most, source=source, tolerance_pct=PCT,
        agrees=ours <= most * (1 + PCT / 100) + slack,
    )  # fmt: skip


def _of_links(
    trial: int, scenario: Scenario, reports: Sequence[TrafficReport], links: Sequence[LinkReport]
) -> Iterator[CrossCheck]:
    """Compare what crossed each direction of a link, background traffic included, with the most that it carries."""
    rates = highest_rates(scenario)
    crossing: dict[_Direction, list[TrafficReport]] = defaultdict(list)
    for spec, report in zip(scenario.traffic, reports, strict=False):
        path = _data_path(scenario, spec)
        for hop in () if path is None else path.hops:
            crossing[hop.link, hop.directions[0]].append(report)
    for direction in sorted(crossing.keys() & rates.keys()):
        having = [each for each in crossing[direction] if _is_measured(each)]
        others = [each for each in crossing[direction] if not _is_measured(each)]
        found = received(THROUGHPUT, having, others)
        if not found.spans:
            continue
        source, target = scenario.links[direction[0]].between[:: 1 if direction[1] == "forward" else -1]
        yield _check(
            f"{THROUGHPUT}@{source}>{target}", trial, found.per_s, rates[direction],
            f"the rate of links[{direction[0]}], {direction[1]}",
            _held_bits(scenario, {direction}, links) * 1e9 / length_ns(found.spans),
        )  # fmt: skip


def _is_measured(report: TrafficReport) -> bool:
    return not report.background and THROUGHPUT in report.metrics


def _data_path(scenario: Scenario, spec: TrafficSpec) -> TrafficPath | None:
    """Return the path of the bytes that count; None for a command, whose data may take any path."""
    if spec.iperf3 is not None:
        here, there = spec.iperf3.from_host, spec.iperf3.to_host
        return data_path(scenario, there, here) if spec.iperf3.reverse else data_path(scenario, here, there)
    if spec.load is not None and not spec.load.answered:
        return data_path(scenario, spec.load.from_host, spec.load.to_host)
    if spec.http is not None:
        return data_path(scenario, spec.http.to_host, spec.http.from_host)
    return None


def _held_bits(scenario: Scenario, directions: set[_Direction], links: Sequence[LinkReport]) -> float:
    """Return what the path, and a receiver that waits for a lost segment, can hold from before the time begins.

    That is a round trip's worth, with the queue and the bucket of a policer.
    """
    rates, held = highest_rates(scenario), 0.0
    rtt_ns = sum(link.rtt_ns() for link in scenario.links)
    for direction in directions:
        queued = max((each.max_queue_bytes for each in links if (each.link, each.way) == direction), default=0)
        policer = scenario.links[direction[0]].direction(direction[1]).policer
        held += rates.get(direction, 0) * rtt_ns / 1e9 + 8 * queued + 8 * (policer.burst_bytes if policer else 0)
    return held


def _of_tcp(
    trial: int, scenario: Scenario, reports: Sequence[TrafficReport], metrics: Metrics, links: Sequence[LinkReport]
) -> Iterator[CrossCheck]:
    """Compare what TCP delivered with the rate of the path, which is known where there is a share of it."""
    used_pct, rate_bps = metrics.get("tcp.bdp_use_pct", 0.0), metrics.get("tcp.delivery_rate_bps", 0.0)
    seconds = (max(each.end_ns for each in reports) - min(each.start_ns for each in reports)) / 1e9 if reports else 0.0
    seconds -= scenario.warmup_ns / 1e9
    if used_pct and seconds > 0:
        held_bps = _held_bits(scenario, set(highest_rates(scenario)), links) / seconds
        source = "the rate of the paths together"
        yield _check("tcp.delivery_rate_bps", trial, rate_bps, 100 * rate_bps / used_pct, source, held_bps)


def _of_shares(trial: int, scenario: Scenario, metrics: Metrics) -> Iterator[CrossCheck]:
    """Compare each metric that has a largest possible value with it: all that are above it, or the nearest one."""
    bounded = [(value / most, name, value, most) for name, value, most in _bounded(scenario, metrics)]
    beyond = [one for one in bounded if one[0] > 1 + _ROUNDING]
    for _, name, value, most in beyond or sorted(bounded)[-1:]:
        yield CrossCheck(
            name=name, trial=trial, ours=value, theirs=most, source="its largest possible value",
            tolerance_pct=0.0, agrees=not beyond,
        )  # fmt: skip


def _of_signs(trial: int, metrics: Metrics) -> Iterator[CrossCheck]:
    """Tell what is below 0: no metric of the catalogue can be."""
    for name, value in metrics.items():
        if value < 0:
            yield CrossCheck(
                name=name, trial=trial, ours=value, theirs=0.0, source="its smallest possible value", tolerance_pct=0.0,
                agrees=False,
            )  # fmt: skip


def _bounded(scenario: Scenario, metrics: Metrics) -> Iterator[tuple[str, float, float]]:
    known = catalogue_of(scenario)
    for name, value in metrics.items():
        most = known[name].most if name in known else None
        if most:
            yield name, value, most


def _of_parts(trial: int, metrics: Mapping[str, float]) -> Iterator[CrossCheck]:
    for label, names in _WHOLES:
        parts = [metrics[name] for name in names if name in metrics]
        if parts:
            yield _check(label, trial, sum(parts), 100.0, "the whole time, in %")
    for names, whole in _PARTS:
        parts = [metrics[name] for name in names if name in metrics]
        if len(parts) == len(names) and whole in metrics:
            yield _check(" + ".join(names), trial, sum(parts), metrics[whole], whole)

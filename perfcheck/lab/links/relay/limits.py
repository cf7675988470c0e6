"""What the relay can carry, and when a trial through it does not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perfcheck.lab.links.impair.varying import OPPORTUNITY_BYTES
from perfcheck.lab.links.trace import read_trace
from perfcheck.model.link import LinkDirection, LinkSpec
from perfcheck.model.trace import Trace
from perfcheck.model.units import format_value

MAX_SINGLE_BPS: Final = 500_000_000
"""Each packet costs the relay about 12 us with its ACK; 500 Mbit/s of full frames take 0.9 of a core."""
EASY_SINGLE_BPS: Final = 300_000_000
"""Above this rate super-packets, where they do: on two CPUs they halved the relay's use and its p99 lateness."""
MAX_RATE_BPS: Final = 1_000_000_000
"""Super-packets carry more, but a link that is much faster would be the machine's, not the file's."""
MIN_DELAY_NS: Final = 200_000
"""Frames leave about 0.1 ms after their due time by the median, which would be half of a shorter delay."""
LATENESS_BUDGETS: Final = (("p50", 250.0, 0.02), ("p99", 5000.0, 0.5))
"""Percentile, us and share of the delay: a trial is spoilt by being later than the larger of the two.

The median moves every figure, so little is allowed. The p99 is that of a virtual machine whose host takes its
processors away for milliseconds; beyond it the tails that a trial shows are the machine's, not the path's.
"""


def floor(link: LinkSpec) -> str | None:
    """Say why the relay cannot carry this link, or None where it can."""
    fast = _fastest_bps(link) > MAX_SINGLE_BPS
    for direction in link.directions:
        problem = next((text for moment in direction.moments() if (text := _problem(moment))), None)
        problem = problem or (_fast_problem(direction) if fast else None)
        if problem is None and direction.trace is not None:
            problem = _trace_problem(direction.trace)
        if problem is not None:
            return f"{direction.name}: {problem}"
    return None


def _problem(direction: LinkDirection) -> str | None:
    return _rate_problem(direction.rate_bps) or _delay_problem(direction) or _policer_problem(direction)


def takes_super_packets(link: LinkSpec) -> bool:
    """Whether the link is carried in super-packets: it is fast, and nothing needs its packets one by one."""
    if _fastest_bps(link) <= EASY_SINGLE_BPS:
        return False
    return not any(_single_packet_keys(direction) for direction in link.directions)


def _fastest_bps(link: LinkSpec) -> int:
    return max(moment.rate_bps or 0 for direction in link.directions for moment in direction.moments())


def _single_packet_keys(direction: LinkDirection) -> list[str]:
    values = {"jitter": direction.jitter_ns, "reorder": direction.reorder_pct, "duplicate": direction.duplicate_pct,
              "corrupt": direction.corrupt_pct, "ecn": direction.ecn, "trace": direction.trace,
              "schedule": direction.schedule, "policer": direction.policer,
              "discipline: codel": direction.codel}  # fmt: skip
    return [name for name, value in values.items() if value]


def _rate_problem(rate_bps: int | None) -> str | None:
    if rate_bps is None or rate_bps <= MAX_RATE_BPS:
        return None
    most = format_value(MAX_RATE_BPS, "bps")
    return f"rate {format_value(rate_bps, 'bps')} is more than the relay supports ({most})"


def _delay_problem(direction: LinkDirection) -> str | None:
    if direction.delay_ns == 0 or direction.delay_ns >= MIN_DELAY_NS:
        return None
    delay, least = (format_value(delay_ns, "ns") for delay_ns in (direction.delay_ns, MIN_DELAY_NS))
    return f"delay {delay} is shorter than the relay supports ({least}); remove it for no delay"


def _policer_problem(direction: LinkDirection) -> str | None:
    if direction.policer is None or direction.policer.rate_bps <= MAX_SINGLE_BPS:
        return None
    most = format_value(MAX_SINGLE_BPS, "bps")
    return f"policer: rate {format_value(direction.policer.rate_bps, 'bps')} is more than the relay supports ({most})"


def _fast_problem(direction: LinkDirection) -> str | None:
    asked = _single_packet_keys(direction)
    if not asked:
        return None
    most = format_value(MAX_SINGLE_BPS, "bps")
    return (
        f"{', '.join(asked)} on a link faster than {most}: above that rate the relay does not handle packets one by one"
    )


def _trace_problem(asked: Trace) -> str | None:
    try:
        trace = read_trace(asked)
    except ValueError as wrong:
        return f"trace: {wrong}"
    fastest = max(trace.get("rate", {}).get("bps", [0]))
    if "opportunities" in trace:
        times = trace["opportunities"]
        fastest = len(times["at_ns"]) * OPPORTUNITY_BYTES * 8 * 10**9 // times["repeat_ns"]
    if fastest > MAX_SINGLE_BPS:
        most = format_value(MAX_SINGLE_BPS, "bps")
        return f"trace: {asked.name!r} has a rate above the limit of the relay for single packets ({most})"
    return None


def invalid_reason(counts: Mapping[str, Any], delay_ns: int) -> str | None:
    """Say why one direction's trial does not count, or None where it does; `counts` is the process's report."""
    if counts["device_tx_dropped"]:
        return f"{counts['device_tx_dropped']} packets were dropped before the relay could read them"
    if counts["oversize"]:
        return f"{counts['oversize']} packets larger than the MTU crossed, so impairments hit several packets at once"
    for side, device, own in (("into", "device_sent", "frames_in"), ("out of", "device_received", "frames_out")):
        if counts[device] != counts[own]:
            return f"the kernel counted {counts[device]} frames {side} the relay, the relay {counts[own]}"
    allowed_us = 0.0
    for percentile, budget_us, share in LATENESS_BUDGETS:
        late_us = counts["lateness_us"][percentile]
        allowed_us = max(budget_us, share * delay_ns / 1000)
        if late_us > allowed_us:
            return (
                f"the relay released packets {late_us:.0f} us late ({percentile}), more than the"
                f" {allowed_us:.0f} us that are allowed: the machine is too busy for this link"
            )
    # Packets that wait unread are late, too, and no release can show it.
    if counts["late_read_p99_us"] > allowed_us:
        return (
            f"the relay read packets {counts['late_read_p99_us']:.0f} us late (p99), more than the {allowed_us:.0f} us"
            " that are allowed: it had to wait for the CPU"
        )
    return None

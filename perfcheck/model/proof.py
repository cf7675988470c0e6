"""What the probe before a run measured on a link, next to what the file asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionProof:
    """One direction: asked and measured; None where the file asks for nothing or the probe could not tell.

    `delay_*` hold what is asked (the time on the line of the probe's packet included) and the
    median, smallest and 90th percentile measured. `lost` of `sent` small packets did not arrive.
    Of those that arrived, `reordered` overtook others and `duplicated` came twice; `delay_*` are the others'.
    `rate_bps` was measured over `rate_over_us`; `queue_us` is the longest wait behind a full queue.
    Of `policed_sent` packets a policer as asked lets `policed_asked` pass; `policed_passed` arrived.
    """

    way: str
    delay_asked_us: float
    delay_p50_us: float
    delay_min_us: float
    delay_p90_us: float
    jitter_asked_us: float
    sent: int
    lost: int
    loss_asked_pct: float
    rate_asked_bps: float | None = None
    rate_bps: float | None = None
    rate_over_us: float = 0.0
    queue_asked_us: float | None = None
    queue_us: float | None = None
    reorder_asked_pct: float = 0.0
    reordered: int | None = 0
    duplicate_asked_pct: float = 0.0
    duplicated: int = 0
    policed_sent: int = 0
    policed_asked: int | None = None
    policed_passed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProof:
    """A link that was found to be what the file asks for, after `attempts` (from 1) and `took_ms`."""

    link: int
    emulator: str
    ways: tuple[DirectionProof, ...]
    attempts: int
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RealDirection:
    """One direction of a real link: the median time one way, give or take the error of the two clocks' comparison.

    `rate_bps` is what one TCP connection carried for `rate_over_us`: at least so much fits. None: not measured.
    """

    way: str
    one_way_us: float
    one_way_error_us: float
    rate_bps: float | None = None
    rate_over_us: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealLinkProof:
    """A real link as it was found; nothing of it is asked for, and nothing is changed.

    Of `sent` datagrams `lost` had no answer. `mtu` is the smaller one of both ends, and `mtu_passes` says whether a
    packet of that size came through whole. `clock_offset_us` is the second host's clock minus the first one's.
    """

    link: int
    emulator: str
    ways: tuple[RealDirection, ...]
    rtt_p50_us: float
    rtt_min_us: float
    rtt_p90_us: float
    sent: int
    lost: int
    mtu: int
    mtu_passes: bool
    speed_mbit: int | None
    clock_offset_us: float
    clock_error_us: float
    took_ms: float

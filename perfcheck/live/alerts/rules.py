"""The alert rules: those that are always on, and those of the user's bounds."""

from __future__ import annotations

from typing import Final

from perfcheck.live.alerts.alert import PER_S
from perfcheck.live.alerts.hysteresis import Holding
from perfcheck.live.alerts.readers import (
    connect_time,
    drop_burst,
    drop_share,
    loss_state,
    retransmissions,
    rtt_p99,
    rtt_tail,
)
from perfcheck.live.alerts.rule import Rule
from perfcheck.live.alerts.user_bounds import UserBounds
from perfcheck.model.metric import Layer

RETRANSMISSIONS_PCT: Final = 1.0
CONNECT_US: Final = 100_000.0
LOSS_PCT: Final = 10.0
BURST_PER_S: Final = 100.0

_NEAR_USUAL: Final = Holding(veto_above=1.25)
_BURST: Final = Holding(raise_count=2, raise_within=10, clear_after=10, clear_share=0.5, veto_above=10, veto_up_to=20)
_CONNECTS: Final = Holding(raise_count=3, raise_within=10, clear_after=10, veto_above=1.25)

ALWAYS: Final = (
    Rule(
        name="rtt-tail", summary="p99 of RTT is more than 10 x p50", metric="tcp.rtt_us.p99", layer=Layer.TCP,
        unit="us", read=rtt_tail, holding=_NEAR_USUAL,
    ),
    Rule(
        name="retransmissions", summary="more than 1 % of data segments were retransmitted", metric="tcp.retrans_pct",
        layer=Layer.TCP, unit="pct", read=retransmissions(RETRANSMISSIONS_PCT, each=True), holding=_NEAR_USUAL,
    ),
    Rule(
        name="connect-time", summary="p99 of connect times is above 100 ms", metric="tcp.handshake_us.p99",
        layer=Layer.TCP, unit="us", read=connect_time(CONNECT_US), holding=_CONNECTS,
    ),
    Rule(
        name="drop-burst", summary="packets were dropped in bursts", metric="ip.drops_per_s", layer=Layer.IP,
        unit=PER_S, read=drop_burst(BURST_PER_S), holding=_BURST,
    ),
    Rule(
        name="loss-state", summary="flows were in the Loss state for more than 10 % of their busy time",
        metric="tcp.state_loss_pct", layer=Layer.TCP, unit="pct", read=loss_state(LOSS_PCT),
    ),
)  # fmt: skip
"""The bounds are those that the rules of the diagnosis take for trouble, whatever the network."""


def rules_of(bounds: UserBounds) -> tuple[Rule, ...]:
    """Return the rules that are always on and those of the user's bounds."""
    own = (_rtt_rule(bounds.rtt_p99_us), _retrans_rule(bounds.retrans_pct), _drop_rule(bounds.drops_pct))
    return (*(rule for rule in own if rule is not None), *ALWAYS)


def _rtt_rule(bound_us: float | None) -> Rule | None:
    if bound_us is None:
        return None
    return Rule(
        name="rtt-p99", summary="p99 of RTT", metric="tcp.rtt_us.p99", layer=Layer.TCP, unit="us",
        read=rtt_p99(bound_us),
    )  # fmt: skip


def _retrans_rule(bound_pct: float | None) -> Rule | None:
    if bound_pct is None:
        return None
    return Rule(
        name="retrans-rate", summary="share of data segments that were retransmitted", metric="tcp.retrans_pct",
        layer=Layer.TCP, unit="pct", read=retransmissions(bound_pct, each=False),
    )  # fmt: skip


def _drop_rule(bound_pct: float | None) -> Rule | None:
    if bound_pct is None:
        return None
    return Rule(
        name="drop-rate", summary="share of packets that were dropped", metric="ip.drops_pct", layer=Layer.IP,
        unit="pct", read=drop_share(bound_pct),
    )  # fmt: skip

"""What the scenario file may ask of a link's direction, as it stands in the file: Impairments and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from perfcheck.model.quantities import (
    BurstBytes,
    Flag,
    Frozen,
    JitterNs,
    LinkDelayNs,
    LinkRateBps,
    LossField,
    Percent,
    QueueField,
    ScheduledRateBps,
    ScheduleNs,
    parse_spread_ns,
)  # fmt: skip
from perfcheck.model.trace import TraceField

MAX_CHANGES: Final = 1000

Distribution = Literal["uniform", "normal", "pareto"]

LOWEST_OFFSET: Final[Mapping[str, float]] = MappingProxyType({"uniform": -1.0, "normal": -3.0, "pareto": -2 / 3})
"""How far below the delay each distribution goes, in spreads; of the normal one 1.3 in 1000 are beyond."""


class Jitter(Frozen):
    """How the delay varies: `spread` times a distribution, as netem's tables have them.

    uniform: within +/- spread; normal: spread is the standard deviation, cut at four; pareto: netem's
    (shape 3, from -2/3 to +4 spreads, a long tail).
    """

    spread_ns: JitterNs = Field(alias="spread", description="how far the delay varies", examples=["5ms"])
    distribution: Distribution = Field(
        default="uniform",
        description="uniform: within +/- spread; normal: spread is the standard deviation; pareto: netem's long tail",
        examples=["normal"],
    )

    @property
    def least_delay_ns(self) -> int:
        """The shortest delay that it can vary: below it packets would have to arrive before they were sent."""
        return round(-LOWEST_OFFSET[self.distribution] * self.spread_ns)


def parse_jitter(value: object) -> object:
    """Take `5ms` as a uniform jitter; a mapping goes to `Jitter` as it is."""
    if isinstance(value, (Jitter, dict)):
        return value
    return Jitter.model_construct(spread_ns=parse_spread_ns(value), distribution="uniform")


JitterField = Annotated[Jitter, BeforeValidator(parse_jitter, json_schema_input_type=JitterNs | Jitter)]


class Policer(Frozen):
    """A token bucket that drops what exceeds it: no queue, no delay (a shaper is `rate` with `queue`)."""

    rate_bps: LinkRateBps = Field(alias="rate", description="rate at which the bucket fills", examples=["10mbit"])
    burst_bytes: BurstBytes = Field(
        alias="burst", description="size of the bucket, at least one full frame", examples=["64kb"]
    )


class Change(Frozen):
    """One step of a schedule: from `at` on, counted from the start of each trial, these values hold."""

    at_ns: ScheduleNs = Field(alias="at", description="since the start of each trial", examples=["2s"])
    rate_bps: ScheduledRateBps | None = Field(
        default=None, alias="rate", examples=["1mbit"], description="the rate from then on; 0bit: nothing passes"
    )
    delay_ns: LinkDelayNs | None = Field(
        default=None, alias="delay", examples=["50ms"], description="the one-way delay from then on"
    )
    loss: LossField | None = Field(
        default=None,
        examples=["5%", {"model": "gilbert-elliott", "p": "1%", "r": "30%"}],
        description="the loss from then on",
    )

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the values that it changes."""
        return tuple(name for name in ("rate_bps", "delay_ns", "loss") if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _something(self) -> Change:
        if not self.changed:
            raise ValueError("expected what changes: rate, delay or loss, such as {at: 2s, rate: 1mbit}")
        return self


class Impairments(Frozen):
    """What a link, or one direction of it, does to packets. None: as the other keys of the link say, or unlimited."""

    delay_ns: LinkDelayNs | None = Field(default=None, alias="delay", examples=["10ms"], description="one-way delay")
    jitter: JitterField | None = Field(
        default=None,
        examples=["1ms", {"spread": "1ms", "distribution": "normal"}],
        description="how far the delay varies, uniformly or by another distribution; packets keep their order",
    )
    rate_bps: LinkRateBps | None = Field(
        default=None, alias="rate", examples=["100mbit"], description="rate of the link; unlimited by default"
    )
    queue: QueueField | None = Field(
        default=None,
        examples=["1bdp", "100p", "256kb", {"size": "1bdp", "discipline": "codel"}],
        description="length of the queue before the rate limit: in BDPs (rate x round-trip time), packets or bytes; "
        "needs rate",
    )
    policer: Policer | None = Field(
        default=None,
        examples=[{"rate": "10mbit", "burst": "64kb"}],
        description="token bucket that drops packets above its rate, without a queue; it comes before everything else",
    )
    loss: LossField | None = Field(
        default=None,
        examples=["0.1%", {"model": "gilbert-elliott", "p": "1%", "r": "30%"}],
        description="packets lost: a share, or a model",
    )
    reorder_pct: Percent | None = Field(
        default=None, alias="reorder", examples=["0.5%"], description="packets that overtake the ones before them"
    )
    duplicate_pct: Percent | None = Field(
        default=None, alias="duplicate", examples=["0.1%"], description="packets that arrive twice"
    )
    corrupt_pct: Percent | None = Field(
        default=None, alias="corrupt", examples=["0.01%"], description="packets with a bit flipped"
    )
    ecn: Flag | None = Field(
        default=None, examples=[True], description="mark ECN-capable packets (RFC 3168) instead of dropping them"
    )
    trace: TraceField | None = Field(
        default=None,
        examples=["lte.trace"],
        description="file of rates or delays over time to replay; its path is relative to the scenario file's folder",
    )
    schedule: tuple[Change, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CHANGES,
        examples=[[{"at": "2s", "rate": "1mbit"}, {"at": "4s", "rate": "10mbit", "loss": "5%"}]],
        description="changes over time: from each given time of the trial on, a new rate, delay or loss",
    )

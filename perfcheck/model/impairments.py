"""Impairments of the scenario file that take more than one value: a jitter's shape, a policer, changes over time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from perfcheck.model.quantities import (
    BurstBytes,
    Frozen,
    JitterNs,
    LinkDelayNs,
    LinkRateBps,
    LossField,
    ScheduledRateBps,
    ScheduleNs,
    parse_spread_ns,
)  # fmt: skip

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

    @model_validator(mode="after")
    def _something(self) -> Change:
        if self.rate_bps is None and self.delay_ns is None and self.loss is None:
            raise ValueError("expected what changes: rate, delay or loss, such as {at: 2s, rate: 1mbit}")
        return self

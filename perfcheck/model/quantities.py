"""Field types of the scenario file: strings with units in, plain numbers out, described in the JSON Schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema, model_validator

from perfcheck.model.units import (
    MAX_QUANTITY_CHARACTERS,
    parse_duration_ns,
    parse_percent,
    parse_rate_bps,
    parse_size_bytes,
    shown,
    split_quantity,
)  # fmt: skip

MAX_QUEUE_BDP: Final = 10_000
MAX_QUEUE_PACKETS: Final = 100_000
MAX_QUEUE: Final = "256mb"
"""What waits in a link lies in the memory of this machine."""
QUEUE_RANGE: Final = f"{MAX_QUEUE_BDP}bdp, {MAX_QUEUE_PACKETS}p or {MAX_QUEUE}"
MAX_DELAY: Final = "10s"
"""One way. The proof of a link waits for packets that are on their way."""
MAX_SPREAD: Final = "1s"
MIN_RATE: Final = "8kbit"
"""A slower link would take minutes to prove."""
MAX_RATE: Final = "100gbit"
"""More than any emulator carries; each says what it does."""
MAX_AT: Final = "3600s"
"""No traffic is longer."""

MIN_INTERVAL: Final = "10ms"
MAX_INTERVAL: Final = "10s"

_NUMBER: Final = r"^\s*[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*"


AT_LEAST: Final = "x-at-least"
AT_MOST: Final = "x-at-most"
"""Key of the JSON Schema for the largest quantity: the standard's own `maximum` is for numbers, not for texts."""


def quantity_schema(
    units: str, examples: list[str], what: str, *, least: str | None = None, most: str | None = None
) -> WithJsonSchema:
    """Return the JSON Schema of a quantity with one of these units (a pattern), from `least` to `most`."""
    return WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_QUANTITY_CHARACTERS,
            "pattern": f"{_NUMBER}({units})\\s*$",
            "examples": examples,
            "description": what,
            **({} if least is None else {AT_LEAST: least}),
            **({} if most is None else {AT_MOST: most}),
        }
    )


def within(parse: Callable[[object], int], most: str) -> BeforeValidator:
    """Return a validator that parses a quantity and refuses one above `most`, which is written as in a file."""
    limit = parse(most)

    def parse_within(value: object) -> int:
        parsed = parse(value)
        if parsed > limit:
            raise ValueError(f"expected at most {most}, got {shown(value)}")
        return parsed

    return BeforeValidator(parse_within)


def parser_between(
    parse: Callable[[object], int], what: str, least: str, most: str, *, or_zero: bool = False
) -> Callable[[object], int]:
    """Return a parser of a quantity that refuses one outside of two bounds, which are written as in a file."""
    low, high = parse(least), parse(most)

    def parse_between(value: object) -> int:
        parsed = parse(value)
        if not low <= parsed <= high and not (or_zero and parsed == 0):
            raise ValueError(f"expected {what} from {least} to {most}, got {shown(value)}")
        return parsed

    return parse_between


DURATION_UNITS: Final = "ns|us|ms|s|min"
RATE_UNITS: Final = "bit|kbit|mbit|gbit"
SIZE_UNITS: Final = "b|kb|mb|gb|kib|mib|gib"

DurationNs = Annotated[
    int, BeforeValidator(parse_duration_ns), quantity_schema(DURATION_UNITS, ["10ms", "1.5s"], "a duration")
]
RateBps = Annotated[int, BeforeValidator(parse_rate_bps), quantity_schema(RATE_UNITS, ["100mbit", "1gbit"], "a rate")]
SizeBytes = Annotated[int, BeforeValidator(parse_size_bytes), quantity_schema(SIZE_UNITS, ["256kb"], "a size")]
TimeNs = Annotated[
    int, within(parse_duration_ns, "3600s"), quantity_schema(DURATION_UNITS, ["10ms"], "a duration", most="3600s")
]
"""A time of the traffic or of a command."""
OfferedBps = Annotated[
    int, within(parse_rate_bps, "1000gbit"), quantity_schema(RATE_UNITS, ["5mbit"], "a rate", most="1000gbit")
]
TransferBytes = Annotated[
    int, within(parse_size_bytes, "1000gb"), quantity_schema(SIZE_UNITS, ["20mb"], "a size", most="1000gb")
]
WindowBytes = Annotated[
    int, within(parse_size_bytes, "512mib"), quantity_schema(SIZE_UNITS, ["256kb"], "a size", most="512mib")
]
WriteBytes = Annotated[
    int, within(parse_size_bytes, "1mib"), quantity_schema(SIZE_UNITS, ["160b"], "a size", most="1mib")
]
AnswerBytes = Annotated[
    int, within(parse_size_bytes, "1mb"), quantity_schema(SIZE_UNITS, ["10kb"], "a size", most="1mb")
]
"""The three before this are iperf3's own limits (a transfer's aside): a socket's buffer, one write or datagram."""
parse_link_delay_ns: Final = parser_between(parse_duration_ns, "a duration", "0s", MAX_DELAY)
parse_spread_ns: Final = parser_between(parse_duration_ns, "a duration", "0s", MAX_SPREAD)
parse_at_ns: Final = parser_between(parse_duration_ns, "a duration", "0s", MAX_AT)
parse_link_rate_bps: Final = parser_between(parse_rate_bps, "a rate", MIN_RATE, MAX_RATE)
parse_rate_or_outage_bps: Final = parser_between(parse_rate_bps, "0bit, or a rate", MIN_RATE, MAX_RATE, or_zero=True)

parse_interval_ns: Final = parser_between(parse_duration_ns, "a duration", MIN_INTERVAL, MAX_INTERVAL)

IntervalNs = Annotated[
    int,
    BeforeValidator(parse_interval_ns),
    quantity_schema(DURATION_UNITS, ["100ms"], "a duration", least=MIN_INTERVAL, most=MAX_INTERVAL),
]
"""The time between two samples of a time series."""
LinkDelayNs = Annotated[
    int,
    BeforeValidator(parse_link_delay_ns),
    quantity_schema(DURATION_UNITS, ["10ms"], "a duration", most=MAX_DELAY),
]
JitterNs = Annotated[
    int, BeforeValidator(parse_spread_ns), quantity_schema(DURATION_UNITS, ["1ms"], "a duration", most=MAX_SPREAD)
]
ScheduleNs = Annotated[
    int, BeforeValidator(parse_at_ns), quantity_schema(DURATION_UNITS, ["2s"], "a duration", most=MAX_AT)
]
CodelNs = Annotated[
    int,
    BeforeValidator(parser_between(parse_duration_ns, "a duration", "1us", MAX_DELAY)),
    quantity_schema(DURATION_UNITS, ["5ms"], "a duration", least="1us", most=MAX_DELAY),
]
LinkRateBps = Annotated[
    int,
    BeforeValidator(parse_link_rate_bps),
    quantity_schema(RATE_UNITS, ["100mbit", "1gbit"], "a rate", least=MIN_RATE, most=MAX_RATE),
]
ScheduledRateBps = Annotated[
    int,
    BeforeValidator(parse_rate_or_outage_bps),
    quantity_schema(RATE_UNITS, ["1mbit"], "a rate", least=f"0bit or {MIN_RATE}", most=MAX_RATE),
]
BurstBytes = Annotated[
    int,
    BeforeValidator(parser_between(parse_size_bytes, "a size", "1b", MAX_QUEUE)),
    quantity_schema(SIZE_UNITS, ["64kb"], "a size", most=MAX_QUEUE),
]
Percent = Annotated[float, BeforeValidator(parse_percent), quantity_schema("%", ["0.1%"], "a percentage")]


Whole = Annotated[int, Strict()]
"""A whole number that was written as one: neither `"4"` nor `true` nor `4.0`."""

Flag = Annotated[bool, Strict()]
"""`true` or `false`: not `on`, `yes` or 1, which YAML readers take for different things."""


class Frozen(BaseModel):
    """Base of all models of the file: immutable, unknown keys are errors, field aliases are the file's keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, str_strip_whitespace=True)


class QueueSize(Frozen):
    """A queue's size: `1bdp`, `100p` (packets) or `256kb`; exactly one of the three is set."""

    packets: int | None = Field(default=None, ge=1)
    size_bytes: int | None = Field(default=None, ge=1)
    bdp: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> QueueSize:
        if (self.packets, self.size_bytes, self.bdp).count(None) != 2:
            raise ValueError("expected exactly one of packets, size_bytes and bdp")
        return self

    def bytes_for(self, rate_bps: int, rtt_ns: int, mtu: int) -> int:
        """Return the limit in bytes for a link of this rate and round-trip time; at least two packets."""
        if self.packets is not None:
            return self.packets * mtu
        if self.size_bytes is not None:
            return self.size_bytes
        assert self.bdp is not None  # noqa: S101 - the validator saw to it
        return max(2 * mtu, round(self.bdp * rate_bps * rtt_ns / 8e9))


def parse_queue_size(value: object) -> object:
    """Parse `1bdp`, `100p`, `256kb`; ValueError says what was expected."""
    if isinstance(value, QueueSize):
        return value
    example = "expected a queue size such as 1bdp, 100p or 256kb"
    expected = f"{example}, got {shown(value)}"
    parts = split_quantity(value)
    if parts is None or isinstance(value, bool):
        raise ValueError(expected)
    number, unit = parts
    bounds = f"{example}, above 0 and at most {QUEUE_RANGE}, got {shown(value)}"
    if unit == "bdp":
        if not 0 < number <= MAX_QUEUE_BDP:
            raise ValueError(bounds)
        return QueueSize(bdp=number)
    if unit == "p" and number == int(number):
        if not 1 <= number <= MAX_QUEUE_PACKETS:
            raise ValueError(bounds)
        return QueueSize(packets=int(number))
    try:
        size = parse_size_bytes(value)
    except ValueError:
        raise ValueError(expected) from None
    if not 1 <= size <= parse_size_bytes(MAX_QUEUE):
        raise ValueError(bounds)
    return QueueSize(size_bytes=size)


QueueSizeField = Annotated[
    QueueSize,
    BeforeValidator(parse_queue_size),
    quantity_schema("bdp|p|b|kb|mb|gb|kib|mib|gib", ["1bdp", "100p", "256kb"], "a queue size", most=QUEUE_RANGE),
]

CODEL_TARGET_NS: Final = 5_000_000
CODEL_INTERVAL_NS: Final = 100_000_000
"""CoDel's own defaults (RFC 8289, section 4)."""


class Queue(Frozen):
    """A link's queue: its size, and who is dropped: the last to come, or by CoDel's law (RFC 8289) the one in front."""

    size: QueueSizeField = Field(
        description="length of the queue before the rate limit: in BDPs (rate x round-trip time), packets or bytes",
        examples=["1bdp", "100p", "256kb"],
    )
    discipline: Literal["drop-tail", "codel"] = Field(
        default="drop-tail",
        description="drop-tail: packets that find the queue full are dropped; codel: those that waited too long as "
        "well (RFC 8289)",
        examples=["codel"],
    )
    target_ns: CodelNs = Field(
        default=CODEL_TARGET_NS, alias="target", examples=["5ms"], description="CoDel: acceptable waiting time"
    )
    interval_ns: CodelNs = Field(
        default=CODEL_INTERVAL_NS, alias="interval", examples=["100ms"],
        description="CoDel: how long the target may be exceeded",
    )  # fmt: skip

    @model_validator(mode="after")
    def _coherent(self) -> Queue:
        if self.discipline != "codel" and (self.target_ns, self.interval_ns) != (CODEL_TARGET_NS, CODEL_INTERVAL_NS):
            raise ValueError("target and interval need discipline: codel")
        if self.target_ns > self.interval_ns:
            raise ValueError("expected a target shorter than the interval, such as target: 5ms, interval: 100ms")
        return self


def parse_queue(value: object) -> object:
    """Take `1bdp`, `100p` or `256kb` as a drop-tail queue; a mapping goes to `Queue` as it is."""
    if isinstance(value, (Queue, dict)):
        return value
    return Queue(size=parse_queue_size(value))


QueueField = Annotated[Queue, BeforeValidator(parse_queue, json_schema_input_type=QueueSizeField | Queue)]


class Loss(Frozen):
    """Packet loss: random with probability `p`, or Gilbert-Elliott.

    Gilbert-Elliott (Gilbert 1960, Elliott 1963) is a two-state chain: `p` is the probability a
    packet of going from good to bad, `r` from bad to good, `h` the loss in the bad state and `k`
    in the good state.
    """

    model: Literal["random", "gilbert-elliott"] = Field(
        default="random", description="independent losses, or losses in bursts", examples=["gilbert-elliott"]
    )
    p_pct: Percent = Field(
        default=0.0,
        alias="p",
        examples=["1%"],
        description="random: probability of loss; gilbert-elliott: "
        "probability per packet of going from the good to the "
        "bad state",
    )
    r_pct: Percent | None = Field(
        default=None,
        alias="r",
        examples=["30%"],
        description="gilbert-elliott: probability per packet of going from the bad to the good state",
    )
    h_pct: Percent = Field(
        default=100.0, alias="h", examples=["100%"], description="gilbert-elliott: loss in the bad state"
    )
    k_pct: Percent = Field(
        default=0.0, alias="k", examples=["0%"], description="gilbert-elliott: loss in the good state"
    )

    @model_validator(mode="after")
    def _complete(self) -> Loss:
        if self.model == "gilbert-elliott" and self.r_pct is None:
            raise ValueError("model gilbert-elliott needs r, the probability of leaving the bad state, such as r: 30%")
        if self.model == "random" and self.r_pct is not None:
            raise ValueError("r needs model: gilbert-elliott; random loss has only p")
        return self

    @property
    def mean_pct(self) -> float:
        """The long-run share of packets lost."""
        if self.model == "random":
            return self.p_pct
        r = self.r_pct or 0.0
        if self.p_pct + r == 0:
            return self.k_pct
        bad = self.p_pct / (self.p_pct + r)
        return bad * self.h_pct + (1 - bad) * self.k_pct


def parse_loss(value: object) -> object:
    """Take `0.1%` as a random loss; a mapping goes to `Loss` as it is."""
    if isinstance(value, (Loss, dict)):
        return value
    try:
        return Loss(p_pct=f"{parse_percent(value)}%")
    except ValueError:
        raise ValueError(
            f"expected a percentage such as 0.1%, or {{model: gilbert-elliott, p: 1%, r: 30%}}, got {shown(value)}"
        ) from None


LossField = Annotated[Loss, BeforeValidator(parse_loss, json_schema_input_type=Percent | Loss)]

"""A link of the scenario file, and what it comes to: two directions, resolved once when the link is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from perfcheck.model.impairments import Change, Distribution, Impairments, Jitter, Policer
from perfcheck.model.names import HostName
from perfcheck.model.quantities import MAX_QUEUE, Loss, Queue, Whole
from perfcheck.model.trace import Trace
from perfcheck.model.units import format_value, parse_size_bytes

DIRECTIONS: Final = ("forward", "reverse")
"""The names of a link's directions, from its first host to its second and back; this is their order everywhere."""
ETHERNET_BYTES: Final = 14
MAX_IN_FLIGHT_BYTES: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDirection:
    """What the file asks of one direction of a link; 0 and None: nothing, or unlimited.

    `rtt_ns` is the sum of both directions' delays: a queue in BDPs is of that. All values are the file's own;
    `at_start` and `moments` apply the schedule.
    """

    name: str
    seed: int
    mtu: int
    rtt_ns: int
    delay_ns: int
    jitter: Jitter | None
    rate_bps: int | None
    queue: Queue | None
    policer: Policer | None
    loss: Loss | None
    reorder_pct: float
    duplicate_pct: float
    corrupt_pct: float
    ecn: bool
    trace: Trace | None
    schedule: tuple[Change, ...]

    @property
    def jitter_ns(self) -> int:
        """The spread of the delay, in ns; 0 without jitter."""
        return 0 if self.jitter is None else self.jitter.spread_ns

    @property
    def distribution(self) -> Distribution:
        """The distribution of the jitter."""
        return "uniform" if self.jitter is None else self.jitter.distribution

    @property
    def loss_pct(self) -> float:
        """The long-run share of packets lost."""
        return 0.0 if self.loss is None else self.loss.mean_pct

    @property
    def codel(self) -> Queue | None:
        """The queue, where CoDel manages it."""
        return self.queue if self.queue is not None and self.queue.discipline == "codel" else None

    @property
    def queue_packets(self) -> int | None:
        """The queue's limit where it is one in packets."""
        return None if self.queue is None else self.queue.size.packets

    @property
    def queue_bytes(self) -> int | None:
        """The queue's limit where it is one in bytes or BDPs, of the rate at the start."""
        rate_bps = self.at_start().rate_bps
        if self.queue is None or rate_bps is None or self.queue_packets is not None:
            return None
        return self.queue.size.bytes_for(rate_bps, self.rtt_ns, self.mtu)

    @property
    def impairs(self) -> bool:
        """Whether it delays, limits, drops or disturbs packets at all."""
        rest = (self.reorder_pct, self.duplicate_pct, self.corrupt_pct, self.trace, self.policer, self.schedule)
        return any((self.delay_ns, self.jitter_ns, self.rate_bps, self.loss_pct > 0, *rest))

    @property
    def rate_varies(self) -> bool:
        """Whether the rate changes during a trial."""
        return self.trace is not None or any(change.rate_bps is not None for change in self.later())

    def at_start(self) -> LinkDirection:
        """Return the values that hold when a trial starts: its own with those of a schedule's entries at 0s."""
        return self._after(*(change for change in self.schedule if change.at_ns == 0))

    def later(self) -> tuple[Change, ...]:
        """Return the schedule's entries after the start."""
        return tuple(change for change in self.schedule if change.at_ns > 0)

    def moments(self) -> Iterator[LinkDirection]:
        """Return the values as they follow one another in a trial."""
        now = self.at_start()
        yield now
        for change in self.later():
            now = now._after(change)
            yield now

    def _after(self, *changes: Change) -> LinkDirection:
        values = {name: getattr(change, name) for change in changes for name in change.changed}
        return replace(self, **values) if values else self


class LinkSpec(Impairments):
    """A link between two hosts; `forward`/`reverse` override a direction (forward: first host to second).

    Those are the file's keys. What they come to is in `directions`, resolved when the link is made.
    """

    between: tuple[HostName, HostName] = Field(
        examples=[["client", "server"]], description="the two hosts that the link joins"
    )
    forward: Impairments | None = Field(
        default=None,
        examples=[{"rate": "50mbit"}],
        description="overrides for packets from the first host to the second",
    )
    reverse: Impairments | None = Field(
        default=None,
        examples=[{"rate": "5mbit"}],
        description="overrides for packets from the second host to the first",
    )
    seed: Whole = Field(default=1, ge=0, le=2**32 - 1, examples=[7], description="the same seed drops the same packets")
    mtu: Whole = Field(default=1500, ge=1280, le=9000, examples=[1400], description="largest IP packet, in bytes")
    emulator: Literal["auto", "relay", "netem", "none"] = Field(
        default="auto",
        examples=["netem"],
        description="what makes the impairments: the kernel's netem, a user-space relay, or (auto) whichever is "
        "available",
    )

    _directions: tuple[LinkDirection, LinkDirection] = PrivateAttr()

    def model_post_init(self, context: object) -> None:
        """Resolve both directions: the link's own keys, overridden by those of the direction."""
        del context
        self._directions = _resolved(self)

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, and the directions that they come to."""
        copied = super().model_copy(update=update, deep=deep)
        copied._directions = _resolved(copied)
        return copied

    @property
    def directions(self) -> tuple[LinkDirection, LinkDirection]:
        """Both directions, forward first."""
        return self._directions

    def direction(self, name: str) -> LinkDirection:
        """Return the direction called `forward` or `reverse`."""
        return self._directions[DIRECTIONS.index(name)]

    def rtt_ns(self) -> int:
        """Return the base round-trip time that the two delays add up to, in ns."""
        return self._directions[0].rtt_ns

    @model_validator(mode="after")
    def _two_ends(self) -> Self:
        if self.between[0] == self.between[1]:
            raise ValueError(f"expected two different hosts, got {self.between[0]!r} twice")
        if (problem := link_problem(self)) is not None:
            raise ValueError(problem)
        return self


def _resolved(link: LinkSpec) -> tuple[LinkDirection, LinkDirection]:
    merged = [
        {name: _first(getattr(own, name, None), getattr(link, name)) for name in Impairments.model_fields}
        for own in (link.forward, link.reverse)
    ]
    rtt_ns = sum(values["delay_ns"] or 0 for values in merged)
    forward, reverse = (
        LinkDirection(
            name=name,
            seed=link.seed,
            mtu=link.mtu,
            rtt_ns=rtt_ns,
            delay_ns=values["delay_ns"] or 0,
            jitter=values["jitter"],
            rate_bps=values["rate_bps"],
            queue=values["queue"],
            policer=values["policer"],
            loss=values["loss"],
            reorder_pct=values["reorder_pct"] or 0.0,
            duplicate_pct=values["duplicate_pct"] or 0.0,
            corrupt_pct=values["corrupt_pct"] or 0.0,
            ecn=bool(values["ecn"]),
            trace=values["trace"],
            schedule=values["schedule"] or (),
        )
        for name, values in zip(DIRECTIONS, merged, strict=True)
    )
    return forward, reverse


def _first(own: Any, links: Any) -> Any:
    return links if own is None else own


def link_problem(link: LinkSpec) -> str | None:
    """Return what no link can do of this one, as a message, or None: for a link that was made by `model_copy`."""
    return next((problem for direction in link.directions if (problem := _problem(direction)) is not None), None)


def _problem(direction: LinkDirection) -> str | None:
    """Return what no link can do of this direction, as a message, or None."""
    return (
        _queue_problem(direction)
        or _schedule_problem(direction)
        or _time_problem(direction)
        or _memory_problem(direction)
        or _policer_problem(direction)
    )


def _queue_problem(direction: LinkDirection) -> str | None:
    if direction.queue is not None and direction.at_start().rate_bps is None:
        return (
            f"a queue without a rate never fills ({direction.name}): set a rate, such as rate: 100mbit, or remove queue"
        )
    return None


def _schedule_problem(direction: LinkDirection) -> str | None:
    name, start = direction.name, direction.at_start()
    if not direction.schedule:
        return None
    if direction.trace is not None:
        return f"trace and schedule cannot be combined ({name}); give one"
    times = [change.at_ns for change in direction.schedule]
    if any(later <= earlier for earlier, later in pairwise(times)):
        return f"expected the times of schedule in ascending order, each once ({name})"
    if start.rate_bps == 0:
        return f"a link whose rate begins at 0bit cannot be proved ({name}): begin the outage at 1s"
    if start.rate_bps is None and any(change.rate_bps is not None for change in direction.schedule):
        return f"a schedule that changes the rate needs one to begin with ({name}): give rate: 10mbit"
    return None


def _time_problem(direction: LinkDirection) -> str | None:
    """Return why some packet would have to arrive before it was sent, at some moment; None where none has to."""
    early = next((text for moment in direction.moments() if (text := _too_early(moment)) is not None), None)
    return None if early is None else f"{early} ({direction.name})"


def _too_early(now: LinkDirection) -> str | None:
    delay_ns = now.delay_ns
    if now.jitter is not None and now.jitter.least_delay_ns > delay_ns:
        spread, delay = format_value(now.jitter.spread_ns, "ns"), format_value(delay_ns, "ns")
        if now.jitter.distribution == "uniform":
            return f"jitter {spread} is more than the delay {delay}: a packet would have to arrive before it was sent"
        least = format_value(now.jitter.least_delay_ns, "ns")
        return (
            f"a {now.jitter.distribution} jitter of {spread} needs a delay of at least {least}, not {delay}: packets "
            "would have to arrive before they were sent"
        )
    if now.reorder_pct and not delay_ns:
        return "reorder needs a delay: a packet overtakes by not waiting for it"
    return None


def _memory_problem(direction: LinkDirection) -> str | None:
    """Return why packets that wait or are in flight would take too much of the machine's memory, or None."""
    name = direction.name
    rate_bps = max(moment.rate_bps or 0 for moment in direction.moments())
    delay_ns = max(moment.delay_ns for moment in direction.moments())
    if rate_bps * delay_ns > MAX_IN_FLIGHT_BYTES * 8 * 10**9:
        most = format_value(MAX_IN_FLIGHT_BYTES, "bytes")
        return f"at this rate and delay more than {most} would be in flight ({name}); give a lower rate or delay"
    start_bps = direction.at_start().rate_bps
    if direction.queue is None or start_bps is None:
        return None
    if direction.queue.size.bytes_for(start_bps, direction.rtt_ns, direction.mtu) > parse_size_bytes(MAX_QUEUE):
        return f"the queue would hold more than {MAX_QUEUE} ({name}); give a smaller one, such as queue: 1bdp"
    return None


def _policer_problem(direction: LinkDirection) -> str | None:
    frame = direction.mtu + ETHERNET_BYTES
    if direction.policer is None or direction.policer.burst_bytes >= frame:
        return None
    return (
        f"a policer whose burst is smaller than a full frame ({frame} bytes) lets no full frame pass ({direction.name})"
    )

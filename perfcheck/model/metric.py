"""What a metric is: one declaration for each, in `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from perfcheck.model.subject import SubjectKind

STATS: Final = ("p50", "p90", "p99", "p999", "mean", "min", "max")

Metrics = Mapping[str, float]
"""Values of one trial by metric name, each in the unit that the name carries."""


class Layer(StrEnum):
    """The layers of design section 4, from the application down."""

    APP = "app"
    SOCKET = "socket"
    TCP = "tcp"
    UDP = "udp"
    IP = "ip"
    QDISC = "qdisc"
    NIC = "nic"
    CPU = "cpu"


class Direction(StrEnum):
    """Which way a metric gets better; NEITHER is shown but never regresses by itself."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class DecidedBy(StrEnum):
    """Who decides a metric's value when the lab emulates the path.

    PATH metrics are compared across machines, MACHINE metrics only on a like machine.
    INSTRUCTIONS metrics are counted in a guest's own time: they are compared across machines like PATH metrics.
    DELAY and RATE are PATH where the scenario's links have a delay, respectively a rate,
    that dwarfs the machine's own share, and MACHINE otherwise.
    """

    PATH = "path"
    DELAY = "delay"
    RATE = "rate"
    MACHINE = "machine"
    INSTRUCTIONS = "instructions"


class Ends(StrEnum):
    """Whose sockets a counter is summed over, of each measured connection."""

    SENDERS = "senders"
    """After the warm-up."""
    RECEIVERS = "receivers"
    """After the warm-up."""
    BOTH = "both"
    """Warm-up included."""


class Phased(StrEnum):
    """Whether a metric is asked of the phases of a scenario."""

    NEVER = "never"
    """Of the whole time alone: its source does not say when."""
    ALSO = "also"
    ONLY = "only"
    """It counts from the begin of a phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric of the catalogue.

    `margin_pct` is the change, relative to the baseline, below which a difference is of no
    interest; `floor` is the same as an absolute amount in the metric's unit (for values near 0).
    `compared` says whether it is compared with a baseline by default.
    `needs` names the collector or the generator it comes from (`tcp`, `sockdiag`, `iperf3`...),
    and after it what that has on some machines only.
    `computed` says more of how it is made up, where `meaning`, which failures show, leaves that open.
    `overruns` marks a percentage that is no share of a whole: it may exceed 100.
    `source_text` says what is read, with `{}` for each of `hooks`: tracepoints, each of which the metric needs.
    Hooks that stand in for one another are in the words alone.
    `counter` names the counter of sockets (TcpSocket.counters) that the metric is the sum of, over `ends`.
    `subjects` are the kinds of subject that it can be asked of beside the whole run.
    `phased` says whether it is asked of phases.
    `host_wide` marks what cannot be told apart from the rest of the machine: everything else is the lab's own.
    """

    name: str
    unit: str
    layer: Layer
    direction: Direction
    decided_by: DecidedBy
    meaning: str
    source_text: str
    needs: tuple[str, ...]
    margin_pct: float = 5.0
    floor: float = 0.0
    compared: bool = False
    host_wide: bool = False
    overruns: bool = False
    computed: str = ""
    hooks: tuple[str, ...] = ()
    counter: str = ""
    ends: Ends = Ends.SENDERS
    subjects: tuple[SubjectKind, ...] = ()
    phased: Phased = Phased.ALSO

    @property
    def source(self) -> str:
        """The hook or file that it comes from, and what is read there."""
        return self.source_by({})

    def source_by(self, instead: Mapping[str, str]) -> str:
        """Return the source where other hooks (`kind/name`) take the place of some of its own, by their names."""
        return self.source_text.format(*(instead.get(hook, f"tp_btf/{hook}") for hook in self.hooks))

    @property
    def most(self) -> float | None:
        """The largest value that there can be: 100 for a share of a whole; None for what has no such limit."""
        return 100.0 if self.unit == "pct" and not self.overruns else None

"""What measuring may cost, and what was shed when it cost more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The share of one CPU that the core may take: while the lab is at rest, or `always`, whatever it carries."""

    cpu_pct: float
    always: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """One thing that the core did less of, `at_s` seconds into the trial; `stopped`: the collector gives no figures."""

    collector: str
    what: str
    why: str
    at_s: float
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the core took of the CPUs in one trial while its lab was at rest, and what it shed.

    `rest_cpu_s` CPU seconds (BPF programs and the collectors' threads) in `rest_s` seconds at rest. `still_pct` is
    what it took of one CPU when there was nothing more to shed, None where it never came to that. `earlier` is what
    it had shed before the trial, maybe while the other side of a comparison was measured.
    """

    rest_s: float = 0.0
    rest_cpu_s: float = 0.0
    shed: tuple[Shedding, ...] = ()
    still_pct: float | None = None
    earlier: tuple[Shedding, ...] = ()

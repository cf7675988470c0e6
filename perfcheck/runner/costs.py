"""What measuring cost over all trials of a run, as its record holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from resource import RUSAGE_SELF, getrusage
from typing import Any

from perfcheck.model.budget import Shedding
from perfcheck.model.scenario import Scenario
from perfcheck.model.units import readable_pct
from perfcheck.runner.budget import ALWAYS, AT_REST, HOW_TO_ALLOW, STOPPED, core_budget
from perfcheck.runner.trial import Trial


def costs(scenario: Scenario, trials: Sequence[Trial]) -> dict[str, Any]:
    """Sum what measuring cost over all trials: ns a call and calls of each program, CPU seconds, memory, losses.

    `cpu_pct` is all of it as a share of one CPU while the traffic ran, what is read before and after it included;
    `at_rest` is what the core took while the hosts received next to nothing; `shed` is what it did less of.
    `series_cpu_s` is the part of `user_cpu_s` that sampling time series took.
    """
    observed = [seen.overhead for trial in trials for seen in trial.observations]
    programs: dict[str, dict[str, float]] = {}
    for cost in sorted((cost for one in observed for cost in one.programs), key=lambda cost: cost.program):
        summed = programs.setdefault(cost.program, {"calls": 0, "run_ns": 0})
        summed["calls"] += cost.calls
        summed["run_ns"] += cost.run_ns
    for summed in programs.values():
        if summed["calls"]:
            summed["ns_per_call"] = summed["run_ns"] / summed["calls"]
    bpf_cpu_s = sum(summed["run_ns"] for summed in programs.values()) / 1e9
    user_cpu_s = sum(one.user_cpu_s for one in observed)
    traffic_s = sum(trial.record.traffic_s for trial in trials)
    rest_s = sum(trial.spending.rest_s for trial in trials)
    rest_cpu_s = sum(trial.spending.rest_cpu_s for trial in trials)
    maps = [sum(seen.overhead.map_bytes for seen in trial.observations) for trial in trials]
    budget = core_budget(scenario)
    series_s = sum(trial.sampled.cpu_s for trial in trials)
    return {
        "programs": programs,
        "bpf_cpu_s": bpf_cpu_s,
        "user_cpu_s": user_cpu_s,
        "cpu_pct": 100 * (bpf_cpu_s + user_cpu_s) / traffic_s if traffic_s else 0.0,
        "budget_pct": budget.cpu_pct,
        "budget_holds": ALWAYS if budget.always else AT_REST,
        "at_rest": {"seconds": rest_s} | ({"cpu_pct": 100 * rest_cpu_s / rest_s} if rest_s else {}),
        "shed": [
            {"run": trial.record.index + 1, "at_s": one.at_s, "collector": one.collector, "what": one.what,
             "why": one.why, "stopped": one.stopped}
            for trial in trials for one in trial.spending.shed
        ],
        STOPPED: {one.collector: f"{text}; {HOW_TO_ALLOW}" for one, text in _sheddings(trials) if one.stopped},
        "bpf_map_bytes": max(maps, default=0),
        "lost_events": {
            name: sum(seen.lost_events for trial in trials for seen in trial.observations if seen.collector == name)
            for name in sorted({seen.collector for trial in trials for seen in trial.observations})
        },
        "rss_bytes": max((one.rss_bytes for one in observed), default=0) or getrusage(RUSAGE_SELF).ru_maxrss * 1024,
        "cpus": os.cpu_count(),
        **({"series_cpu_s": series_s} if series_s else {}),
    }  # fmt: skip


def remarks(overhead: Mapping[str, Any], trials: Sequence[Trial]) -> Iterator[str]:
    """Say what was shed, and where measuring took more than it may all the same."""
    yield from (text for _, text in _sheddings(trials))
    still = [trial.spending.still_pct for trial in trials if trial.spending.still_pct is not None]
    if still:
        yield (
            f"measuring still used {readable_pct(max(still), 3)} of one CPU, more than its budget of "
            f"{readable_pct(overhead['budget_pct'], 3)}, with nothing left to switch off"
        )
    used, budget = overhead["cpu_pct"], overhead["budget_pct"]
    if overhead["budget_holds"] == ALWAYS and used > budget:
        yield (
            f"measuring used {readable_pct(used, 3)} of one CPU while the traffic ran, more than its budget of "
            f"{readable_pct(budget, 3)}"
        )


def _sheddings(trials: Sequence[Trial]) -> Iterator[tuple[Shedding, str]]:
    """Return all that was shed, each once, with when and why in words."""
    known: set[Shedding] = set()
    for trial in trials:
        run = trial.record.index + 1
        for one in trial.spending.earlier:
            if one not in known:
                yield one, f"{one.what} before run {run}, while the other side was measured: {one.why}"
        for one in trial.spending.shed:
            yield one, f"{one.what} from {one.at_s:.1f} s into run {run} on: {one.why}"
        known.update(trial.spending.earlier, trial.spending.shed)

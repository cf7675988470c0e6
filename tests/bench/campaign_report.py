"""The report of a campaign in Markdown: how often decisions were wrong, and how small a change could be seen."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from campaign_faults import CampaignSet, Fault
from scipy.stats import beta

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.scenario import Scenario
from perfcheck.model.subject import read_key
from perfcheck.model.units import format_value
from perfcheck.model.verdict import Verdict
from perfcheck.system import fingerprint

SAME: Final = "A/A"
_WIDTH: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One metric's verdict in one build; changes in per cent of the baseline, `detectable` in the metric's unit."""

    metric: str
    verdict: str
    change_pct: float | None
    detectable_pct: float | None
    margin_pct: float | None
    detectable: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One scenario of a build: runs that count, those asked for at first, and why each other one does not count."""

    scenario: str
    verdict: str
    reason: str = ""
    runs: int = 0
    screened: int = 0
    left_out: tuple[str, ...] = ()
    judged: tuple[Judged, ...] = ()

    def said(self) -> str:
        """Say what was not a PASS."""
        words = [f"{each.metric} {each.verdict}" for each in self.judged if each.verdict != Verdict.PASS.value]
        left_out = f" ({len(self.left_out)} runs left out)" if self.left_out else ""
        return (self.reason or ", ".join(words) or self.verdict) + left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build; shares of all CPUs' time in per cent: stolen by the hypervisor, of niced processes, idle."""

    kind: str
    loaded: bool
    baseline: int
    started_at: str
    seconds: float
    steal_pct: float
    nice_pct: float
    idle_pct: float
    outcomes: tuple[Outcome, ...]

    @property
    def measured(self) -> bool:
        """Whether every scenario of the build came to a verdict."""
        return all(each.verdict != Verdict.INVALID.value for each in self.outcomes)

    def has(self, verdict: Verdict) -> bool:
        """Whether any metric got this verdict."""
        return any(each.verdict == verdict.value for outcome in self.outcomes for each in outcome.judged)


def read_builds(log: Path) -> list[Build]:
    """Read a campaign's file, one build a line; a last line that was cut off is left out."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").split("\n")[:-1]
    return [_build(json.loads(line)) for line in lines]


def _build(read: dict[str, Any]) -> Build:
    outcomes = [
        Outcome(**{
            **outcome, "left_out": tuple(outcome["left_out"]),
            "judged": tuple(Judged(**each) for each in outcome["judged"]),
        })
        for outcome in read["outcomes"]
    ]  # fmt: skip
    return Build(**{**read, "outcomes": tuple(outcomes)})


def report(builds: Sequence[Build], chosen: CampaignSet, scenarios: Sequence[Scenario], baselines: str) -> str:
    """Return the page; `baselines` says what the builds were compared with."""
    if not builds:
        return "no build was made yet"
    parts = [
        "# How often a build gets the wrong verdict",
        _how(builds, chosen, scenarios, baselines),
        "## Builds",
        _table(_builds_head(), _builds_rows(builds)),
        _words_on_builds(builds, chosen),
        "## What could be seen",
        _WORDS_ON_METRICS,
        _table(_metrics_head(), _metrics_rows(builds, scenarios)),
        "## The machine meanwhile",
        _WORDS_ON_LOAD,
        _table(_load_head(), _load_rows(builds)),
        _left_out(builds),
    ]
    return "\n\n".join(_wrapped(part) for part in parts)


def _wrapped(part: str) -> str:
    """Wrap prose as on the other pages; tables and headings stay as they are."""
    return "\n".join(
        line
        if line.startswith(("|", "#"))
        else textwrap.fill(
            line, _WIDTH, subsequent_indent="  " if line.startswith("- ") else "", break_long_words=False,
            break_on_hyphens=False,
        )
        for line in part.split("\n")
    )  # fmt: skip


def _how(builds: Sequence[Build], chosen: CampaignSet, scenarios: Sequence[Scenario], baselines: str) -> str:
    seen = fingerprint()
    times = sorted(datetime.fromisoformat(build.started_at) for build in builds)
    names = ", ".join(f"`{scenario.name}`" for scenario in scenarios)
    return (
        "After this page you know how often perfcheck fails a build without a reason, and how often it misses a "
        f"fault.\n\n    make campaign BENCH='--set {chosen.name}'\n\n"
        f"This measures builds of {len(scenarios)} short scenarios ({names}, in `tests/bench/campaign/`: 2 to 3 s of "
        f"traffic, 3 runs) and judges each against one of {baselines}. A/A builds change nothing: every "
        "REGRESSED is a false alarm. Each other build has one known fault, in the one scenario that shows it. "
        f"{chosen.about}\n\n"
        f"Machine: {_machine(seen)}. {len(builds)} builds between {times[0]:%Y-%m-%d %H:%M} and "
        f"{times[-1]:%Y-%m-%d %H:%M} UTC, {sum(build.seconds for build in builds) / 60:.0f} minutes of measuring. "
        "The kinds took turns."
    )


def _machine(seen: Mapping[str, Any]) -> str:
    return (
        f"{seen['cpu.count']} CPUs ({seen['cpu.model']}), {seen['memory.class']}, {seen['virtualisation']}, "
        f"Linux {seen['kernel.release']}"
    )


def _builds_head() -> list[str]:
    return ["builds", "measured", "REGRESSED", "share (95 %)", "INCONCLUSIVE only", "not measured"]


def _builds_rows(builds: Sequence[Build]) -> list[list[str]]:
    kinds = list(dict.fromkeys([SAME, *(build.kind for build in builds)]))
    rows = []
    for kind in kinds:
        own = [build for build in builds if build.kind == kind]
        groups = [(kind, own)]
        if kind == SAME:
            groups = [
                ("A/A, as the machine was", [build for build in own if not build.loaded]),
                ("A/A, beside a load", [build for build in own if build.loaded]),
                ("**A/A, all**", own),
            ]
        rows += [_builds_row(name, group) for name, group in groups if group]
    return rows


def _builds_row(name: str, builds: Sequence[Build]) -> list[str]:
    measured = [build for build in builds if build.measured or build.has(Verdict.REGRESSED)]
    failed = sum(build.has(Verdict.REGRESSED) for build in measured)
    unsure = sum(build.has(Verdict.INCONCLUSIVE) and not build.has(Verdict.REGRESSED) for build in measured)
    low, high = bounds(failed, len(measured))
    share = f"{100 * failed / max(len(measured), 1):.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    return [name, str(len(measured)), str(failed), share, str(unsure), str(len(builds) - len(measured))]


def bounds(hits: int, tries: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, of Clopper and Pearson."""
    low = float(beta.ppf(0.025, hits, tries - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, tries - hits)) if hits < tries else 1.0
    return low, high


def _words_on_builds(builds: Sequence[Build], chosen: CampaignSet) -> str:
    same = [build for build in builds if build.kind == SAME]
    compared = sum(len(outcome.judged) for build in same for outcome in build.outcomes)
    confirmed = sum(outcome.runs > outcome.screened for build in same for outcome in build.outcomes)
    words = [
        "`share (95 %)`: the interval of Clopper and Pearson.",
        "A build is not measured if a scenario ended INVALID: it neither passes nor fails.",
        f"The A/A builds compared {compared} metrics; {confirmed} time(s) a scenario showed a change and ran again.",
    ]
    for kind in dict.fromkeys(build.kind for build in builds if build.kind != SAME):
        outcomes = [outcome for build in builds if build.kind == kind for outcome in build.outcomes]
        caught: Counter[str] = Counter(
            each.metric for outcome in outcomes for each in outcome.judged if each.verdict == Verdict.REGRESSED.value
        )
        by = ", ".join(f"`{metric}` ({times})" for metric, times in caught.most_common())
        words.append(f"{kind}, in `{outcomes[0].scenario}`: caught by {by or 'nothing'}.")
    for fault in chosen.faults:
        own = [build for build in builds if build.kind == fault.name]
        if fault.items and own:
            right = sum(_right_items(build, fault) for build in own)
            asked, others = (", ".join(f"`{item}`" for item in items) for items in (fault.items, fault.others))
            words.append(f"{fault.name}: {asked} failed and {others} did not in {right} of {len(own)} builds.")
    false = [
        f"`{each.metric}` of `{outcome.scenario}` ({each.change_pct or 0:+.1f} %)"
        for build in same
        for outcome in build.outcomes
        for each in outcome.judged
        if each.verdict == Verdict.REGRESSED.value
    ]
    words.append(f"False alarms: {', '.join(false) or 'none'}.")
    return "\n".join(f"- {word}" for word in words)


def _right_items(build: Build, fault: Fault) -> bool:
    """Whether the items of the part that the fault concerns are REGRESSED, and none of the other part's."""
    regressed = {
        each.metric for outcome in build.outcomes for each in outcome.judged
        if each.verdict == Verdict.REGRESSED.value
    }  # fmt: skip
    return regressed >= set(fault.items) and not regressed & set(fault.others)


_WORDS_ON_METRICS: Final = (
    "The figures are from the A/A builds. `change`: from the baseline's median to the run's median, 5th to 95th "
    "percentile of the builds. `smallest detectable`: the value that each build printed with its verdict, median and "
    "95th percentile."
)


def _metrics_head() -> list[str]:
    return ["scenario", "metric", "margin", "change", "smallest detectable", "not a PASS"]


def _metrics_rows(builds: Sequence[Build], scenarios: Sequence[Scenario]) -> list[list[str]]:
    rows = []
    outcomes = [outcome for build in builds if build.kind == SAME for outcome in build.outcomes]
    for scenario in scenarios:
        own = [each for outcome in outcomes if outcome.scenario == scenario.name for each in outcome.judged]
        order = list(CATALOGUE)
        compared = sorted({each.metric for each in own}, key=lambda key: (order.index(read_key(key).metric), key))
        rows += [_metric_row(scenario.name, name, [each for each in own if each.metric == name]) for name in compared]
    return rows


def _metric_row(scenario: str, metric: str, judged: Sequence[Judged]) -> list[str]:
    changes = sorted(each.change_pct for each in judged if each.change_pct is not None)
    noted = [each for each in judged if each.detectable is not None]
    smallest = sorted(each.detectable_pct for each in noted if each.detectable_pct is not None)
    margins = [each.margin_pct for each in judged if each.margin_pct is not None]
    other = Counter(each.verdict for each in judged if each.verdict != Verdict.PASS.value)
    return [
        f"`{scenario}`",
        f"`{metric}`",
        f"{median(margins):.3g} %" if margins else "",
        f"{_quantile(changes, 0.05):+.1f} to {_quantile(changes, 0.95):+.1f} %" if changes else "",
        f"{median(smallest):.1f} / {_quantile(smallest, 0.95):.1f} %" if smallest else _at(metric, noted),
        ", ".join(f"{times} {verdict}" for verdict, times in other.most_common()),
    ]


def _at(metric: str, noted: Sequence[Judged]) -> str:
    """Return the smallest value that would have been called where the baseline is 0 and no percentage exists."""
    known = sorted(each.detectable or 0.0 for each in noted)
    if not known:
        return ""
    unit = CATALOGUE[read_key(metric).metric].unit
    return f"at {format_value(median(known), unit)} / {format_value(_quantile(known, 0.95), unit)}"


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


_WORDS_ON_LOAD: Final = (
    "Half of the builds of each kind, and every other session of the baseline, ran beside a process that takes a fifth "
    "of one CPU, 50 ms at a time. The rest of the load is other work of the machine. The table has shares of all CPUs' "
    "time during a build, median / 95th percentile of builds. `niced` is other work at a low priority."
)


def _load_head() -> list[str]:
    return ["builds", "idle", "niced", "stolen by the hypervisor"]


def _load_rows(builds: Sequence[Build]) -> list[list[str]]:
    rows = []
    for name, loaded in (("as the machine was", False), ("beside a load", True)):
        own = [build for build in builds if build.loaded == loaded]
        if own:
            shares = [
                sorted(build.idle_pct for build in own),
                sorted(build.nice_pct for build in own),
                sorted(build.steal_pct for build in own),
            ]
            rows.append([name, *(f"{median(each):.1f} / {_quantile(each, 0.95):.1f} %" for each in shares)])
    return rows


def _left_out(builds: Sequence[Build]) -> str:
    """Say how many runs did not count, and why, by what the reasons have in common."""
    outcomes = [outcome for build in builds for outcome in build.outcomes]
    reasons = Counter(_kind_of(reason) for outcome in outcomes for reason in outcome.left_out)
    runs = sum(outcome.runs + len(outcome.left_out) for outcome in outcomes)
    if not reasons:
        return f"All {runs} runs counted."
    listed = "; ".join(f"{times} x {reason}" for reason, times in reasons.most_common())
    return f"{sum(reasons.values())} of {runs} runs did not count: {listed}."


def _kind_of(reason: str) -> str:
    """Return the first reason without the link's name, its figures as N, so that like reasons are alike."""
    first = reason.partition(";")[0]
    if first.startswith("link "):
        first = first.partition(": ")[2]
    return re.sub(r"\b\d[\d.]*", "N", first.partition(",")[0])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""How often decisions against a stored baseline are wrong on this machine: A/A builds and builds with a known fault.

Two sets of scenarios (`--set`): `whole` has faults of the whole run, `parts` faults of one phase or one traffic entry,
which must fail the items of that part and no other. Each build is a line in a file, so a stopped campaign can be
continued. Kinds of builds take turns, so a campaign that is cut off has some of each. Run it by `make campaign`; it
takes more than an hour.
Other work on the machine does no harm: it happens to users' builds, too. Half of the builds of each
kind, and every other session of the baseline, run beside a process that takes a fifth of one CPU,
50 ms at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import campaign_report
from campaign_faults import SETS, CampaignSet
from campaign_report import Build, Judged, Outcome, read_builds

from perfcheck.errors import CouldNotMeasure, Stopped
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_all

ATTEMPTS: Final = 5


def main() -> int:
    """Measure what is missing, then print the report; with `--count` only measure, and give 4 if more is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=list(SETS), default="whole", help="scenarios and faults")
    parser.add_argument("--builds", type=int, default=100, help="A/A builds of all scenarios")
    parser.add_argument("--faults", type=int, default=20, help="builds with each fault")
    parser.add_argument("--baselines", type=int, default=3, help="baselines; builds take turns at them")
    parser.add_argument("--sessions", type=int, default=4, help="sessions in each baseline")
    parser.add_argument("--count", type=int, help="make at most so many sessions and builds now")
    parser.add_argument("--results", type=Path, help="folder, kept between runs (default: results/campaign-SET)")
    parser.add_argument("--report", action="store_true", help="print the report of what there is, measure nothing")
    arguments = parser.parse_args()
    chosen = SETS[arguments.set]
    results = arguments.results or Path(f"results/campaign-{chosen.name}")
    results.mkdir(parents=True, exist_ok=True)
    scenarios = {file.scenarios[0].name: file.scenarios[0] for file in load_all([chosen.folder])}
    log = results / "builds.jsonl"
    wanted = {campaign_report.SAME: arguments.builds} | {fault.name: arguments.faults for fault in chosen.faults}
    sessions = arguments.baselines * arguments.sessions
    if not arguments.report:
        left = arguments.count if arguments.count is not None else sessions + sum(wanted.values())
        left -= _save_sessions(scenarios, results, arguments.baselines, sessions, left)
        _measure(chosen, scenarios, wanted, results, arguments.baselines, left)
        if arguments.count is not None:
            return 4 if _next_kind(read_builds(log), wanted) is not None else 0
    baselines = f"{arguments.baselines} baselines of {arguments.sessions} sessions"
    print(campaign_report.report(read_builds(log), chosen, list(scenarios.values()), baselines))
    return 0


def _options(results: Path, number: int, *, compare: bool) -> RunOptions:
    return RunOptions(baseline=compare, baseline_dir=results / f"baselines-{number}")


def _save_sessions(scenarios: Mapping[str, Scenario], results: Path, baselines: int, sessions: int, most: int) -> int:
    """Save missing sessions, the baselines in turn, every other round beside the load; gives how many it saved."""
    done = results / "sessions"
    made = int(done.read_text()) if done.exists() else 0
    until = min(sessions, made + most)
    for number in range(made, until):
        round_, baseline = divmod(number, baselines)
        options = _options(results, baseline, compare=False)
        with _load(round_ % 2 == 1), Runner.create(options) as runner:
            for scenario in scenarios.values():
                _save_session(runner, scenario)
        done.write_text(str(number + 1))
        print(f"session {number + 1} of {sessions} saved", file=sys.stderr)
    return max(until - made, 0)


def _save_session(runner: Runner, scenario: Scenario) -> None:
    """Try again where the machine was too busy: a session that does not count is none."""
    for attempt in range(ATTEMPTS):
        try:
            runner.save_baseline(runner.run(scenario))
        except Stopped:
            raise
        except CouldNotMeasure as error:
            print(f"{scenario.name}: {error}", file=sys.stderr)
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def _next_kind(builds: list[Build], wanted: Mapping[str, int]) -> str | None:
    """Return the kind of which the smallest share of what is wanted was made; None when nothing is missing."""
    made = [build.kind for build in builds]
    kind = min(wanted, key=lambda kind: made.count(kind) / wanted[kind])
    return kind if made.count(kind) < wanted[kind] else None


def _measure(
    chosen: CampaignSet,
    scenarios: Mapping[str, Scenario],
    wanted: Mapping[str, int],
    results: Path,
    baselines: int,
    most: int,
) -> None:
    log = results / "builds.jsonl"
    changed = {fault.name: [fault.change(scenarios[fault.scenario])] for fault in chosen.faults}
    runs = changed | {campaign_report.SAME: list(scenarios.values())}
    for _ in range(most):
        builds = read_builds(log)
        kind = _next_kind(builds, wanted)
        if kind is None:
            return
        number = sum(build.kind == kind for build in builds)
        loaded, baseline = number % 2 == 1, number // 2 % baselines
        with _load(loaded):
            build = _build(kind, loaded, baseline, runs[kind], results)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(build)) + "\n")
        said = [f"{each.scenario}: {each.said()}" for each in build.outcomes]
        print(f"{kind}{', loaded' if loaded else ''}: {build.seconds:.0f} s; {'; '.join(said)}", file=sys.stderr)


def _build(kind: str, loaded: bool, baseline: int, scenarios: list[Scenario], results: Path) -> Build:
    """Run all scenarios once, in a session of their own; records that are not a PASS are kept whole, for the cause."""
    started_at, started = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    busy = _CpuTimes.read()
    outcomes = []
    with Runner.create(_options(results, baseline, compare=True)) as runner:
        for scenario in scenarios:
            try:
                record = runner.run(scenario)
            except Stopped:
                raise
            except CouldNotMeasure as error:
                outcomes.append(Outcome(scenario=scenario.name, verdict=Verdict.INVALID.value, reason=str(error)))
                continue
            outcomes.append(_outcome(record, scenario.repeat))
            if record.verdict is not Verdict.PASS:
                with (results / "records.jsonl").open("a", encoding="utf-8") as stream:
                    stream.write(record.to_json() + "\n")
    others = busy.until(_CpuTimes.read())
    return Build(
        kind=kind, loaded=loaded, baseline=baseline, started_at=started_at, seconds=time.monotonic() - started,
        steal_pct=others.steal, nice_pct=others.nice, idle_pct=others.idle, outcomes=tuple(outcomes),
    )  # fmt: skip


def _outcome(record: RunRecord, screened: int) -> Outcome:
    return Outcome(
        scenario=record.scenario.name,
        verdict=record.verdict.value,
        reason=record.invalid_reason or "",
        runs=sum(trial.valid for trial in record.trials),
        screened=screened,
        left_out=tuple(trial.invalid_reason or "" for trial in record.trials if not trial.valid),
        judged=tuple(
            Judged(metric=each.metric, verdict=each.verdict.value, change_pct=each.change_pct,
                   detectable_pct=each.detectable_pct, margin_pct=each.margin_pct, detectable=each.detectable)
            for each in record.comparisons
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _CpuTimes:
    """Time of all CPUs from /proc/stat, in ticks or as shares of a period in per cent: stolen, niced, idle, in all."""

    steal: float
    nice: float
    idle: float
    total: float

    @classmethod
    def read(cls) -> _CpuTimes:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return cls(steal=ticks[7], nice=ticks[1], idle=ticks[3] + ticks[4], total=sum(ticks))

    def until(self, later: _CpuTimes) -> _CpuTimes:
        """Return the shares of the time between the two."""
        share = 100 / max(later.total - self.total, 1)
        return _CpuTimes(
            steal=share * (later.steal - self.steal), nice=share * (later.nice - self.nice),
            idle=share * (later.idle - self.idle), total=100.0,
        )  # fmt: skip


@contextmanager
def _load(wanted: bool) -> Iterator[None]:
    """Take a fifth of one CPU: enough to be felt, not enough for links to miss their times."""
    if not wanted:
        yield
        return
    process = multiprocessing.get_context("forkserver").Process(target=_burn, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _burn() -> None:
    while True:
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())

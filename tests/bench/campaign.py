"""How often decisions against a stored baseline are wrong on this machine: A/A builds and builds with a known fault.

Each outcome is a line in a file, so a campaign that was stopped goes on where it was. Run it by
`make campaign`; it takes hours, and nothing hurts it that also happens to a user's builds. Half of
the A/A builds run beside a process that takes a fifth of one CPU, 50 ms at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scipy.stats import beta

from perfcheck.errors import CouldNotMeasure
from perfcheck.model.quantities import Loss
from perfcheck.model.scenario import LinkSpec, Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_all

FILES: Final = ("wan-bulk-20ms", "lossy-1pct", "small-rmem")
TOLERANCES: Final = (("tcp.min_rtt_us", 2.0), ("tcp.rtt_us.p50", 3.0))
"""Delay + 5 % lies at the usual margin of 5 %, where a build must not fail."""

ATTEMPTS: Final = 5
RMEM: Final = "net.ipv4.tcp_rmem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A known regression, put into the one scenario that shows it."""

    name: str
    scenario: str
    change: Callable[[Scenario], Scenario]


def _with_link(scenario: Scenario, change: Callable[[LinkSpec], dict[str, object]]) -> Scenario:
    links = tuple(link.model_copy(update=change(link)) for link in scenario.links)
    return scenario.model_copy(update={"links": links})


def _double_loss(link: LinkSpec) -> dict[str, object]:
    loss = link.loss or Loss()
    return {"loss": loss.model_copy(update={"p_pct": 2 * loss.p_pct})}


def _half_rmem(scenario: Scenario) -> Scenario:
    hosts = {}
    for name, host in scenario.hosts.items():
        sizes = str(host.sysctl.get(RMEM, "")).split()
        halved = {RMEM: " ".join([sizes[0], *(str(int(size) // 2) for size in sizes[1:])])} if sizes else {}
        hosts[name] = host.model_copy(update={"sysctl": {**host.sysctl, **halved}})
    return scenario.model_copy(update={"hosts": hosts})


FAULTS: Final = (
    Fault(name="rate - 5 %", scenario="wan-bulk-20ms",
          change=lambda made: _with_link(made, lambda link: {"rate_bps": round(0.95 * (link.rate_bps or 0))})),
    Fault(name="delay + 5 %", scenario="wan-bulk-20ms",
          change=lambda made: _with_link(made, lambda link: {"delay_ns": round(1.05 * (link.delay_ns or 0))})),
    Fault(name="loss x 2", scenario="lossy-1pct", change=lambda made: _with_link(made, _double_loss)),
    Fault(name="rmem halved", scenario="small-rmem", change=_half_rmem),
)  # fmt: skip


def main() -> int:
    """Measure what is still missing, then print the table; gives 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--builds", type=int, default=100, help="A/A builds of all scenarios")
    parser.add_argument("--faults", type=int, default=20, help="builds with each fault")
    parser.add_argument("--sessions", type=int, default=5, help="sessions in the baseline")
    parser.add_argument("--results", type=Path, default=Path("results/campaign"), help="folder, kept between runs")
    parser.add_argument("--report", action="store_true", help="print the table of what there is, measure nothing")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    log = arguments.results / "builds.jsonl"
    if not arguments.report:
        found = {file.scenarios[0].name: file.scenarios[0] for file in load_all([Path("scenarios")])}
        scenarios = {name: found[name] for name in FILES}
        _save_sessions(scenarios, arguments.results, arguments.sessions)
        _measure(scenarios, arguments, log)
    print(report(_lines(log)))
    return 0


def _save_sessions(scenarios: dict[str, Scenario], results: Path, sessions: int) -> None:
    done = results / "sessions"
    made = int(done.read_text()) if done.exists() else 0
    with Runner.create(RunOptions(baseline_dir=results / "baselines")) as runner:
        for number in range(made, sessions):
            for scenario in scenarios.values():
                _save_session(runner, scenario)
            done.write_text(str(number + 1))


def _save_session(runner: Runner, scenario: Scenario) -> None:
    """Try again where the machine was too busy: a session that does not count is none."""
    for attempt in range(ATTEMPTS):
        try:
            runner.save_baseline(runner.run(scenario))
        except CouldNotMeasure as error:
            print(f"{scenario.name}: {error}", file=sys.stderr)
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def _measure(scenarios: dict[str, Scenario], arguments: argparse.Namespace, log: Path) -> None:
    options = RunOptions(baseline=True, baseline_dir=arguments.results / "baselines", tolerances=TOLERANCES)
    made = [line["kind"] for line in _lines(log)]
    with Runner.create(options) as runner:
        for number in range(made.count("idle") + made.count("loaded"), arguments.builds):
            kind = ("idle", "loaded")[number % 2]
            with _load(kind == "loaded"):
                _build(runner, kind, list(scenarios.values()), log)
        for fault in FAULTS:
            changed = [fault.change(scenarios[fault.scenario])]
            for _ in range(made.count(fault.name), arguments.faults):
                _build(runner, fault.name, changed, log)


def _build(runner: Runner, kind: str, scenarios: list[Scenario], log: Path) -> None:
    """Run all scenarios once and note every comparison that is not a PASS."""
    started = time.monotonic()
    verdicts: dict[str, str] = {}
    compared = 0
    for scenario in scenarios:
        try:
            record = runner.run(scenario)
        except CouldNotMeasure as error:
            verdicts[scenario.name] = f"{Verdict.INVALID}: {error}"
            continue
        if record.verdict is Verdict.INVALID:
            verdicts[scenario.name] = f"{Verdict.INVALID}: {record.invalid_reason}"
        compared += len(record.comparisons)
        verdicts |= {
            f"{scenario.name} {each.metric}": each.verdict.value
            for each in record.comparisons
            if each.verdict is not Verdict.PASS
        }
    line = {"kind": kind, "compared": compared, "seconds": round(time.monotonic() - started), "verdicts": verdicts}
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    print(f"{kind}: {line['seconds']} s, {verdicts or 'all PASS'}", file=sys.stderr)


def _lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


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


def report(lines: list[dict[str, object]]) -> str:
    """Give the table in Markdown: per kind of build how many failed, with the 95 % interval of Clopper and Pearson."""
    kinds = ["idle", "loaded", *(fault.name for fault in FAULTS)]
    rows = [
        "| builds | made | REGRESSED | share (95 %) | could not measure | compared metrics |",
        "|---|---|---|---|---|---|",
    ]
    for kind in kinds:
        own = [line for line in lines if line["kind"] == kind]
        valid = [line for line in own if line["compared"]]
        failed = sum(Verdict.REGRESSED.value in str(line["verdicts"]) for line in valid)
        if own:
            low, high = _bounds(failed, len(valid))
            compared = sum(int(str(line["compared"])) for line in valid)
            share = f"{100 * failed / max(len(valid), 1):.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            rows.append(f"| {kind} | {len(own)} | {failed} | {share} | {len(own) - len(valid)} | {compared} |")
    return "\n".join(rows)


def _bounds(hits: int, tries: int) -> tuple[float, float]:
    low = float(beta.ppf(0.025, hits, tries - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, tries - hits)) if hits < tries else 1.0
    return low, high


if __name__ == "__main__":
    sys.exit(main())

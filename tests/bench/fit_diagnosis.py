"""Fits the numbers of the diagnosis on runs with known faults, and writes them into the package.

Run it by `make fit-diagnosis`. Only runs that may be used for fitting count (`fit: true`), and of faults those that
moved a metric; the recorded runs of the unit tests are used, too. It says how well runs of injectors that were left out
are diagnosed, fitted on the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from diagnosis_fit import Table, fit, folds, table_of
from diagnosis_scores import Answer, answer, network_scores, summary
from fault_runs import PATH_LATENCY, RUNS, Run, golden_runs, read_campaign

from perfcheck.diagnose import RuleSet, load_rules
from perfcheck.diagnose.fitted import NOT_FITTED, Fitted
from perfcheck.diagnose.network import Bit
from perfcheck.model.causes import CAUSES
from perfcheck.system.files import replace_file

TARGET: Final = Path(__file__).parents[2] / "perfcheck" / "diagnose" / "rules" / "fitted.yaml"
_HEAD: Final = """\
# How probably each cause turns each condition on, fitted on runs with known faults. Do not edit: `make fit-diagnosis`
# renews it. P(on | causes) = 1 - (1 - leak) * product of (1 - says); `weight` is how much the condition counts.
# A condition that is not the one of `of` any more counts by its hand-written numbers.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, report, and write the file unless told not to."""
    parser = argparse.ArgumentParser(description="Fit the diagnosis on runs with known faults.")
    parser.add_argument("--runs", type=Path, default=RUNS, help="the campaign's lines (default: %(default)s)")
    parser.add_argument(
        "--every-line", action="store_true", help="use the held-out lines, too: where another exam is the judge"
    )
    parser.add_argument("--golden-only", action="store_true", help="use the recorded runs of the unit tests alone")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--no-check", action="store_true", help="do not fit again for each fold of injectors")
    parser.add_argument("--output", type=Path, default=TARGET, help="the file to write (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    runs = [*golden_runs(), *([] if chosen.golden_only else usable(chosen.runs, every=chosen.every_line))]
    rules = load_rules(fitted=NOT_FITTED)
    table = table_of(rules, runs)
    if not chosen.no_check:
        print(told("hand-written numbers", [answer(run, network_scores(rules, run)) for run in runs]))
        print(told("injectors left out", left_out(rules, table)))
    fitted = fit(rules, table)
    print(told("fitted on all (optimistic)", answers(rules, fitted, runs)))
    if not chosen.dry:
        replace_file(chosen.output, ("\n".join(lines(fitted, runs)) + "\n").encode())
        print(f"{len(fitted.bits)} conditions fitted on {len(runs)} runs: {chosen.output}")
    return 0


def usable(path: Path, *, every: bool = False) -> list[Run]:
    """Return the campaign's runs that may be used for fitting, or every one whose label counts."""
    campaign = read_campaign(path)
    left = ", ".join(f"{number} {why}" for why, number in campaign.left_out.items())
    chosen = [run for run in campaign.runs if run.fit or every]
    # Users diagnose with a baseline and without one.
    chosen += [run.alone() for run in chosen if run.reading.baseline and run.label != PATH_LATENCY]
    print(f"{len(chosen)} readings of {len(campaign.runs)} runs with a label that counts may be used; left out: {left}")
    return chosen


def left_out(rules: RuleSet, table: Table) -> list[Answer]:
    """Diagnose each run by numbers that were fitted without its injector."""
    found: list[Answer] = []
    for part in folds(table.runs):
        others = [row for row in range(len(table.runs)) if row not in set(part)]
        found += answers(rules, fit(rules, table.only(others)), [table.runs[row] for row in part])
    return found


def answers(rules: RuleSet, fitted: Fitted, runs: Sequence[Run]) -> list[Answer]:
    """Diagnose runs by other fitted numbers."""
    renewed = replace(rules, fitted=fitted)
    return [answer(run, network_scores(renewed, run)) for run in runs]


def told(what: str, found: Sequence[Answer]) -> str:
    """Say in one line how good these answers are."""
    seen = summary(found)
    label, recall = seen.worst_recall
    return (
        f"{what}: {seen.runs} runs, first {seen.places[0]:.1%}, first two {seen.places[1]:.1%}, "
        f"macro-F1 {seen.macro_f1:.2f}, worst {label} {recall:.2f}, "
        f"healthy wrong {seen.false_alarms} of {seen.healthy}, Brier {seen.brier:.3f}, "
        f"calibration error {seen.calibration_error:.3f}"
    )


def lines(fitted: Fitted, runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of the file."""
    yield _HEAD + "schema: 1"
    yield f"runs: {len(runs)}"
    yield f"injectors: {len({run.injector for run in runs})}"
    yield f"temperature: {fitted.temperature:g}"
    yield "bits:"
    for name, (digest, bit) in fitted.bits.items():
        yield f"  {name}:"
        yield f'    of: "{digest}"'
        yield f"    leak: {bit.leak:g}"
        yield f"    weight: {bit.weight:g}"
        yield f"    says: {{{', '.join(_said(bit))}}}"


def _said(bit: Bit) -> list[str]:
    return [f"{cause}: {bit.says[cause]:g}" for cause in CAUSES if cause in bit.says]


if __name__ == "__main__":
    raise SystemExit(main())

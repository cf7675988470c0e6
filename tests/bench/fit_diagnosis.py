"""Fits the numbers of the diagnosis on runs with known faults, and writes them into the package.

Run it by `make fit-diagnosis`. Only runs that may be used for fitting count (`fit: true`), unless told otherwise, and
of faults those that moved a metric. The recorded and the synthetic runs of the unit tests are used, too: what the
hand-written numbers get right there, the fitted ones must get right. It says how well runs of injectors that were left
out are diagnosed by numbers that were fitted on the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from diagnosis_fit import STRENGTHS, Data, Fit, Frame, Tried, data_of, fitted_of, measured_in, tried
from diagnosis_scores import Answer, answer, scores_of, summary
from fault_runs import ROOT, RUNS, Run, read_campaign
from fit_table import Row, Table, rows_of, stays_right, table_of

from perfcheck.diagnose import Judgement, RuleSet, load_rules, posterior
from perfcheck.diagnose.fitted import NOT_FITTED, Fitted
from perfcheck.model.causes import CAUSES
from perfcheck.system.files import replace_file

TARGET: Final = ROOT / "perfcheck" / "diagnose" / "rules" / "fitted.yaml"
_ROUNDS: Final = 6
_MORE: Final = 3.0
"""A case of the unit tests that the fitted numbers would get wrong counts so many times as much in the next round."""
_HEAD: Final = """\
# How often each cause makes each condition hold, fitted on runs with known faults. Do not edit it; renew it by
#     make fit-diagnosis {arguments}
# `fitted` counts where the condition is still the one of `of` and the rule file still has the numbers of `hand`. Else,
# and for evidence that is not here, the rule file's numbers count. P(on) = 1 - (1 - leak) * product of (1 - number of
# each cause that is there); `weight` is how much the condition counts (1 in rule files), divided by the temperature.
# Among the runs are the recorded and synthetic cases of the unit tests, so these say nothing of how good the fit is.
# The penalty and the temperature are the best ones for injectors that were left out ({named}).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, report, and write the file unless told not to."""
    parser = argparse.ArgumentParser(description="Fit the diagnosis on runs with known faults.")
    parser.add_argument(
        "--runs", type=Path, nargs="+", default=[RUNS], help="the campaigns' lines (default: %(default)s)"
    )
    parser.add_argument(
        "--every-line", action="store_true", help="use the held-out lines, too: where another exam is the judge"
    )
    parser.add_argument("--strength", type=float, help="this penalty; without it, cross-validation chooses one")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--output", type=Path, default=TARGET, help="the file to write (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    runs = [run for path in chosen.runs for run in usable(path, every=chosen.every_line)]
    rules = load_rules(fitted=NOT_FITTED)
    table = table_of(rules, rows_of(rules, runs))
    frame = Frame(rules)
    data = data_of(frame, table)
    strengths = STRENGTHS if chosen.strength is None else (chosen.strength,)
    best = chosen_of(tried(frame, table, data, strengths))
    print(told("hand-written numbers", answers(table.rows, rules)))
    print(told("fitted, injectors left out", left_out(frame, rules, table, best)))
    fitted = fit(frame, rules, table, data, best)
    print(told("fitted on all (optimistic)", answers(table.rows, replace(rules, fitted=fitted))))
    if not chosen.dry:
        said = " ".join(["--every-line"] * chosen.every_line + ["--runs", *(_shown(path) for path in chosen.runs)])
        text = "\n".join(lines(fitted, table.rows, best, f'BENCH="{said}"')) + "\n"
        replace_file(chosen.output, text.encode())
        print(f"{len(fitted.bits)} conditions fitted on {len(table.rows)} readings: {chosen.output}")
    return 0


def usable(path: Path, *, every: bool = False) -> list[Run]:
    """Return the campaign's runs that may be used for fitting, or every one whose label counts."""
    campaign = read_campaign(path)
    left = ", ".join(f"{number} {why}" for why, number in campaign.left_out.items())
    chosen = [run for run in campaign.runs if run.fit or every]
    print(
        f"{path.name}: {len(chosen)} of {len(campaign.runs)} runs with a label that counts are used; left out: {left}"
    )
    return chosen


def chosen_of(found: Sequence[Tried]) -> Tried:
    """Return what names most on injectors that were left out (of equals the least log loss), and say what each gave.

    The hand-written numbers are the first; they are no choice, and it is said where they are the best.
    """
    for each in found:
        what = "hand-written numbers" if np.isinf(each.strength) else f"penalty {each.strength:g}"
        print(f"{what}, temperature {each.temperature:g}: {each.right:.1%} named, log loss {each.loss:.2f} nats")
    hand, *rest = found
    best = max(rest, key=lambda each: (round(each.right, 3), -each.loss))
    if round(best.right, 3) < round(hand.right, 3):
        print("on injectors that were left out, the hand-written numbers name more than any fitted ones")
    return best


def left_out(frame: Frame, rules: RuleSet, table: Table, best: Tried) -> list[Answer]:
    """Diagnose each run by numbers that were fitted without its injector."""
    found: list[Answer] = []
    for out, numbers in best.parts:
        known = measured_in(table.only(np.flatnonzero(~out)))
        fitted = fitted_of(frame, rules, numbers, known, best.temperature)
        found += answers([table.rows[row] for row in np.flatnonzero(out)], replace(rules, fitted=fitted))
    return found


def answers(rows: Sequence[Row], rules: RuleSet) -> list[Answer]:
    """Diagnose the runs among rows as they were measured, by other numbers."""
    return [
        answer(row.run, scores_of(_by(row.judgement, rules), [_by(entry, rules) for entry in row.entries]))
        for row in rows if row.measured and not row.case
    ]  # fmt: skip


def fit(frame: Frame, rules: RuleSet, table: Table, data: Data, best: Tried) -> Fitted:
    """Fit on all rows; cases that would be judged wrongly, though by hand they are not, count more and more."""
    fitting = Fit(frame, table)
    cases = [at for at, row in enumerate(table.rows) if row.case and _stays(row, rules)]
    counts, vector = data.counts.copy(), None
    for round_ in range(_ROUNDS):
        vector = fitting.vector(replace(data, counts=counts), best.strength, vector)
        fitted = fitted_of(frame, rules, fitting.numbers(vector), fitting.known, best.temperature)
        renewed = replace(rules, fitted=fitted)
        wrong = [at for at in cases if not _stays(table.rows[at], renewed)]
        print(f"round {round_ + 1}: {len(wrong)} of {len(cases)} cases of the unit tests would be judged wrongly")
        if not wrong:
            break
        counts[wrong] *= _MORE
    return fitted


def _stays(row: Row, rules: RuleSet) -> bool:
    return stays_right(posterior(_by(row.judgement, rules)), row.run, rules)


def _by(judgement: Judgement, rules: RuleSet) -> Judgement:
    return replace(judgement, rule_set=rules)


def told(what: str, found: Sequence[Answer]) -> str:
    """Say in one line how good these answers are."""
    seen = summary(found)
    label, recall = seen.worst_recall
    return (
        f"{what}: {seen.runs} readings, first {seen.places[0]:.1%}, first two {seen.places[1]:.1%}, "
        f"macro-F1 {seen.macro_f1:.3f}, worst {label} {recall:.2f}, "
        f"healthy wrong {seen.false_alarms} of {seen.healthy}, both of two {seen.both[0]} of {seen.both[1]}, "
        f"a wrong second cause {seen.wrong_seconds[0]} of {seen.wrong_seconds[1]}, Brier {seen.brier:.3f}, "
        f"calibration error {seen.calibration_error:.3f}"
    )


def lines(fitted: Fitted, rows: Sequence[Row], best: Tried, arguments: str) -> Iterator[str]:
    """Yield the lines of the file."""
    named = f"penalty {best.strength:g}: {best.right:.1%} of them named"
    yield _HEAD.format(arguments=arguments, named=named) + "schema: 1"
    yield f"runs: {len({row.run.name for row in rows})}"
    yield f"injectors: {len({row.run.injector for row in rows})}"
    yield f"temperature: {fitted.temperature:g}"
    yield "bits:"
    for name, each in fitted.bits.items():
        yield f"  {name}:"
        yield f'    of: "{each.of}"'
        yield f"    weight: {each.bit.weight:g}"
        yield f"    hand:   {{{_said(each.hand_leak, each.hand_says)}}}"
        yield f"    fitted: {{{_said(each.bit.leak, each.bit.says)}}}"


def _said(leak: float, says: Mapping[str, float]) -> str:
    return ", ".join([f"leak: {leak:g}", *(f"{cause}: {says[cause]:g}" for cause in CAUSES if cause in says)])


def _shown(path: Path) -> str:
    """Return a path below the repository, or its last part: another machine has it elsewhere."""
    whole = path.resolve()
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else path.name


if __name__ == "__main__":
    raise SystemExit(main())

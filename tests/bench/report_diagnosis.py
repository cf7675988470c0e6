"""How good the diagnosis is on faults that it was not fitted on, as a page in Markdown.

Run it by `make report-diagnosis`. It reads the campaign's lines with `fit: false`: whole injectors, paths and loads
that fitting has never seen. Rivals that learn, learn on the others, as the network did.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from diagnosis_rivals import first_rule, most_moved, regression, today
from diagnosis_scores import Answer, Scores, Summary, answer, confusion, network_scores, recalls_of, summary
from fault_runs import PATH_LATENCY, RUNS, Campaign, Run, drop_reasons, from_programs, golden_runs, read_campaign

from perfcheck.diagnose import RuleSet, diagnose, load_rules
from perfcheck.model.causes import CAUSES, HEALTHY

_SURE: Final = 0.85
_ROUNDS: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to the terminal and, if asked, into a file."""
    parser = argparse.ArgumentParser(description="Report how good the diagnosis is on faults it was not fitted on.")
    parser.add_argument("--runs", type=Path, default=RUNS, help="the campaign's lines (default: %(default)s)")
    parser.add_argument(
        "--train", type=Path, help="lines of another campaign, from which rivals learn; else those with `fit: true`"
    )
    parser.add_argument("--golden", action="store_true", help="report on the recorded runs of the unit tests instead")
    parser.add_argument("--output", type=Path, help="also write the page into this file")
    chosen = parser.parse_args(arguments)
    campaign = Campaign(runs=golden_runs(), left_out={}) if chosen.golden else read_campaign(chosen.runs)
    train = [run for run in campaign.runs if run.fit]
    if chosen.train is not None:
        train = list(read_campaign(chosen.train).runs)
    test = train if chosen.golden else [run for run in campaign.runs if not run.fit]
    if not test:
        print("no run with `fit: false` whose label counts")
        return 1
    page = "\n".join(_page(load_rules(), campaign, train, test)) + "\n"
    print(page)
    if chosen.output is not None:
        chosen.output.write_text(page, encoding="utf-8")
    return 0


def _page(rules: RuleSet, campaign: Campaign, train: Sequence[Run], test: Sequence[Run]) -> Iterator[str]:
    found = [answer(run, network_scores(rules, run)) for run in test]
    seen = "the recorded runs of the unit tests, on which rules and rivals were tuned (optimistic)"
    yield f"# Diagnosis of {'faults that it was not fitted on' if test is not train else seen}"
    yield ""
    yield from _about(campaign, train, test)
    rows: dict[str, list[Answer]] = {"network": found}
    if any(run.reading.baseline for run in test):
        alone = [run.alone() for run in test if run.label != PATH_LATENCY]
        rows["network, without a baseline (and path_latency)"] = [
            answer(run, network_scores(rules, run)) for run in alone
        ]
    for what, hidden in {"network, drop reasons masked": drop_reasons, "network, without BPF": from_programs}.items():
        rows[what] = [_masked(rules, run, hidden) for run in test]
    for what, rival in _rivals(rules, train, test).items():
        rows[what] = [answer(run, rival(run)) for run in test]
    yield from _table({what: summary(answers) for what, answers in rows.items()})
    yield from _chance(found)
    yield from _believed(found)
    yield from _labels(found)
    yield from _confusions(found)
    yield from _wrong(found)
    yield f"One diagnosis takes {_milliseconds(rules, test):.1f} ms (mean over these runs, all rules, one process)."


def _masked(rules: RuleSet, run: Run, hidden: Callable[[str], bool]) -> Answer:
    return answer(run, network_scores(rules, run.without(hidden)))


def _rivals(rules: RuleSet, train: Sequence[Run], test: Sequence[Run]) -> dict[str, Callable[[Run], Scores]]:
    rivals: dict[str, Callable[[Run], Scores]] = {"first rule that holds": first_rule(rules)}
    if any(run.causes for run in train):
        rivals["metric that moved most (3 sigma)"] = most_moved(train)
        rivals["logistic regression on the same bits"] = regression(rules, train)
    if all(run.before for run in test):
        rivals["rules of the day of the campaign"] = today
    return rivals


def _about(campaign: Campaign, train: Sequence[Run], test: Sequence[Run]) -> Iterator[str]:
    left = ", ".join(f"{number} {why}" for why, number in campaign.left_out.items()) or "none"
    injectors = {run.injector for run in test if run.causes}
    seen = {run.injector for run in train}
    new = len(injectors - seen)
    yield f"- {len(test)} runs of {len(injectors)} injectors; {new} injectors are not in the fitted runs."
    yield f"- {len(train)} runs may be used for fitting. Left out of all: {left}."
    double = sum(len(run.causes) > 1 for run in test)
    yield f"- {sum(not run.causes for run in test)} runs are healthy, {double} have two faults."
    yield ""


def _table(rows: Mapping[str, Summary]) -> Iterator[str]:
    columns = (
        "", "AC@1 (95 %)", "AC@2", "AC@3", "Avg@5", "macro-F1 (95 %)", "worst recall", "healthy wrong", "both of two",
        "Brier", "calibration error",
    )  # fmt: skip
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for what, each in rows.items():
        label, recall = each.worst_recall
        low, high = each.intervals["ac1"]
        low_f1, high_f1 = each.intervals["macro_f1"]
        both = f"{each.both[0]} of {each.both[1]}" if each.both[1] else "none made"
        believed = f"{each.brier:.3f} | {each.calibration_error:.3f}"
        yield (
            f"| {what} | {each.places[0]:.1%} ({low:.0%} to {high:.0%}) | {each.places[1]:.1%} | {each.places[2]:.1%} "
            f"| {sum(each.places) / 5:.1%} | {each.macro_f1:.2f} ({low_f1:.2f} to {high_f1:.2f}) "
            f"| {label} {recall:.2f} | {each.false_alarms} of {each.healthy} | {both} | {believed} |"
        )
    yield ""
    yield "Intervals are bootstrapped over whole injectors."
    yield "`application_limited` beside `healthy` with 0.5 or more names it."
    yield ""


def _chance(found: Sequence[Answer]) -> Iterator[str]:
    recalls = recalls_of([each for each in found if len(each.run.causes) < 2])
    chance = 1 / len(recalls)
    right = sum(recalls.values()) / len(recalls)
    yield f"With {len(recalls)} labels, chance is {chance:.1%}."
    yield f"The mean recall is {right:.1%}: a lift of {right / chance:.1f}."
    yield ""


def _believed(found: Sequence[Answer]) -> Iterator[str]:
    seen = summary(found)
    low, high = seen.intervals["brier"]
    sure = [each for each in found if each.confidence >= _SURE and len(each.run.causes) < 2]
    yield (
        f"Brier {seen.brier:.3f} ({low:.3f} to {high:.3f}) = reliability {seen.reliability:.3f} - resolution "
        f"{seen.resolution:.3f} + uncertainty {seen.uncertainty:.3f} (and what differs within bins). Of {len(sure)} "
        f"diagnoses with {_SURE} or more, {sum(each.right for each in sure)} are right."
    )
    yield ""


def _labels(found: Sequence[Answer]) -> Iterator[str]:
    single = [each for each in found if len(each.run.causes) < 2]
    yield "| cause | runs | named first | among two | injectors that are missed |"
    yield "|---|---|---|---|---|"
    for label, recall in recalls_of(single).items():
        own = [each for each in single if each.run.label == label]
        missed = sorted({each.run.injector.partition("/")[2] for each in own if not each.right})
        second = sum(each.within(2) for each in own) / len(own)
        yield f"| {label} | {len(own)} | {recall:.0%} | {second:.0%} | {', '.join(missed)} |"
    yield ""


def _confusions(found: Sequence[Answer]) -> Iterator[str]:
    matrix = confusion([each for each in found if len(each.run.causes) < 2])
    named = sorted({cause for row in matrix.values() for cause in row}, key=CAUSES.index)
    yield "Rows: what was made. Columns: what was named first."
    yield ""
    yield f"| | {' | '.join(named)} |"
    yield "|---|" + "---|" * len(named)
    for label in sorted(matrix, key=CAUSES.index):
        yield f"| {label} | {' | '.join(str(matrix[label][cause] or '') for cause in named)} |"
    yield ""


def _wrong(found: Sequence[Answer]) -> Iterator[str]:
    yield "Named wrongly:"
    yield ""
    for each in found:
        complete = each.right if len(each.run.causes) < 2 else each.run.causes <= set(each.ranked[:2])
        if not complete:
            said = f"{each.ranked[0]} ({each.confidence:.2f}), then {', '.join(each.ranked[1:3]) or HEALTHY}"
            yield f"- {each.run.name}: {said}"
    yield ""


def _milliseconds(rules: RuleSet, runs: Sequence[Run]) -> float:
    some = list(runs)[:100]
    for run in some[:1]:
        diagnose(rules, run.reading.metrics, run.reading.trials)
    began = time.process_time()
    for _ in range(_ROUNDS):
        for run in some:
            diagnose(rules, run.reading.metrics, run.reading.trials)
    return (time.process_time() - began) * 1e3 / (_ROUNDS * len(some))


if __name__ == "__main__":
    raise SystemExit(main())

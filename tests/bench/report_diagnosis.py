"""How good the diagnosis is on faults that it was not fitted on, as a page in Markdown.

Run it by `make report-diagnosis`. It reads the campaigns' lines with `fit: false`: whole injectors, paths and loads
that fitting has never seen. Rivals that learn, learn on the others, as the network did. With `--json` the figures are
written for programs, too: pages of the documentation take from them how often each cause was right.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from diagnosis_rivals import first_rule, most_moved, regression, today
from diagnosis_scores import Answer, Scores, Summary, answer, confusion, network_scores, of_causes, summary
from fault_runs import PATH_LATENCY, RUNS, Campaign, Run, drop_reasons, from_programs, golden_runs, read_campaign

from perfcheck.diagnose import RuleSet, diagnose, load_rules
from perfcheck.model.causes import CAUSES, HEALTHY

_SURE: Final = 0.85
_ROUNDS: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to the terminal and, if asked, into a file."""
    parser = argparse.ArgumentParser(description="Report how good the diagnosis is on faults it was not fitted on.")
    parser.add_argument(
        "--runs", type=Path, nargs="+", default=[RUNS], help="lines of one campaign or several (default: %(default)s)"
    )
    parser.add_argument(
        "--train",
        type=Path,
        nargs="+",
        help="lines of other campaigns, of which rivals learn; else those with `fit: true`",
    )
    parser.add_argument("--golden", action="store_true", help="report on the recorded runs of the unit tests instead")
    parser.add_argument("--output", type=Path, help="also write the page into this file")
    parser.add_argument("--json", type=Path, help="write the network's figures into this file, for programs")
    chosen = parser.parse_args(arguments)
    campaigns = _campaigns(chosen.runs, golden=chosen.golden)
    train = [run for campaign in campaigns.values() for run in campaign.runs if run.fit]
    if chosen.train is not None:
        train = [run for path in chosen.train for run in read_campaign(path).runs]
    wanted = chosen.golden
    tests = {name: [run for run in campaign.runs if run.fit == wanted] for name, campaign in campaigns.items()}
    empty = [name for name, runs in tests.items() if not any(len(run.causes) < 2 for run in runs)]
    if empty:
        print(f"{', '.join(empty)}: no run with `fit: false` whose label counts")
        return 1
    rules = load_rules()
    found = {name: [answer(run, network_scores(rules, run)) for run in runs] for name, runs in tests.items()}
    page = "\n".join(_page(rules, list(campaigns.values()), train, found)) + "\n"
    print(page)
    if chosen.output is not None:
        chosen.output.write_text(page, encoding="utf-8")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures(found), indent=1) + "\n", encoding="utf-8")
    return 0


def _campaigns(paths: Sequence[Path], *, golden: bool) -> dict[str, Campaign]:
    if golden:
        return {"recorded runs": Campaign(runs=golden_runs(), left_out={})}
    return {path.name: read_campaign(path) for path in paths}


def figures(found: Mapping[str, Sequence[Answer]]) -> dict[str, Any]:
    """Return what `--json` writes: the figures of all files together and of each, and each cause's runs.

    `causes` says of each cause in how many runs it alone was made, and in how many it was named first, or among two.
    """
    every = [each for answers in found.values() for each in answers]
    return {
        "schema": 1, "all": asdict(summary(every)),
        "files": {name: asdict(summary(answers)) for name, answers in found.items()},
        "causes": {cause: asdict(each) for cause, each in of_causes(every).items()},
        "pairs": {pair: {"runs": runs, "both_among_two": both} for pair, (runs, both) in _pairs_of(every).items()},
    }  # fmt: skip


def _pairs_of(found: Sequence[Answer]) -> dict[str, tuple[int, int]]:
    pairs: dict[str, list[bool]] = {}
    for each in found:
        if len(each.run.causes) > 1:
            pairs.setdefault(each.run.label, []).append(each.complete)
    return {pair: (len(each), sum(each)) for pair, each in sorted(pairs.items())}


def _page(
    rules: RuleSet, campaigns: Sequence[Campaign], train: Sequence[Run], files: Mapping[str, Sequence[Answer]]
) -> Iterator[str]:
    found = [each for answers in files.values() for each in answers]
    test = [each.run for each in found]
    seen = "the recorded runs of the unit tests, on which rules and rivals were tuned (optimistic)"
    yield f"# Diagnosis of {seen if all(run.fit for run in test) else 'faults that it was not fitted on'}"
    yield ""
    yield from _about(campaigns, train, test)
    rows: dict[str, Sequence[Answer]] = {"network": found}
    rows |= {f"network, {name}": answers for name, answers in files.items()} if len(files) > 1 else {}
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


def _about(campaigns: Sequence[Campaign], train: Sequence[Run], test: Sequence[Run]) -> Iterator[str]:
    out: Counter[str] = Counter()
    for campaign in campaigns:
        out.update(campaign.left_out)
    left = ", ".join(f"{number} {why}" for why, number in out.items()) or "none"
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
        "", "AC@1 (95 %)", "AC@2 (95 %)", "AC@3", "Avg@5", "macro-F1 (95 %)", "worst recall", "healthy wrong",
        "both of two", "wrong second", "Brier (95 %)", "calibration error (95 %)",
    )  # fmt: skip
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for what, each in rows.items():
        label, recall = each.worst_recall
        places = [f"{share:.1%}" for share in each.places[:3]]
        both = f"{each.both[0]} of {each.both[1]}" if each.both[1] else "none made"
        cells = (
            what, f"{places[0]} ({_percent(each, 'ac1')})", f"{places[1]} ({_percent(each, 'ac2')})", places[2],
            f"{each.average:.1%}", f"{each.macro_f1:.2f} ({_between(each, 'macro_f1')})", f"{label} {recall:.2f}",
            f"{each.false_alarms} of {each.healthy}", f"{both} ({_percent(each, 'both')})" if each.both[1] else both,
            f"{each.wrong_seconds[0]} of {each.wrong_seconds[1]}", f"{each.brier:.3f} ({_between(each, 'brier')})",
            f"{each.calibration_error:.3f} ({_between(each, 'calibration_error')})",
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "Intervals are bootstrapped over whole injectors."
    yield "A wrong second is a cause of 0.5 or more that was not made, beside a right first one."
    yield "`application_limited` beside `healthy` with 0.5 or more names it."
    yield ""


def _percent(each: Summary, figure: str) -> str:
    low, high = each.intervals[figure]
    return f"{low:.0%} to {high:.0%}"


def _between(each: Summary, figure: str) -> str:
    low, high = each.intervals[figure]
    return f"{low:.2f} to {high:.2f}"


def _chance(found: Sequence[Answer]) -> Iterator[str]:
    seen, labels = summary(found), len(of_causes(found))
    yield f"With {labels} labels, chance is {seen.chance:.1%}."
    yield f"The mean recall is {seen.lift * seen.chance:.1%}: a lift of {seen.lift:.1f}."
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
    yield "| cause | runs | named first | among two | injectors that are missed |"
    yield "|---|---|---|---|---|"
    for label, each in of_causes(found).items():
        own = (one for one in found if one.run.label == label)
        missed = ", ".join(sorted({one.run.injector.partition("/")[2] for one in own if not one.right}))
        first, second = each.first / each.runs, each.among_two / each.runs
        yield f"| {label} | {each.runs} | {first:.0%} | {second:.0%} | {missed} |"
    yield ""
    pairs = _pairs_of(found)
    if pairs:
        yield "| two causes | runs | both among the first two |"
        yield "|---|---|---|"
        yield from (f"| {pair} | {runs} | {both} |" for pair, (runs, both) in pairs.items())
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
        if not each.complete:
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

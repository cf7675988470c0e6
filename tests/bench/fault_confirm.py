"""Tests causes by intervention over the fault matrix: `make campaign-confirm`. Each test is a line in a file.

Of each combination the true cause is tested, and one that people would confuse with it. A stopped campaign goes on.
Causes take turns, then injectors. While the file that PERFCHECK_CAMPAIGN_WAIT names exists, no test begins.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from confirm_tables import latest, markdown, print_report, read_rows, store, totals
from fault_campaign import wait_for_quiet

from perfcheck.errors import PerfcheckError, Stopped
from perfcheck.faults import Combination, combinations, default_folder, interleaved, load_library
from perfcheck.model.confirmation import Answer, ConfirmationRecord
from perfcheck.model.record import TrialRecord
from perfcheck.runner import Runner, RunOptions

CONFUSED: Final[Mapping[str, tuple[str, ...]]] = {
    "random_loss": ("queue_overflow", "policer", "receive_window", "cross_traffic"),
    "queue_overflow": ("random_loss", "policer", "receive_window", "congestion_window"),
    "policer": ("random_loss", "receive_window", "ecn_marking", "cross_traffic"),
    "shaper": ("policer", "cross_traffic", "send_buffer", "random_loss"),
    "bufferbloat": ("path_latency", "cross_traffic", "receive_window", "jitter"),
    "ecn_marking": ("random_loss", "receive_window", "send_buffer", "policer"),
    "path_latency": ("bufferbloat", "jitter", "congestion_window", "cpu_contention"),
    "jitter": ("path_latency", "cpu_contention", "bufferbloat", "random_loss"),
    "reordering": ("random_loss", "jitter", "receive_window", "queue_overflow"),
    "receive_window": ("send_buffer", "congestion_window", "shaper", "random_loss"),
    "slow_reader": ("receive_window", "send_buffer", "shaper", "random_loss"),
    "send_buffer": ("receive_window", "congestion_window", "shaper", "policer"),
    "application_limited": ("send_buffer", "receive_window", "shaper", "congestion_window"),
    "congestion_window": ("receive_window", "send_buffer", "random_loss", "shaper"),
    "cpu_contention": ("path_latency", "softirq_contention", "random_loss", "accept_backlog"),
    "softirq_contention": ("cpu_contention", "random_loss", "receive_window", "queue_overflow"),
    "mtu_blackhole": ("random_loss", "receive_window", "syn_loss", "policer"),
    "syn_loss": ("accept_backlog", "random_loss", "conntrack_full", "path_latency"),
    "accept_backlog": ("syn_loss", "random_loss", "conntrack_full", "path_latency"),
    "conntrack_full": ("syn_loss", "accept_backlog", "random_loss", "connection_reset"),
    "cross_traffic": ("random_loss", "shaper", "receive_window", "policer"),
    "connection_reset": ("random_loss", "conntrack_full", "syn_loss", "accept_backlog"),
}
"""For each cause those that show a symptom like its own, and that no fault of it can contain."""

ANSWERS: Final = {Answer.CONFIRMED: "confirmed", Answer.REFUTED: "refuted", Answer.UNTESTED: "open"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A cause to be tested in a combination; `right` where it is what the combination injects."""

    combination: Combination
    cause: str

    @property
    def right(self) -> bool:
        return self.cause in self.combination.causes

    @property
    def key(self) -> str:
        return f"{self.combination.name} {self.cause}"


def main() -> int:
    """Test what is missing, at most `--count` causes now, or report what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/faults/confirm.jsonl"), help="one line a test")
    parser.add_argument("--library", type=Path, help="folder of the matrix's data files (default: scenarios/faults)")
    parser.add_argument("--runs", type=Path, help="results of campaign-faults: only faults that moved a metric there")
    parser.add_argument("--rounds", type=int, default=1, help="combinations of each injector (default: 1)")
    parser.add_argument("--longest-rtt-ms", type=float, default=60, help="leave longer paths out (default: 60)")
    parser.add_argument("--count", type=int, help="make at most so many tests now")
    parser.add_argument("--only", action="append", default=[], help="only 'COMBINATION CAUSE' that contain this text")
    parser.add_argument("--true-only", action="store_true", help="leave the wrong causes for later")
    parser.add_argument("--again", action="append", default=[], help="test these again; the last answer counts")
    parser.add_argument("--report", action="store_true", help="print the tables, test nothing")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/diagnosis.md, test nothing")
    parser.add_argument("--store", type=Path, help="write the results without metrics to this .xz file, test nothing")
    arguments = parser.parse_args()
    if arguments.markdown:
        tests = latest(read_rows(arguments.results))
        print("\n".join([*totals(tests), "", *markdown(tests)]))
        return 0
    if arguments.store is not None:
        store(read_rows(arguments.results), arguments.store)
        return 0
    if arguments.report:
        print_report(read_rows(arguments.results))
        return 0
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = {row["key"] for row in read_rows(arguments.results)}
    done = {key for key in done if not any(text in key for text in arguments.again)}
    wanted = (each for each in _wanted(arguments) if each.key not in done)
    try:
        with Runner.create(RunOptions()) as runner:
            for question in islice(wanted, arguments.count):
                wait_for_quiet()
                _one(runner, question, arguments)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.exit_status
    print_report(read_rows(arguments.results))
    return 0


def _wanted(arguments: argparse.Namespace) -> Iterator[Question]:
    library = load_library(arguments.library)
    near = {name for name, path in library.paths.items() if path.rtt_ns <= arguments.longest_rtt_ms * 1e6}
    every = [each for each in combinations(library) if each.path in near and each.means != ("none",)]
    if arguments.runs is not None:
        moved = {row["name"] for row in read_rows(arguments.runs) if row["moved"]}
        every = [each for each in every if each.name in moved]
    for question in questions(every, arguments.rounds):
        if arguments.true_only and not question.right:
            continue
        if not arguments.only or any(text in question.key for text in arguments.only):
            yield question


def questions(every: Iterable[Combination], rounds: int) -> Iterator[Question]:
    """Yield the tests: of so many combinations of each injector of a single fault the true cause and a wrong one."""
    taken: Counter[tuple[str, str]] = Counter()
    for one in interleaved(each for each in every if len(each.causes) == 1 and each.causes[0] in CONFUSED):
        injector = one.causes[0], one.injector
        taken[injector] += 1
        if taken[injector] <= rounds:
            yield Question(combination=one, cause=one.causes[0])
            yield Question(combination=one, cause=wrong_cause(one))


def wrong_cause(one: Combination) -> str:
    """Return one of the causes that people would confuse with the true one: always the same of one combination."""
    choices = CONFUSED[one.causes[0]]
    return choices[hashlib.sha256(one.name.encode()).digest()[0] % len(choices)]


def _one(runner: Runner, question: Question, arguments: argparse.Namespace) -> None:
    begun = time.monotonic()
    kept: dict[str, list[Mapping[str, float]]] = {"unchanged": [], "relieved": []}

    def keep(relieved: bool, trial: TrialRecord) -> None:
        if trial.valid:
            kept["relieved" if relieved else "unchanged"].append(dict(trial.metrics))

    found: ConfirmationRecord | None = None
    problem: str | None = None
    try:
        found = runner.confirm(question.combination.scenario(), question.cause, told=keep)
    except Stopped:
        raise
    except PerfcheckError as error:
        problem = str(error)
    one = question.combination
    row = {
        "key": question.key, "library": (arguments.library or default_folder()).name,
        "name": one.name, "true": one.causes[0], "injector": one.injector, "path": one.path,
        "load": one.load, "tested": question.cause, "right": question.right, "answer": answer_of(found),
        "reason": problem if found is None else found.reason,
        "effects": [] if found is None else [each.model_dump(mode="json") for each in found.effects],
        "changes": [] if found is None else [each.model_dump(mode="json") for each in found.changes],
        "runs": 0 if found is None else found.runs, "wall_s": round(time.monotonic() - begun, 1), **kept,
    }  # fmt: skip
    with arguments.results.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, separators=(",", ":")) + "\n")
    print(_said(row), file=sys.stderr, flush=True)


def answer_of(found: ConfirmationRecord | None) -> str:
    """Return `confirmed`, `refuted`, `open` (measured and not decided) or `cannot` (nothing that could be measured)."""
    if found is None or (found.outcome is Answer.UNTESTED and not found.effects):
        return "cannot"
    return ANSWERS[found.outcome]


def _said(row: Mapping[str, Any]) -> str:
    effects = ", ".join(
        f"{each['metric']} {each['unchanged']:.4g} -> {each['relieved']:.4g}" for each in row["effects"]
    )
    kind = "right" if row["right"] else "WRONG"
    return f"{row['wall_s']:5.1f} s  {row['name']}: {kind} {row['tested']}: {row['answer']} {row['reason']} [{effects}]"


if __name__ == "__main__":
    sys.exit(main())

"""The campaign of tests of causes: which questions it asks, and how it counts the answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from confirm_tables import latest, markdown, read_rows, store, tally, totals, wilson
from fault_confirm import CONFUSED, answer_of, questions, wrong_cause

from perfcheck.confirm import shipped_interventions
from perfcheck.faults import combinations, load_library
from perfcheck.model.confirmation import Answer, ConfirmationRecord, EffectRecord

EVERY: Final = combinations(load_library())
EFFECT: Final = EffectRecord(
    metric="app.throughput_bps", unit="bps", unchanged=1, relieved=2, change_pct=100, interval_pct=(90, 110),
    wanted_pct=10, outcome=Answer.CONFIRMED,
)  # fmt: skip


def test_every_cause_is_confused_with_others_that_can_be_tested() -> None:
    known = set(shipped_interventions())
    assert set(CONFUSED) == known
    for cause, others in CONFUSED.items():
        assert cause not in others
        assert set(others) <= known


def test_the_wrong_cause_of_a_combination_is_always_the_same_and_all_have_their_turn() -> None:
    chosen = {each.name: wrong_cause(each) for each in EVERY if each.causes == ("random_loss",)}
    assert chosen == {each.name: wrong_cause(each) for each in EVERY if each.causes == ("random_loss",)}
    assert set(chosen.values()) == set(CONFUSED["random_loss"])


def test_each_injector_of_a_single_fault_is_asked_about_twice_a_round_and_causes_take_turns() -> None:
    asked = list(questions(EVERY, rounds=1))
    injectors = {(each.causes, each.injector) for each in EVERY if len(each.causes) == 1 and each.causes[0] in CONFUSED}
    assert len(asked) == 2 * len(injectors)
    assert [each.right for each in asked[:4]] == [True, False, True, False]
    first = asked[: 2 * len(CONFUSED) : 2]
    assert {each.cause for each in first} == set(CONFUSED)
    assert Counter(each.key for each in questions(EVERY, rounds=2)).most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    ("outcome", "effects", "expected"),
    [
        (Answer.CONFIRMED, (EFFECT,), "confirmed"),
        (Answer.REFUTED, (), "refuted"),
        (Answer.UNTESTED, (EFFECT,), "open"),
        (Answer.UNTESTED, (), "cannot"),
    ],
)
def test_what_was_measured_and_not_decided_is_open(
    outcome: Answer, effects: tuple[EffectRecord, ...], expected: str
) -> None:
    assert answer_of(ConfirmationRecord(cause="jitter", outcome=outcome, effects=effects)) == expected
    assert answer_of(None) == "cannot"


def test_the_last_answer_counts() -> None:
    rows = [
        {"key": "a x", "tested": "x", "answer": "open"},
        {"key": "b x", "tested": "x", "answer": "refuted"},
        {"key": "a x", "tested": "x", "answer": "confirmed"},
    ]
    counted = tally(latest(rows), lambda row: str(row["tested"]))
    assert counted == {"x": Counter(confirmed=1, refuted=1)}


ROWS: Final = [
    {"key": "a jitter", "tested": "jitter", "right": True, "answer": "confirmed", "effects": [1]},
    {"key": "b jitter", "tested": "jitter", "right": True, "answer": "open", "effects": [1]},
    {"key": "c jitter", "tested": "jitter", "right": False, "answer": "refuted", "effects": []},
    {"key": "d policer", "tested": "policer", "right": False, "answer": "confirmed", "effects": [1]},
]


def test_the_table_has_the_answers_of_a_cause_as_the_true_one_and_as_a_wrong_one() -> None:
    lines = list(markdown(ROWS))
    assert lines[0].startswith(
        "| cause tested | true: confirmed | true: refuted | true: not decided | wrong: refuted |"
    )
    assert lines[2:] == [
        "| jitter | 1 / 2 |  | 1 | 1 / 1 |  |  |",
        "| policer |  |  |  | 0 / 1 | 1 |  |",
        "| all | 1 / 2 |  | 1 | 1 / 2 | 1 |  |",
    ]


def test_totals_have_the_interval_of_their_share() -> None:
    true, wrong = totals(ROWS)
    assert true.startswith("Of 2 true causes 1 were confirmed: 50 % (95 % interval 9 to 91 %); 2 of the 2 by runs")
    assert wrong.startswith("Of 2 wrong causes 1 were refuted: 50 %")


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(19, 19, 0.832, 1.0), (80, 100, 0.711, 0.867), (0, 10, 0.0, 0.278), (0, 0, 0, 1)]
)
def test_the_interval_of_a_share_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-4)


def test_what_is_stored_is_read_again_without_the_runs_metrics(tmp_path: Path) -> None:
    store([*ROWS, {**ROWS[1], "answer": "refuted", "unchanged": [{"tcp.segs_out": 1.0}]}], tmp_path / "x.jsonl.xz")
    kept = read_rows(tmp_path / "x.jsonl.xz")
    assert [row["answer"] for row in kept] == ["confirmed", "refuted", "refuted", "confirmed"]
    assert all("unchanged" not in row for row in kept)
    assert read_rows(tmp_path / "none.jsonl") == []

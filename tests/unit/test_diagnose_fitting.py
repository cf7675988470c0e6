"""How numbers of the diagnosis are fitted, and how it is reported how good they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnosis_fit import Frame, Tried, data_of, folds, loss_of, tried
from diagnosis_scores import OfCause, answer, believed, macro_f1, of_causes, recalls_of, summary
from fault_runs import Reading, Run, drop_reasons, from_programs, other_golden_runs, read_campaign
from fit_diagnosis import answers, chosen_of, fit, left_out, lines
from fit_table import Row, judged_again, stays_right, synthetic_runs, table_of, weighed
from report_diagnosis import main
from scipy.special import expit, logit

from perfcheck.diagnose import RuleSet, posterior, read_fitted, read_rules
from perfcheck.diagnose.fitted import Fitted
from perfcheck.diagnose.network import Bit

RULES = """\
schema: 1
evidence:
  - {name: lost, when: tcp.retrans_pct > 1%, says: {policer: 0.5, random_loss: 0.5}, sentence: segments are lost}
  - {name: uneven, when: udp.jitter_us > 2ms, says: {policer: 0.4}, sentence: it is uneven}
"""


def run(cause: str, injector: str, *, lost: float | None = 0.0, uneven: float = 0.0, path: str = "wan") -> Run:
    metrics = {"udp.jitter_us": 5000.0 * uneven} | ({} if lost is None else {"tcp.retrans_pct": 5.0 * lost})
    causes = frozenset() if cause == "healthy" else frozenset({cause})
    return Run(
        name=f"{cause}/{injector}/{path}", causes=causes, accepted=frozenset({cause}), injector=f"{cause}/{injector}",
        path=path, fit=True, reading=Reading(metrics=metrics, trials=(metrics,)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return read_rules("my.yaml", RULES)


def many() -> list[Run]:
    """Two causes by two injectors each, on several paths, and healthy runs; a policer shows itself by both bits."""
    runs = [run("policer", name, lost=1, uneven=1, path=f"p{at}") for name in ("nft", "tc") for at in range(6)]
    runs += [run("random_loss", name, lost=1, path=f"p{at}") for name in ("nft", "relay") for at in range(6)]
    return runs + [run("healthy", "twin", path=f"p{at}") for at in range(12)]


def rows_with(rules: RuleSet, runs: Sequence[Run], *, case: bool = False) -> list[Row]:
    return weighed([Row(run=each, judgement=each.reading.judged(rules), case=case) for each in runs])


def fitted_on(rules: RuleSet, rows: Sequence[Row], strength: float = 0.1) -> Fitted:
    table = table_of(rules, rows)
    frame = Frame(rules)
    best = Tried(strength=strength, loss=1.0, right=1.0, temperature=1.0, parts=())
    return fit(frame, rules, table, data_of(frame, table), best)


def test_causes_and_their_injectors_count_alike_however_many_runs_each_has(rules: RuleSet) -> None:
    runs = [
        *(run("policer", "nft") for _ in range(30)),
        run("policer", "tc"),
        run("jitter", "relay"),
        run("healthy", "twin"),
    ]
    counts: dict[str, float] = {}
    for row in rows_with(rules, runs):
        counts[row.run.injector] = counts.get(row.run.injector, 0.0) + row.counts
    assert counts == pytest.approx({"policer/nft": 0.5, "policer/tc": 0.5, "jitter/relay": 1.0, "healthy/twin": 4.0})


def test_evidence_that_no_run_has_keeps_its_hand_written_numbers(rules: RuleSet) -> None:
    fitted = fitted_on(rules, rows_with(rules, [run(each.label, each.injector, lost=None) for each in many()]))
    assert fitted.bits.keys() == {"uneven"}
    again = fitted_on(rules, rows_with(rules, [each for each in many() if each.label != "random_loss"]))
    assert again.bits["lost"].bit.says["random_loss"] == 0.5


def test_numbers_move_towards_the_runs_and_no_farther_than_the_penalty_lets_them(rules: RuleSet) -> None:
    found = {strength: fitted_on(rules, rows_with(rules, many()), strength) for strength in (0.01, 0.3, 1e6)}
    moved = [found[strength].bits["lost"].bit.says["random_loss"] for strength in (0.01, 0.3, 1e6)]
    assert moved[0] > moved[1] > moved[2] == 0.5  # all of its runs lose segments; the author wrote 0.5
    assert found[1e6].bits["lost"].bit == Bit(name="lost", says={"policer": 0.5, "random_loss": 0.5}, leak=0.01)


def test_a_case_that_the_runs_speak_against_stays_right() -> None:
    rules = read_rules("my.yaml", RULES.replace("random_loss: 0.5}, sentence", "random_loss: 0.9}, sentence"))
    # The campaign has a hundred policers that lose segments, and no random loss; the unit tests have one.
    runs = [run("policer", f"way-{at}", lost=1, uneven=at % 2) for at in range(100)]
    runs += [run("healthy", "twin", path=f"p{at}") for at in range(12)]
    case = run("random_loss", "synthetic", lost=1)
    assert stays_right(posterior(case.reading.judged(rules)), case, rules)
    rows = weighed([*rows_with(rules, runs), *rows_with(rules, [case], case=True)])
    renewed = replace(rules, fitted=fitted_on(rules, rows, 0.001))
    assert stays_right(posterior(case.reading.judged(renewed)), case, renewed)


def test_what_is_asked_of_a_case(rules: RuleSet) -> None:
    lossy, well = run("random_loss", "synthetic", lost=1), run("healthy", "synthetic")
    for case, other in ((well, lossy), (lossy, well)):
        found = posterior(case.reading.judged(rules))
        assert not stays_right(found, replace(other, reading=case.reading), rules)
    assert stays_right(posterior(well.reading.judged(rules)), well, rules)


def test_an_injector_is_left_out_whole_and_its_cases_with_it(rules: RuleSet) -> None:
    rows = [*rows_with(rules, many()), *rows_with(rules, [many()[0], run("jitter", "synthetic")], case=True)]
    parts = folds(rows)
    assert all(sum(bool(part[at]) for part in parts) == 1 for at in range(len(rows) - 1))
    assert not any(part[-1] for part in parts), "a case of no campaign is always fitted on"
    for injector in {row.run.injector for row in rows[:-1] if row.run.causes}:
        assert sum(any(rows[at].run.injector == injector for at in np.flatnonzero(part)) for part in parts) == 1


def test_penalty_and_temperature_are_those_for_injectors_that_were_left_out(rules: RuleSet) -> None:
    table = table_of(rules, rows_with(rules, many()))
    frame = Frame(rules)
    found = tried(frame, table, data_of(frame, table), (0.1, 100.0))
    hand, *rest = found
    assert {each.strength for each in rest} == {0.1, 100.0}
    assert all(each.temperature >= 1 for each in found)
    plain = {each.strength: each for each in rest if each.temperature == 1}
    loose, tight = plain[0.1], plain[100.0]
    assert loose.loss < tight.loss
    assert tight.loss == pytest.approx(hand.loss, rel=0.05)
    assert loose.right == pytest.approx(1.0)
    assert chosen_of([hand, replace(loose, right=0.5), tight]) == tight
    assert chosen_of([hand, replace(tight, right=0.8, loss=2.0), replace(loose, right=0.8001, loss=1.0)]).loss == 1.0
    said = left_out(frame, rules, table, loose)
    assert sorted(each.run.name for each in said) == sorted(each.name for each in many())


def test_layers_that_are_hidden_leave_what_the_rest_says(rules: RuleSet) -> None:
    whole = run("policer", "nft", lost=1, uneven=1)
    judged = whole.reading.judged(rules)
    rest = whole.without(lambda name: name.startswith("udp."))
    again = judged_again(rules, judged, rest.reading, lambda _, name: name.startswith("udp."))
    assert again.states() == rest.reading.judged(rules).states() == {"lost": 1.0, "uneven": None}


def test_fitted_numbers_can_be_written_and_read(rules: RuleSet) -> None:
    rows = rows_with(rules, many())
    fitted = fitted_on(rules, rows)
    said = answers(rows, replace(rules, fitted=fitted))
    assert all(each.right for each in said), [(each.run.name, each.ranked[:2]) for each in said if not each.right]
    best = Tried(strength=0.1, loss=1.0, right=1.0, temperature=1.0, parts=())
    text = "\n".join(lines(fitted, rows, best, 'BENCH="--runs my.jsonl"'))
    assert read_fitted("fitted.yaml", text) == fitted
    assert 'make fit-diagnosis BENCH="--runs my.jsonl"' in text
    assert "hand:   {leak: 0.01, policer: 0.4}" in text


def test_the_slope_of_the_loss_is_that_of_small_steps(rules: RuleSet) -> None:
    table = table_of(rules, rows_with(rules, many()))
    frame = Frame(rules)
    data = data_of(frame, table)
    numbers = replace(frame.hand, weights=np.array([0.3, 0.7]))
    loss, slope = loss_of(frame, data, numbers)
    step = 1e-6

    def moved(logits: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        found = logit(logits)
        found[at] += step
        return expit(found)

    with np.errstate(divide="ignore"):
        for at in zip(*np.nonzero(frame.said), strict=True):
            more, _ = loss_of(frame, data, replace(numbers, strengths=moved(numbers.strengths, at)))
            assert (more - loss) / step == pytest.approx(slope.strengths[at], rel=1e-3, abs=1e-4)
    for column in range(2):
        more, _ = loss_of(frame, data, replace(numbers, leaks=moved(numbers.leaks, (column,))))
        assert (more - loss) / step == pytest.approx(slope.leaks[column], rel=1e-3, abs=1e-4)
        weights = numbers.weights + step * (np.arange(2) == column)
        more, _ = loss_of(frame, data, replace(numbers, weights=weights))
        assert (more - loss) / step == pytest.approx(slope.weights[column], rel=1e-3, abs=1e-4)


def test_ranks_recalls_and_false_alarms() -> None:
    right = answer(run("policer", "nft"), {"policer": 0.8, "healthy": 0.1})
    second = answer(run("policer", "tc"), {"shaper": 0.6, "policer": 0.4})
    alarm = answer(run("healthy", "twin"), {"jitter": 0.9, "healthy": 0.1})
    beside = answer(run("application_limited", "paced"), {"healthy": 0.9, "application_limited": 0.7})
    found = [right, second, alarm, beside]
    assert recalls_of(found) == {"healthy": 0.0, "policer": 0.5, "application_limited": 1.0}
    seen = summary(found)
    assert seen.places[:2] == (0.5, 1.0)
    assert (seen.false_alarms, seen.healthy) == (1, 1)
    assert seen.worst_recall == ("healthy", 0.0)
    # F1 of healthy 0, of policer 2/3 (recall 1/2, precision 1), of application_limited 1.
    assert macro_f1(found) == pytest.approx((0 + 2 / 3 + 1) / 3)


def test_two_faults_count_where_both_are_among_the_first_two() -> None:
    both = Run(
        name="pair", causes=frozenset({"policer", "jitter"}), accepted=frozenset({"policer", "jitter"}),
        injector="pair", path="wan", fit=False, reading=Reading(metrics={}, trials=()),
    )  # fmt: skip
    alone = answer(run("healthy", "twin"), {"healthy": 1.0})
    found = [answer(both, {"jitter": 0.9, "policer": 0.8}), answer(both, {"jitter": 0.9, "healthy": 0.5}), alone]
    seen = summary(found)
    assert seen.both == (1, 2)
    assert seen.intervals["both"] == (0.5, 0.5)  # one injector


def test_a_wrong_second_cause_beside_the_right_one_is_counted() -> None:
    found = [
        answer(run("policer", "nft"), {"policer": 0.9, "jitter": 0.6, "unknown": 0.7, "healthy": 0.0}),
        answer(run("policer", "nft"), {"policer": 0.9, "jitter": 0.4, "unknown": 0.7, "healthy": 0.0}),
        answer(run("policer", "nft"), {"shaper": 0.9, "jitter": 0.6, "healthy": 0.0}),
    ]
    assert summary(found).wrong_seconds == (1, 3)


def test_chance_lift_and_how_often_each_cause_was_named() -> None:
    found = [
        answer(run("policer", "nft"), {"policer": 0.8, "healthy": 0.1}),
        answer(run("policer", "tc"), {"shaper": 0.6, "policer": 0.4, "healthy": 0.0}),
        answer(run("healthy", "twin"), {"healthy": 0.9, "policer": 0.1}),
    ]
    seen = summary(found)
    assert (seen.chance, seen.lift) == (0.5, 1.5)  # recalls of 1 and 1/2
    assert seen.average == pytest.approx((2 / 3 + 4) / 5)
    assert of_causes(found) == {
        "healthy": OfCause(runs=1, first=1, among_two=1, named=1),
        "policer": OfCause(runs=2, first=1, among_two=2, named=1),
    }


def test_several_exams_are_reported_together_and_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = {"tcp.retrans_pct": 0.0, "tcp.bdp_use_pct": 95.0, "tcp.queue_delay_us": 100.0, "tcp.rtt_us.p50": 100.0}
    row = {
        "name": "twin/wan/bulk", "causes": ["healthy"], "injector": "twin", "path": "wan", "load": "bulk", "fit": False,
        "metrics": trial, "trials": [{"metrics": trial}],
    }  # fmt: skip
    pair = row | {"name": "pair", "causes": ["policer", "jitter"], "injector": "both", "twin": "twin/wan/bulk"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(pair))
    (tmp_path / "b.jsonl").write_text(json.dumps(row))
    files = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    assert main(["--runs", *files, "--json", str(tmp_path / "figures.json")]) == 0
    page = capsys.readouterr().out
    assert "| network, a.jsonl |" in page
    assert "| jitter+policer | 1 | 0 |" in page
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["causes"] == {"healthy": {"runs": 2, "first": 2, "among_two": 2, "named": 2}}
    assert figures["pairs"] == {"jitter+policer": {"runs": 1, "both_among_two": 0}}
    assert [figures["files"][name]["both"] for name in ("a.jsonl", "b.jsonl")] == [[0, 1], [0, 0]]
    assert figures["all"]["runs"] == 2
    (tmp_path / "b.jsonl").write_text(json.dumps(row | {"fit": True}))
    assert main(["--runs", *files]) == 1
    assert "b.jsonl: no run" in capsys.readouterr().out


def test_the_cases_of_the_unit_tests_are_read_with_their_causes() -> None:
    causes = {run.name: run.accepted for run in synthetic_runs()}
    assert causes["synthetic/policed-to-20"] == {"policer"}
    assert causes["synthetic/voice"] == {"healthy"}
    campaign = {run.name: run for run in other_golden_runs()}
    assert campaign["twin/lan/churn"].injector == "healthy/twin"
    assert any(len(run.causes) == 2 for run in campaign.values())
    assert {run.injector for run in campaign.values() if run.name.startswith("accept_backlog/slow-accept/")} == {
        "accept_backlog/slow-accept"
    }  # fmt: skip


def said(confidences: Sequence[tuple[float, bool]]) -> tuple[float, ...]:
    chosen = [
        answer(run("policer" if right else "shaper", "nft"), {"policer": confidence, "healthy": 0.0})
        for confidence, right in confidences
    ]
    return believed(chosen)


def test_the_parts_of_the_brier_score_add_up() -> None:
    brier, reliability, resolution, uncertainty, error = said([(0.85, True), (0.85, False), (0.25, False)])
    assert brier == pytest.approx((0.15**2 + 0.85**2 + 0.25**2) / 3)
    assert brier == pytest.approx(reliability - resolution + uncertainty)
    assert error == pytest.approx((2 * 0.35 + 0.25) / 3)
    assert said([(0.75, True)] * 3 + [(0.75, False)])[4] == pytest.approx(0)


def test_only_labels_that_count_are_read(tmp_path: Path) -> None:
    row = {
        "name": "a", "causes": ["policer"], "injector": "nft", "path": "wan", "load": "bulk", "fit": True,
        "moved": True, "valid": True, "metrics": {"tcp.retrans_pct": 3.0, "no.such": 1.0}, "subjects": {}, "diagnosis":
        [{"cause": "policer", "confidence": 0.5}],
        "trials": [{"index": 0, "valid": True, "metrics": {"tcp.retrans_pct": 3.0}, "subjects": {}}],
    }  # fmt: skip
    rows = [row, row | {"moved": False}, row | {"valid": False}, row | {"causes": ["healthy"], "moved": None}]
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in rows) + '\n{"name": "cut o')
    campaign = read_campaign(path)
    assert [each.label for each in campaign.runs] == ["policer", "healthy"]
    assert campaign.left_out == {"moved nothing": 1, "not valid": 1, "not a whole line": 1}
    assert campaign.runs[0].reading.metrics == {"tcp.retrans_pct": 3.0}
    assert campaign.runs[0].before == (("policer", 0.5),)


def test_masks_hide_what_they_should() -> None:
    assert drop_reasons("ip.drops_netfilter")
    assert not drop_reasons("qdisc.link_drops")
    assert from_programs("tcp.rtt_us.p50")
    assert not from_programs("tcp.srtt_us.p50")
    assert not from_programs("app.throughput_bps")

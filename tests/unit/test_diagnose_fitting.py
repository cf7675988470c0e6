"""How numbers of the diagnosis are fitted, and how it is reported how good they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import diagnosis_fit
import numpy as np
import pytest
from diagnosis_fit import fit, folds, probabilities, table_of
from diagnosis_scores import answer, believed, macro_f1, recalls_of, summary
from fault_runs import Reading, Run, drop_reasons, from_programs, read_campaign
from fit_diagnosis import answers, lines

from perfcheck.diagnose import RuleSet, read_fitted, read_rules

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


def test_injectors_count_alike_however_many_runs_each_has(rules: RuleSet) -> None:
    runs = [run("policer", "nft", lost=1) for _ in range(30)] + [run("policer", "tc", lost=0) for _ in range(10)]
    found = probabilities(rules, table_of(rules, runs))["policer"][0]
    assert found == pytest.approx(0.5, abs=0.06)


def test_a_bit_that_was_not_measured_has_the_hand_written_number(rules: RuleSet) -> None:
    runs = [run("policer", "nft", lost=None) for _ in range(30)]
    found = probabilities(rules, table_of(rules, runs))["policer"][0]
    assert found == pytest.approx(1 - (1 - 0.01) * (1 - 0.5))


def test_an_injector_is_left_out_whole() -> None:
    runs = many()
    parts = folds(runs)
    assert sorted(row for part in parts for row in part) == list(range(len(runs)))
    for injector in {each.injector for each in runs if each.causes}:
        assert sum(any(runs[row].injector == injector for row in part) for part in parts) == 1


def test_fitted_numbers_name_the_causes_and_can_be_written_and_read(rules: RuleSet) -> None:
    runs = many()
    fitted = fit(rules, table_of(rules, runs))
    said = answers(rules, fitted, runs)
    assert all(each.right for each in said), [(each.run.name, each.ranked[:2]) for each in said if not each.right]
    _, uneven = fitted.bits["uneven"]
    assert uneven.says["policer"] > 0.6  # all of them, and a hand-written 0.4 that counts as two injectors
    assert uneven.says.get("random_loss", 0.0) < 0.2
    again = read_fitted("fitted.yaml", "\n".join(lines(fitted, runs)))
    assert again == fitted


def test_the_gradient_of_the_loss_is_that_of_small_steps(rules: RuleSet) -> None:
    table = table_of(rules, many())
    network = diagnosis_fit._frame(rules, diagnosis_fit.bits(table, probabilities(rules, table), np.ones(2), ["policer",
        "random_loss"]))  # fmt: skip
    part = diagnosis_fit._part(network, table)
    weights = np.array([0.3, 0.7])
    loss, gradient = diagnosis_fit._loss([part], network.log_prior, weights)
    for at in range(2):
        step = np.zeros(2)
        step[at] = 1e-6
        more, _ = diagnosis_fit._loss([part], network.log_prior, weights + step)
        assert (more - loss) / 1e-6 == pytest.approx(gradient[at], rel=1e-3, abs=1e-4)


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
    assert summary(found).both == (1, 2)


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

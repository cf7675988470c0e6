"""The graph of causes and the decision tree: their files, chains with lags, upstream and downstream."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from perfcheck.diagnose import RuleSet, load_rules
from perfcheck.diagnose.account import account, account_again
from perfcheck.diagnose.causality import Causality
from perfcheck.diagnose.chains import chain_of, states_seen, with_chains
from perfcheck.diagnose.evaluation import Reading
from perfcheck.diagnose.graph_files import read_causality, read_tree
from perfcheck.diagnose.sightings import Sightings, sightings, together
from perfcheck.errors import RuleError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.metric import Layer
from perfcheck.model.record import DiagnosisRecord

MS: Final = 1_000_000
KEY: Final = FlowKey(
    protocol=Protocol.TCP, host="client", local="198.18.0.1", local_port=4000, remote="198.18.0.2", remote_port=80
)


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


def event(number: int, at_ms: float, metric: str, flow: FlowKey | None = KEY, **context: str | int) -> Event:
    return Event(
        number=number, timestamp_ns=round(at_ms * MS), flow=flow, layer=Layer.TCP, metric=metric, value=12_000,
        type=EventType.ALERT, metrics={"tcp.srtt_us": 20_000}, context={"host": "client", **context},
    )  # fmt: skip


DROPS_THEN_CUTS: Final = [
    each
    for round_, at_ms in enumerate((0, 500, 1000))
    for each in (
        event(10 * round_, at_ms, "qdisc.drops_full", kind="drop", seq=1000 * round_, bytes=500),
        event(10 * round_ + 1, at_ms + 21, "tcp.ca_state_events", kind="ca_state", state="Recovery"),
        event(10 * round_ + 2, at_ms + 21.5, "tcp.retrans_segs", kind="retransmission", retransmission="fast",
              seq=1000 * round_, bytes=500),
    )
]  # fmt: skip
LOW: Final = {
    "qdisc.drops": 3.0, "tcp.retrans_segs": 3.0, "tcp.recovery_events": 3.0, "tcp.rto_events": 0.0,
    "tcp.bdp_use_pct": 50.0, "app.throughput_bps": 5e6, "cpu.runq_delay_us.mean": 20.0, "cpu.throttled_pct": 0.0,
}  # fmt: skip


def chained(rules: RuleSet, cause: str, metrics: dict[str, float], found: Sightings) -> DiagnosisRecord:
    diagnosis = (DiagnosisRecord(cause=cause, confidence=0.9),)
    return with_chains(diagnosis, rules.causality, Reading(metrics=metrics), found)[0]


def test_every_harmful_cause_is_a_state_that_leads_to_a_symptom(rules: RuleSet) -> None:
    for cause in CAUSES:
        state = rules.causality.state_of(cause)
        if cause in ("healthy", "unknown"):
            assert state is None
            continue
        assert state is not None, cause
        waiting, seen = [state.name], set()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            waiting += [edge.then for edge in rules.causality.after[name] if edge.then not in seen]
        assert any(rules.causality.states[name].symptom for name in seen), cause


def test_events_and_series_that_states_name_exist(rules: RuleSet) -> None:
    for state in rules.causality.states.values():
        assert not state.is_told_by("nonsense")
        for change in state.series:
            assert state.is_told_by(f"anomaly {change}")


def test_events_give_the_lags_of_a_chain(rules: RuleSet) -> None:
    found = sightings(rules.causality, DROPS_THEN_CUTS, {"events"})
    assert found.incident_count == 3
    chain = chained(rules, "queue_overflow", LOW, found)
    assert chain.chain == ("queue_overflow", "loss", "cwnd cut (+21.0 ms)", "low throughput")
    assert chain.chain_rests_on == "metrics, 9 events in 3 incidents"
    assert chain.fix_first == ""


def test_without_events_the_chain_says_what_it_rests_on(rules: RuleSet) -> None:
    chain = chained(rules, "queue_overflow", LOW, Sightings())
    assert chain.chain == ("queue_overflow", "loss", "cwnd cut", "low throughput")
    assert chain.chain_rests_on.startswith("metrics alone")


def test_what_lies_upstream_of_the_named_cause_is_to_be_fixed_first(rules: RuleSet) -> None:
    busy = LOW | {"cpu.runq_delay_us.mean": 4000.0, "nic.rx_softirq_delay_us.p99": 20_000.0}
    chain = chained(rules, "queue_overflow", busy, Sightings())
    assert chain.chain == (
        "cpu_contention",
        "softirq delay",
        "queue_overflow",
        "loss",
        "cwnd cut",
        "low throughput",
    )
    assert chain.fix_first.startswith("cpu_contention: Give the hosts CPUs")


def test_a_state_that_was_not_seen_breaks_a_chain_and_one_that_was_not_measured_does_not(rules: RuleSet) -> None:
    unmeasured = {name: value for name, value in LOW.items() if name != "tcp.recovery_events"}
    assert chained(rules, "queue_overflow", unmeasured, Sightings()).chain == (
        "queue_overflow", "loss", "low throughput",
    ), "no detour over what nobody looked for"  # fmt: skip
    late = {"tcp.rtt_us.p50": 90_000.0, "tcp.min_rtt_us": 20_000.0, "tcp.bdp_use_pct": 90.0, "app.achieved_pct": 100.0}
    assert chained(rules, "shaper", late, Sightings()).chain == ("shaper", "queue (not measured)", "long round trips")
    fine = LOW | {"tcp.bdp_use_pct": 99.0, "app.achieved_pct": 100.0, "tcp.retrans_segs": 0.0, "udp.loss_pct": 0.0,
                  "tcp.retrans_syn_segs": 0.0}  # fmt: skip
    assert chained(rules, "queue_overflow", fine, Sightings()).chain == ()


def test_an_order_that_the_events_contradict_is_not_shown(rules: RuleSet) -> None:
    """Windows are cut, and seconds later a queue drops: the one did not follow from the other."""
    cuts = [event(at, at, "tcp.ca_state_events", kind="ca_state", state="Recovery") for at in range(3)]
    late = [event(10 + at, 5000 + at, "qdisc.drops_full", kind="drop", seq=at, bytes=1) for at in range(3)]
    assert not sightings(rules.causality, [*cuts, late[0]], {"events"}).contradicted, "one stray event says nothing"
    found = sightings(rules.causality, [*cuts, *late], {"events"})
    assert ("qdisc overflow", "cwnd cut") in found.contradicted


def test_trials_are_put_together(rules: RuleSet) -> None:
    one = sightings(rules.causality, DROPS_THEN_CUTS, {"events"})
    both = together([one, one, Sightings()])
    assert both.events == 18
    assert both.counts["qdisc overflow"] == 6
    assert both.lags_ns == one.lags_ns
    assert together([]) == Sightings()


def test_where_events_show_another_beginning_than_the_named_cause_the_chain_begins_with_it(rules: RuleSet) -> None:
    chain = chained(rules, "random_loss", LOW, sightings(rules.causality, DROPS_THEN_CUTS, {"events"}))
    assert chain.chain == ("queue_overflow", "loss", "cwnd cut (+21.0 ms)", "low throughput")
    assert "nothing that was recorded shows random_loss" in chain.fix_first
    few = [one for one in DROPS_THEN_CUTS if one.metric != "qdisc.drops_full" or one.number == 0]
    chain = chained(rules, "random_loss", LOW, sightings(rules.causality, few, {"events"}))
    assert chain.chain[0] == "random_loss", "one drop does not explain three losses"


def test_healthy_and_unknown_have_no_chain(rules: RuleSet) -> None:
    for cause in ("healthy", "unknown"):
        assert chained(rules, cause, LOW, Sightings()).chain == ()
    assert chain_of("random_loss", Causality(), {}, Sightings()) is None


def test_states_not_measured_are_unknown(rules: RuleSet) -> None:
    assert set(states_seen(rules.causality, Reading(metrics={}), Sightings()).values()) == {None}


def test_the_account_says_what_was_asked_and_what_it_read(rules: RuleSet) -> None:
    metrics = LOW | {"tcp.retrans_pct": 1.2, "tcp.retrans_segs": 400.0, "tcp.limited_cwnd_pct": 90.0,
                     "tcp.limited_rwnd_pct": 0.0}  # fmt: skip
    found = sightings(rules.causality, DROPS_THEN_CUTS, {"events"})
    lines = account(rules, Reading(metrics=metrics), found)
    assert any(line.startswith("yes  is throughput low: tcp.bdp_use_pct (50 %) < 75 %") for line in lines)
    assert any(line.startswith("    no   is the receive window full") for line in lines)
    cut = next(line for line in lines if "is it cut by losses" in line)
    assert cut.startswith("        yes")
    assert cut.endswith("-> random_loss, queue_overflow, policer")
    assert any(line.startswith("?    is latency high: needs ") for line in lines)
    assert "events: 9 in 3 incidents" in lines
    behind_a_no = [line for line in lines if "was the window larger before" in line]
    assert not behind_a_no


def test_a_diagnosis_without_its_events_keeps_what_they_showed(rules: RuleSet) -> None:
    """Stored records are diagnosed again, and regressed runs once more with the baseline at hand."""
    found = sightings(rules.causality, DROPS_THEN_CUTS, {"events"})
    shown = chained(rules, "queue_overflow", LOW, found)
    by_metrics = chained(rules, "random_loss", LOW, Sightings())
    bare = tuple(DiagnosisRecord(cause=cause, confidence=0.5) for cause in ("queue_overflow", "random_loss", "shaper"))
    reading = Reading(metrics={**LOW, "tcp.recovery_events": 0.0})
    again = with_chains(bare, rules.causality, reading, Sightings(), (shown, by_metrics))
    assert (again[0].chain, again[0].chain_rests_on) == (shown.chain, "metrics, 9 events in 3 incidents")
    assert again[0].confidence == 0.5
    assert by_metrics.chain != again[1].chain
    assert "cwnd cut" not in again[1].chain
    lines = account_again(rules, reading, account(rules, Reading(metrics=LOW), found))
    assert lines[: -1 - len(found.incidents)] == account(rules, reading, Sightings())
    assert lines[-1 - len(found.incidents)] == "events: 9 in 3 incidents"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("states: []", "x.yaml:1:1: the key 'schema' is missing"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, when: tcp.rtt_us.p5 > 1ms}", "x.yaml:3:33: states[0].when:"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, cause: gremlins}", "x.yaml:3:34: states[0].cause: 'greml"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, leads_to: [{state: c, within: 2rtt}]}",
         "states[0].leads_to[0].state: there is no state 'c'"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, leads_to: [{state: a, within: soon}]}", "expected a duration"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, leads_to: [{state: a, within: 1ms}]}", "leads to itself"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b}\n  - {name: a, meaning: b}", "x.yaml:4:12: states[1].name"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, cause: jitter}\n  - {name: c, meaning: b, cause: jitter}",
         "another state is 'jitter' already"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, series: [tcp.rtt_us.p50 sideways]}", "expected a metric and"),
        ("schema: 1\nstates:\n  - {name: a, meaning: b, colour: red}", "unknown key 'colour'"),
        ("schema: 1\nstates: {", "invalid YAML"),
        ("", "the file is empty"),
    ],
)  # fmt: skip
def test_mistakes_in_the_graph_are_told_with_their_place(text: str, expected: str) -> None:
    with pytest.raises(RuleError) as told:
        read_causality("x.yaml", text, CATALOGUE, {})
    assert expected in str(told.value)
    assert str(told.value).startswith("x.yaml:")


def test_mistakes_in_the_tree_are_told_with_their_place() -> None:
    text = (
        "schema: 1\ntree:\n  - asks: a\n    when: tcp.bdp_use_pct < 1%\n"
        "    branches:\n      - {asks: b, when: tcp.nope > 1}\n"
    )
    with pytest.raises(RuleError, match=r"t\.yaml:6:25: tree\[0\]\.branches\[0\]\.when: .*tcp\.nope"):
        read_tree("t.yaml", text, CATALOGUE, {})
    with pytest.raises(RuleError, match="'gremlins' is not a cause"):
        read_tree("t.yaml", "schema: 1\ntree:\n  - {asks: a, when: tcp.resets >= 1, causes: [gremlins]}", CATALOGUE, {})


def test_a_folder_of_rules_may_have_a_graph_and_a_tree_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "causality.yaml").write_text("schema: 1\nstates:\n  - {name: only, meaning: one}\n")
    (tmp_path / "tree.yaml").write_text("schema: 1\ntree:\n  - {asks: one, when: no_queue}\n")
    rules = load_rules([tmp_path])
    assert list(rules.causality.states) == ["only"]
    assert [branch.asks for branch in rules.tree] == ["one"]
    assert rules.rules

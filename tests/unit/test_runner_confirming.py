"""The test of a cause with simulated runs: confirmed, refuted or left untested, and why."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from perfcheck.errors import LabError, Stopped, UsageError
from perfcheck.model.confirmation import Answer, ConfirmationRecord
from perfcheck.model.record import TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.runner import confirming
from perfcheck.runner.confirming import LOOKS, CauseTest, PrepareLab
from perfcheck.testing import make_scenario

if TYPE_CHECKING:
    from perfcheck.lab import Lab

RATE = "app.throughput_bps"
BUFFER = "socket.rcvbuf_bytes.max"
LOSSY = [{"between": ["client", "server"], "delay": "10ms", "rate": "100mbit", "loss": "1%"}]


class Silent:
    def __init__(self) -> None:
        self.told: list[str] = []

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        self.told.append(f"[{done}/{total}] {text}")


@dataclass
class Runs:
    """Makes trials by what was measured unchanged and relieved."""

    unchanged: Callable[[int], Mapping[str, float]]
    relieved: Callable[[int], Mapping[str, float]]
    valid: Callable[[int], bool] = lambda index: True
    made: list[str] = field(default_factory=list)

    def __call__(self, one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True) -> TrialRecord | None:
        index = len(self.made)
        self.made.append("unchanged" if prepare_lab is None else "relieved" if traffic else "looked")
        if not traffic:
            return None
        metrics = (self.unchanged if prepare_lab is None else self.relieved)(index)
        return TrialRecord(index=0, metrics=metrics, subjects={"bulk": {RATE: 7.0}}, valid=self.valid(index))


def outcome(runs: Any, cause: str, scenario: Scenario | None = None, entry: str | None = None) -> ConfirmationRecord:
    return CauseTest(scenario or make_scenario(), cause, entry, runs, Silent()).outcome(lambda _: 3)


def rate(value: float) -> Callable[[int], Mapping[str, float]]:
    return lambda index: {RATE: value + index / 10, BUFFER: 1000.0}


def test_a_limit_whose_relief_moves_the_metric_is_confirmed_after_six_runs() -> None:
    runs = Runs(rate(16e6), rate(95e6))
    found = outcome(runs, "receive_window")
    assert found.outcome is Answer.CONFIRMED
    assert sorted(runs.made) == ["relieved"] * 3 + ["unchanged"] * 3
    assert runs.made[:2] == ["unchanged", "relieved"]
    assert runs.made[2] != runs.made[3]
    assert runs.made[4] != runs.made[5]
    assert found.runs == LOOKS[0]
    assert found.effects[0].change_pct == pytest.approx(494, abs=1)


def test_a_limit_whose_relief_moves_nothing_is_refuted() -> None:
    found = outcome(Runs(rate(16e6), rate(16e6)), "send_buffer")
    assert (found.outcome, found.runs, found.reason) == (Answer.REFUTED, 3, "")
    assert [effect.outcome for effect in found.effects] == [Answer.REFUTED]


def test_no_effect_refutes_nothing_where_the_change_did_not_reach_the_program() -> None:
    found = outcome(Runs(rate(16e6), rate(16e6)), "receive_window")
    assert found.outcome is Answer.UNTESTED
    assert "the relief took no effect: socket.rcvbuf_bytes.max stayed at 1 kB" in found.reason
    taken = Runs(rate(16e6), lambda index: {RATE: 16e6, BUFFER: 9000.0})
    assert outcome(taken, "receive_window").outcome is Answer.REFUTED


def test_a_wait_for_cpus_that_stays_long_refutes_nothing() -> None:
    def waiting(delay_us: float) -> Runs:
        metrics = {RATE: 16e6, "cpu.runq_delay_us.p99": delay_us}
        return Runs(lambda index: metrics, lambda index: metrics)

    assert outcome(waiting(40_000.0), "cpu_contention").outcome is Answer.UNTESTED
    assert outcome(waiting(8_000.0), "cpu_contention").outcome is Answer.REFUTED
    short = outcome(waiting(300.0), "cpu_contention")
    assert short.reason == "there is no sign of it: cpu.runq_delay_us.p99 is 300 us"


def test_what_varies_too_much_gets_more_runs_and_is_then_left_open() -> None:
    numbers = count()
    runs = Runs(rate(100.0), lambda _: {RATE: (80.0, 150.0)[next(numbers) % 2]})
    found = outcome(runs, "random_loss", make_scenario(links=LOSSY))
    assert found.outcome is Answer.UNTESTED
    assert found.runs == LOOKS[-1] == 7
    assert found.reason == "7 runs of each side vary too much to decide"


def test_a_limit_that_is_not_there_is_refuted_without_runs() -> None:
    runs = Runs(rate(1.0), rate(1.0))
    found = outcome(runs, "random_loss")
    assert (found.outcome, found.runs, runs.made) == (Answer.REFUTED, 0, ["looked"])
    assert found.reason == "no link loses packets, and no rule of a host drops them at random"


def test_what_might_hide_elsewhere_is_not_refuted_without_runs() -> None:
    runs = Runs(rate(1.0), rate(1.0))
    assert outcome(runs, "application_limited").outcome is Answer.UNTESTED
    assert runs.made == []


def test_what_another_cause_shows_refutes_one_with_the_same_relief() -> None:
    def tested(unread_bytes: float) -> ConfirmationRecord:
        before = {RATE: 16e6, BUFFER: 1000.0, "tcp.limited_rwnd_pct": 99.0, "socket.recvq_bytes.p90": unread_bytes}
        return outcome(Runs(lambda _: before, lambda _: {**before, RATE: 95e6}), "receive_window")

    assert tested(2e3).outcome is Answer.CONFIRMED
    found = tested(2e6)
    assert found.outcome is Answer.REFUTED
    assert found.reason == "another cause is there: socket.recvq_bytes.p90 is 2 MB"


@pytest.mark.parametrize(
    ("counted", "answer"), [(0.0, Answer.REFUTED), (3.0, Answer.UNTESTED), (None, Answer.UNTESTED)]
)
def test_a_run_without_a_sign_refutes_what_no_relief_reaches(counted: float | None, answer: Answer) -> None:
    metrics = {} if counted is None else {"ip.conntrack_drop": counted}
    runs = Runs(lambda _: metrics, rate(1.0))
    found = outcome(runs, "conntrack_full")
    assert (found.outcome, runs.made, found.runs) == (answer, ["looked", "unchanged"], 0)
    wanted = "; there is no sign of it: ip.conntrack_drop is 0"
    assert (wanted in found.reason) is (answer is Answer.REFUTED)


def test_a_run_that_does_not_count_shows_no_missing_sign() -> None:
    runs = Runs(lambda _: {"ip.conntrack_drop": 0.0}, rate(1.0), valid=lambda index: False)
    assert outcome(runs, "conntrack_full").outcome is Answer.UNTESTED


def test_what_moved_without_a_sign_of_the_cause_is_another_cause() -> None:
    marked = {"tcp.retrans_segs": 0.0, RATE: 16e6}
    found = outcome(Runs(lambda _: marked, lambda _: {**marked, RATE: 95e6}), "random_loss", make_scenario(links=LOSSY))
    assert (found.outcome, found.runs) == (Answer.REFUTED, 0)
    assert found.reason == "there is no sign of it: tcp.retrans_segs is 0"
    lost = {**marked, "tcp.retrans_segs": 9.0}
    found = outcome(Runs(lambda _: lost, lambda _: {**lost, RATE: 95e6}), "random_loss", make_scenario(links=LOSSY))
    assert found.outcome is Answer.CONFIRMED


def test_two_unchanged_runs_without_a_sign_are_enough_and_a_sign_in_the_second_is_one() -> None:
    def tried(*lost: float) -> tuple[ConfirmationRecord, list[str]]:
        def unchanged(_: int) -> Mapping[str, float]:
            return {RATE: 16e6, "tcp.retrans_segs": lost[min(made.made.count("unchanged") - 1, len(lost) - 1)]}

        made = Runs(unchanged, lambda _: {RATE: 95e6})
        return outcome(made, "random_loss", make_scenario(links=LOSSY)), made.made

    found, made = tried(0.0)
    assert (found.outcome, made) == (Answer.REFUTED, ["unchanged", "unchanged"])
    found, made = tried(0.0, 3.0)
    assert (found.outcome, found.runs) == (Answer.CONFIRMED, 3)
    assert made[:4] == ["unchanged", "unchanged", "relieved", "relieved"]
    assert len(made) == 6


def test_a_metric_that_was_not_above_what_it_takes_cannot_tell() -> None:
    def outcome_of(share: float) -> Answer:
        before = {RATE: 16e6, "tcp.retrans_pct": share, "tcp.retrans_segs": 99.0}
        after = {**before, "tcp.retrans_pct": 0.0}
        return outcome(Runs(lambda _: before, lambda _: after), "queue_overflow").outcome

    assert (outcome_of(0.5), outcome_of(4.0)) == (Answer.REFUTED, Answer.CONFIRMED)


def test_the_first_metric_that_was_measured_decides_where_the_intervention_says_so() -> None:
    slow = {"app.latency_us.p99": 90_000.0, "tcp.rtt_us.p99": 20_000.0}
    relieved = {"app.latency_us.p99": 80_000.0, "tcp.rtt_us.p99": 5_000.0}
    found = outcome(Runs(lambda _: slow, lambda _: relieved), "path_latency")
    assert [each.metric for each in found.effects] == ["app.latency_us.p99"]
    assert found.outcome is Answer.REFUTED
    del slow["app.latency_us.p99"]
    assert outcome(Runs(lambda _: slow, lambda _: relieved), "path_latency").outcome is Answer.CONFIRMED


def test_an_entrys_own_figures_are_judged() -> None:
    entry = make_scenario(traffic=[{"name": "bulk", "iperf3": {"from": "client", "to": "server"}}], links=LOSSY)
    found = outcome(Runs(rate(1.0), rate(9.0)), "random_loss", entry, entry="bulk")
    assert (found.entry, found.outcome) == ("bulk", Answer.REFUTED)
    assert found.effects[0].unchanged == found.effects[0].relieved == 7


def test_without_a_metric_that_shows_it_nothing_is_said() -> None:
    found = outcome(Runs(lambda _: {}, lambda _: {}), "random_loss", make_scenario(links=LOSSY))
    assert found.outcome is Answer.UNTESTED
    assert found.reason.startswith("none of the metrics that would show it can tell: udp.loss_pct, app.throughput_bps")


def test_a_pair_counts_only_where_both_runs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcheck.runner.patience.wait_for_calm", lambda **_: None)
    runs = Runs(rate(16e6), rate(95e6), valid=lambda index: index != 1)
    found = outcome(runs, "send_buffer")
    assert (found.outcome, found.runs, len(runs.made)) == (Answer.CONFIRMED, 3, 8)


def test_runs_that_never_count_leave_it_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcheck.runner.patience.wait_for_calm", lambda **_: None)
    found = outcome(Runs(rate(1.0), rate(1.0), valid=lambda index: False), "send_buffer")
    assert (found.outcome, found.reason) == (Answer.UNTESTED, "no pair of runs counts: the machine was too busy")


def test_a_run_that_fails_is_the_reason() -> None:
    def broken(one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True) -> TrialRecord | None:
        raise LabError("host a: refused")

    found = outcome(broken, "send_buffer")
    assert (found.outcome, found.reason) == (Answer.UNTESTED, "a run failed: host a: refused")


def test_the_transfer_that_takes_a_programs_place_goes_the_way_of_its_data() -> None:
    server = {"host": "server", "run": "source", "port": 9000}
    scenario = make_scenario(traffic=[{"name": "bulk", "command": {"host": "client", "run": "sink", "server": server}}])
    relieved: list[Scenario] = []

    def run(one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True) -> TrialRecord:
        changed = prepare_lab is not None
        if changed:
            relieved.append(one)
        sent = {"nic.tx_packets": 1000.0, "nic.tx_packet_bytes.mean": 1500.0, "nic.rx_packets": 900.0}
        seen = {**sent, "nic.rx_packet_bytes.mean": 80.0}
        metrics = {RATE: 9e6 if changed else 1e6, "socket.recvq_bytes.p90": 4e5}
        return TrialRecord(index=0, metrics=metrics, subjects={"server": seen})

    found = outcome(run, "slow_reader", scenario)
    assert found.outcome is Answer.CONFIRMED
    assert [change.after for change in found.changes] == ["iperf3, from its server"]
    assert all(one.traffic[0].iperf3 is not None and one.traffic[0].iperf3.reverse for one in relieved)


def test_nothing_is_refuted_where_what_was_not_read_may_make_the_limit() -> None:
    def prepared(one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True) -> TrialRecord:
        if prepare_lab is not None:
            prepare_lab(cast("Lab", SimpleNamespace(hosts={"mid": host})))
        return TrialRecord(index=0, metrics={RATE: 1e6, "tcp.retrans_segs": 5.0})

    host = SimpleNamespace(name="mid", run=lambda argv, **_: subprocess.CompletedProcess(argv, 0, answer(argv), b""))

    def answer(argv: list[str]) -> bytes:
        return json.dumps([{"kind": "netem", "dev": "eth0"}] if argv[0] == "tc" else {}).encode() * ("-j" in argv)

    found = outcome(prepared, "random_loss", make_scenario(links=LOSSY))
    assert (found.outcome, found.runs) == (Answer.UNTESTED, 3)
    assert found.reason == "nothing moved, but mid has netem on eth0, which is not looked into"


def test_what_was_found_until_a_stop_is_told() -> None:
    def ended(one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True) -> TrialRecord:
        made.append(prepare_lab is None)
        if len(made) == 6:
            raise KeyboardInterrupt
        return TrialRecord(index=0, metrics={RATE: 16e6 if prepare_lab is None else 95e6})

    made: list[bool] = []
    test = CauseTest(make_scenario(), "send_buffer", None, ended, Silent())
    assert test.so_far("interrupted").reason == "interrupted after 0 runs of each side"
    with pytest.raises(KeyboardInterrupt):
        test.outcome(lambda _: 1)
    found = test.so_far("interrupted")
    assert (found.outcome, found.runs) == (Answer.UNTESTED, 2)
    assert found.reason == "interrupted after 2 runs of each side: app.throughput_bps 16 Mbit/s -> 95 Mbit/s"
    assert found.changes


def test_a_stop_is_no_answer() -> None:
    def stopped(one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True) -> TrialRecord | None:
        raise Stopped("SIGTERM")

    with pytest.raises(Stopped):
        outcome(stopped, "send_buffer")


def test_a_cause_that_names_no_limit_is_bad_usage() -> None:
    with pytest.raises(UsageError, match="'send_bufer' is not a cause that can be tested; did you mean 'send_buffer'"):
        outcome(Runs(rate(1.0), rate(1.0)), "send_bufer")


def test_progress_tells_which_run_it_is() -> None:
    progress = Silent()
    CauseTest(make_scenario(), "send_buffer", None, Runs(rate(1.0), rate(9.0)), progress).outcome(lambda _: 1)
    assert len(progress.told) == 6
    assert {text.partition(", ")[2] for text in progress.told} == {"unchanged", "send_buffer relieved"}
    assert progress.told[-1].startswith("[5/6] run 6")
    assert confirming.LOOKS[0] * 2 == len(progress.told)

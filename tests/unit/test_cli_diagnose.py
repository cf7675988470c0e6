"""`perfcheck diagnose`: exit statuses, what is printed, which causes are tested."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_session import ScriptedSession

from perfcheck.cli import diagnosing, main
from perfcheck.cli.diagnosing import Suspected, suspected
from perfcheck.errors import LabError
from perfcheck.model.confirmation import Answer, ChangeRecord, ConfirmationRecord, EffectRecord
from perfcheck.model.record import DiagnosisRecord, RunRecord, SubjectRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.subject import SubjectKind
from perfcheck.model.verdict import Verdict
from perfcheck.output import read_records
from perfcheck.testing import make_record

FILE = """
scenario: one
hosts: {a: {}, b: {}}
links: [{between: [a, b], delay: 1ms}]
traffic: [{iperf3: {from: a, to: b, duration: 1s}}]
"""
METRICS = {
    "tcp.limited_rwnd_pct": (99.0, 99.5),
    "tcp.bdp_use_pct": (16.0, 16.5),
    "tcp.rtt_us.p50": (20_000.0, 20_500.0),
}
TESTED = ConfirmationRecord(
    cause="receive_window", outcome=Answer.CONFIRMED, relief="larger buffers", runs=3,
    changes=(ChangeRecord(where="hosts.b.sysctl.x", before="1", after="2"),),
    effects=(EffectRecord(metric="app.throughput_bps", unit="bps", unchanged=16e6, relieved=95e6, change_pct=494.0,
                          interval_pct=(490.0, 500.0), wanted_pct=10.0, outcome=Answer.CONFIRMED),),
)  # fmt: skip


STOPPED = ConfirmationRecord(
    cause="random_loss", outcome=Answer.UNTESTED, relief="no loss", runs=2,
    reason="interrupted after 2 runs of each side: app.throughput_bps 16 Mbit/s -> 17 Mbit/s",
)  # fmt: skip


def record(file: str = "one.yaml", **update: Any) -> RunRecord:
    trials = tuple(
        TrialRecord(index=index, metrics={name: values[index] for name, values in METRICS.items()}) for index in (0, 1)
    )
    made = make_record(METRICS, trials=trials)
    reference = made.scenario.model_copy(update={"name": "one", "file": file, "point": {}, "digest": ""})
    return made.model_copy(update={"scenario": reference, **update})


class ScriptedRunner(ScriptedSession):
    def __init__(self, answer: RunRecord | Exception) -> None:
        self.answer = answer
        self.tested: list[tuple[str, str | None]] = []
        self.interrupted_at: int | None = None

    def run(self, scenario: Scenario) -> RunRecord:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def confirm(
        self, scenario: Scenario, cause: str, *, entry: str | None, line_of: object,
        interrupted: Callable[[ConfirmationRecord], None],
    ) -> ConfirmationRecord:  # fmt: skip
        self.tested.append((cause, entry))
        if len(self.tested) == self.interrupted_at:
            interrupted(STOPPED)
            raise KeyboardInterrupt
        return TESTED


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "one.yaml"
    path.write_text(FILE)
    return path


def scripted(monkeypatch: pytest.MonkeyPatch, answer: RunRecord | Exception) -> ScriptedRunner:
    runner = ScriptedRunner(answer)
    monkeypatch.setattr(diagnosing, "Runner", runner)
    return runner


def caused(*causes: tuple[str, float, str]) -> tuple[DiagnosisRecord, ...]:
    return tuple(
        DiagnosisRecord.model_validate({"cause": name, "confidence": confidence, "severity": severity})
        for name, confidence, severity in causes
    )


def test_a_scenario_is_measured_and_its_causes_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = scripted(monkeypatch, record(diagnosis=caused(("receive_window", 0.9, "warning"))))
    assert main(["diagnose", str(file), "--repeat", "1"]) == 0
    assert "receive_window (90 %)" in capsys.readouterr().out
    assert runner.options is not None
    assert runner.options.repeat == 1
    assert not runner.tested


@pytest.mark.parametrize("answer", [LabError("no namespaces"), "invalid"])
def test_what_could_not_be_measured_is_status_3(
    answer: Any, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invalid = record(verdict=Verdict.INVALID, invalid_reason="no namespaces")
    scripted(monkeypatch, invalid if answer == "invalid" else answer)
    assert main(["diagnose", str(file), "--confirm"]) == 3
    assert "no namespaces" in capsys.readouterr().out


def test_a_failed_expectation_is_no_failure_of_a_diagnosis(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, record(verdict=Verdict.FAIL))
    assert main(["diagnose", str(file)]) == 0


def test_a_test_is_told_and_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = scripted(monkeypatch, record(diagnosis=caused(("receive_window", 0.9, "warning"))))
    assert main(["diagnose", str(file), "--confirm", "--json", "out.jsonl"]) == 0
    said = capsys.readouterr().out
    assert "test of receive_window: confirmed" in said
    assert "hosts.b.sysctl.x: 1 -> 2" in said
    assert "16 Mbit/s -> 95 Mbit/s" in said
    assert runner.tested == [("receive_window", None)]
    kept = json.loads(Path("out.jsonl").read_text())
    assert kept["confirmations"][0]["outcome"] == "confirmed"
    assert next(iter(read_records(Path("out.jsonl")))).confirmations == (TESTED,)


@pytest.mark.parametrize("stored", [False, True])
def test_what_was_found_until_an_interruption_is_told_and_kept(
    stored: bool, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suspects = caused(("receive_window", 0.9, "warning"), ("random_loss", 0.8, "warning"))
    runner = scripted(monkeypatch, record(diagnosis=suspects))
    runner.interrupted_at = 2
    words = [str(file)]
    if stored:
        Path("stored.jsonl").write_text(record().to_json())
        monkeypatch.setattr(diagnosing, "diagnosed_again", lambda *_: record(diagnosis=suspects))
        words = ["stored.jsonl"]
    assert main(["diagnose", *words, "--confirm", "--json", "out.jsonl"]) == 3
    said = capsys.readouterr()
    assert "test of receive_window: confirmed" in said.out
    assert "interrupted after 2 runs of each side" in " ".join(said.out.split())
    assert "interrupted; everything that the lab created is removed" in said.err
    (kept,) = read_records(Path("out.jsonl"))
    assert kept.confirmations == (TESTED, STOPPED)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("send_bufer", "'send_bufer' is not a cause; did you mean 'send_buffer'?"),
        ("rain", "'rain' is not a cause; known: random_loss, queue_overflow, "),
        ("healthy", "'healthy' names no limit that could be relieved"),
    ],
)
def test_a_cause_that_cannot_be_tested_is_told_with_the_nearest_one(
    word: str, said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["diagnose", str(file), "--confirm", "--cause", word])
    assert f"argument --cause: {said}" in capsys.readouterr().err


def test_the_users_own_cause_is_tested_instead(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = scripted(monkeypatch, record(diagnosis=caused(("receive_window", 0.9, "warning"))))
    assert main(["diagnose", str(file), "--confirm", "--cause", "random_loss"]) == 0
    assert runner.tested == [("random_loss", None)]


def test_a_healthy_run_has_nothing_to_test(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = scripted(monkeypatch, record(diagnosis=caused(("healthy", 0.9, "info"))))
    assert main(["diagnose", str(file), "--confirm"]) == 0
    assert "nothing to test: healthy names no limit" in capsys.readouterr().out
    assert not runner.tested


def test_stored_records_are_diagnosed_again(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = tmp_path / "stored.jsonl"
    stored.write_text("\n".join([record().to_json(), record().to_json()]))
    assert main(["diagnose", str(stored), "--json", "out.jsonl"]) == 0
    said = capsys.readouterr().out
    assert said.count("receive_window (") == 2
    assert "nothing of the layers socket, ip, qdisc, nic, cpu" in said
    again = list(read_records(Path("out.jsonl")))
    assert [each.diagnosis[0].cause for each in again] == ["receive_window"] * 2


def test_a_users_rules_judge_stored_records(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_text(
        "schema: 1\nrules:\n  - {name: mine, cause: policer, when: tcp.rtt_us.p50 > 1ms, weight: 0.99, "
        "severity: critical, evidence: I say so, advice: none}\n"
    )
    (tmp_path / "stored.jsonl").write_text(record().to_json())
    assert main(["diagnose", "stored.jsonl", "--rules", "mine"]) == 0
    assert "I say so" in capsys.readouterr().out


def test_a_record_of_nothing_is_status_3(file: Path, tmp_path: Path) -> None:
    empty = make_record({}, trials=()).model_copy(update={"verdict": Verdict.INVALID, "invalid_reason": "stolen"})
    (tmp_path / "stored.jsonl").write_text(empty.to_json())
    assert main(["diagnose", "stored.jsonl"]) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cause", "random_loss"], "--cause: has no effect without --confirm"),
        (["--select", "other"], "no record's scenario contains 'other'"),
    ],
)
def test_wrong_words_are_told(
    words: list[str], said: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stored.jsonl").write_text(record().to_json())
    assert main(["diagnose", "stored.jsonl", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_scenario_that_is_gone_is_told(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stored.jsonl").write_text(record("gone.yaml").to_json())
    assert main(["diagnose", "stored.jsonl", "--confirm"]) == 2
    assert "gone.yaml is not here" in capsys.readouterr().err


def test_bad_files_are_status_2(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jsonl").write_text('{"scenario": 1}\n')
    assert main(["diagnose", "bad.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("bad.jsonl:1")
    (tmp_path / "bad.yaml").write_text("scenario: x\nhosts: 7\n")
    assert main(["diagnose", "bad.yaml"]) == 2
    assert capsys.readouterr().err.startswith("bad.yaml:1:1: ")
    assert main(["diagnose", "."]) == 2


def test_the_first_cause_and_other_probable_ones_are_tested() -> None:
    found = record(diagnosis=caused(
        ("receive_window", 0.4, "warning"), ("shaper", 0.8, "warning"), ("jitter", 0.3, "warning"),
        ("application_limited", 0.9, "info"), ("unknown", 0.9, "warning"),
    ))  # fmt: skip
    assert [each.cause for each in suspected(found)] == ["receive_window", "shaper"]


def test_the_entry_that_has_the_cause_is_named() -> None:
    def entry(cause: str) -> SubjectRecord:
        return SubjectRecord(kind=SubjectKind.TRAFFIC, metrics={}, diagnosis=caused((cause, 0.8, "warning")))

    found = record(
        diagnosis=caused(("jitter", 0.8, "warning")), subjects={"rpc": entry("jitter"), "b": entry("healthy")}
    )
    assert list(suspected(found)) == [Suspected(cause="jitter", entry="rpc")]

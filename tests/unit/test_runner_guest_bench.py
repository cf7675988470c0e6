"""Runs in guests as a session has them: where they were measured, more boots for a comparison, and how guests die."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perfcheck.errors import CollectError, CouldNotMeasure, GuestDied
from perfcheck.kernels.store import KernelStore
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import cases
from perfcheck.runner import Runner, RunOptions, guest_bench
from perfcheck.runner.guest_request import Answer, Request, read_answer, read_request
from perfcheck.runner.guest_run import GuestPlace, GuestResult, limits_s, pass_on
from perfcheck.runner.placing import COUNTED
from perfcheck.runner.unmeasured import reason_of
from perfcheck.testing import make_record, make_scenario

GUEST = {
    "arch": "x86_64", "cpu.model": "QEMU TCG CPU", "cpu.count": "1", "memory.class": "3 GiB",
    "virtualisation": "virtual machine", "kernel.release": "6.12.1", "emulators": ["netem"],
}  # fmt: skip
SCENARIO = make_scenario("line", repeat=2)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCHECK_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setenv("PERFCHECK_RUN_DIR", str(tmp_path / "run"))
    for name in ("old", "new"):
        folder = tmp_path / "kernels" / name
        (folder / "modules").mkdir(parents=True)
        (folder / "vmlinuz").write_text("")
        (folder / "modules" / "modules.dep").write_text("")
        release = "6.1.1" if name == "old" else "6.12.1"
        described = {
            "schema": 1, "name": name, "release": release, "flavour": "", "origin": "a test", "package_version": None,
            "image_sha256": "0" * 64, "added_at": "2026-01-02T03:04:05+00:00",
        }  # fmt: skip
        (folder / "kernel.json").write_text(json.dumps(described))
    assert KernelStore.create().get("old").release == "6.1.1"


class Boots:
    """Stands for guests: each boot gives the next values."""

    def __init__(self, *values: tuple[float, ...]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._values: Iterator[tuple[float, ...]] = iter(values)

    def __call__(
        self, place: GuestPlace, scenario: Scenario, options: RunOptions, stage: Callable[[str, int, int], None]
    ) -> GuestResult:
        del options
        stage("run 1", 0, scenario.repeat)
        self.asked.append((place.kernel.name, scenario.repeat))
        record = make_record(
            {"tcp.rtt_us.p50": next(self._values)}, name="line", environment=GUEST, run_id=f"run-{len(self.asked)}",
            started_at=f"2026-01-02T03:04:{len(self.asked):02}Z", reproduce="perfcheck run scenarios/line.yaml",
        )  # fmt: skip
        return GuestResult(record=record, events=b"", series=b"")


def runner(tmp_path: Path, kernel: str, **options: Any) -> Runner:
    return Runner.create(RunOptions(kernel=kernel, baseline_dir=tmp_path / "baselines", **options))


def test_a_record_says_its_kernel_and_how_it_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(guest_bench, "measured_in_guest", Boots((20e3, 20.1e3)))
    with runner(tmp_path, "new") as session:
        record = session.run(SCENARIO)
    assert record.environment["guest.kernel"] == "new"
    assert record.environment["guest.time"] == "virtual"
    assert record.environment["virtualisation"] == "guest in virtual time"
    assert record.reproduce == "perfcheck run scenarios/line.yaml --kernel new"
    assert record.verdict is Verdict.PASS
    assert record.warnings == (COUNTED,)


def test_kernels_compare_and_more_runs_are_another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_bench, "measured_in_guest", Boots(*((20e3, 20.1e3, 19.9e3),) * 3))
    with runner(tmp_path, "old") as session:
        for _ in range(3):
            session.save_baseline(session.run(SCENARIO))
    boots = Boots((30e3, 30.1e3), (30e3, 30.2e3, 30.1e3, 30e3, 30.2e3, 30.1e3, 30e3, 30.1e3, 30e3))
    monkeypatch.setattr(guest_bench, "measured_in_guest", boots)
    with runner(tmp_path, "new", baseline=True) as session:
        record = session.run(SCENARIO)
    assert [name for name, _ in boots.asked] == ["new", "new"]
    assert record.verdict is Verdict.REGRESSED
    assert len(record.trials) == 11
    assert record.changed_conditions["environment.guest.kernel"] == ("old", "new")
    assert record.reproduce == "perfcheck run scenarios/line.yaml --kernel new --baseline"


def test_a_machines_baseline_is_not_a_guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = make_record({"cpu.busy_pct": (20.0, 20.1)}, name="line", environment=GUEST | {"virtualisation": "none"})
    with Runner.create(RunOptions(baseline_dir=tmp_path / "baselines", kernel="old")) as session:
        session.save_baseline(machine)
    monkeypatch.setattr(guest_bench, "measured_in_guest", Boots((20e3, 20.1e3)))
    with runner(tmp_path, "new", baseline=True) as session:
        scenario = SCENARIO.model_copy(update={"tolerance_pct": {"cpu.busy_pct": 5.0}})
        record = session.run(scenario)
    told = {each.metric: each for each in record.comparisons}
    assert told["cpu.busy_pct"].verdict is Verdict.NO_BASELINE
    assert "from another machine" in str(told["cpu.busy_pct"].reason)


def test_a_guest_that_dies_leaves_a_record_with_its_last_lines(tmp_path: Path) -> None:
    death = GuestDied(
        "new", "its kernel panicked: Fatal", ("Kernel panic - not syncing: Fatal", "Call Trace:", " \x1b[2J")
    )
    session = runner(tmp_path, "new")
    record = session.unmeasured(SCENARIO, reason_of(death), "2026-01-02T03:04:05Z")
    assert record.verdict is Verdict.INVALID
    assert record.environment["guest.kernel"] == "new"
    assert record.reproduce.endswith("--kernel new")
    (case,) = cases(record)
    assert case.headline == "could not measure: the guest with kernel new died: its kernel panicked: Fatal"
    assert "Call Trace:" in case.details
    assert "\x1b" not in case.details


def test_time_limits_grow_with_the_scenario() -> None:
    short, long = (make_scenario(repeat=repeat) for repeat in (1, 10))
    assert 60 < limits_s(short)[0] < limits_s(long)[0]
    # Between two stages lies one run, however many there are.
    assert limits_s(short)[1] == limits_s(long)[1] > 60


def test_a_line_of_a_guest_is_a_stage_or_nothing() -> None:
    told: list[tuple[str, int, int]] = []
    lines = [
        '{"text": "run\\u001b[31m", "done": 1, "total": 3}', "", "x", "[]", '{"text": "x"}', "[" * 100_000,
        '{"text": "x", "done": Infinity, "total": 1}', '{"text": "x", "done": NaN, "total": 1}',
        '{"text": "x", "done": ' + "9" * 5000 + ', "total": 1}',
    ]  # fmt: skip
    for line in lines:
        pass_on(line, lambda *stage: told.append(stage))
    assert told == [("run\\x1b[31m", 1, 3)]


def test_a_request_is_what_was_asked_for() -> None:
    request = Request(scenario=SCENARIO, options=RunOptions(repeat=3), directory="/work")
    assert read_request(request.to_bytes()) == request


def test_an_answer_is_json_and_nothing_else() -> None:
    answer = Answer(record='{"a": 1}')
    assert read_answer(answer.to_bytes()) == answer
    for wrong in (b"", b"\xff", b"[]", b'{"record": 1}', b"[" * 100_000):
        with pytest.raises(CollectError, match="the guest's answer cannot be read"):
            read_answer(wrong)


def test_an_unknown_kernel_is_refused(tmp_path: Path) -> None:
    with runner(tmp_path, "missing") as session, pytest.raises(Exception, match="missing"):
        session.run(SCENARIO)
    with runner(tmp_path, "new") as session:
        bench = guest_bench.GuestBench(SCENARIO, GuestPlace(kernel=KernelStore.create().get("new")), session.options,
                                       session._rules(), session._progress)  # fmt: skip
        with pytest.raises(CouldNotMeasure, match="nothing was measured in a guest yet"):
            bench.summary()


def test_a_measurement_is_compared_later_with_more_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_bench, "measured_in_guest", Boots(*((20e3, 20.1e3, 19.9e3),) * 3))
    with runner(tmp_path, "old") as session:
        for _ in range(3):
            session.save_baseline(session.run(SCENARIO))
    monkeypatch.setattr(guest_bench, "measured_in_guest", Boots((30e3, 30.1e3), (20e3,) * 9))
    with runner(tmp_path, "new") as session:
        measured = session.measure(SCENARIO)
        compared: RunRecord = measured.against(None)
    assert len(measured.record.trials) == 2
    assert len(compared.trials) == 11
    assert compared.verdict is Verdict.PASS

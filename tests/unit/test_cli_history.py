"""`perfcheck history`: table, plot, and what it says where there is nothing to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from history_stories import NOISE, RTT, bursting, shifted, story

from perfcheck.baseline import HistoryStore
from perfcheck.cli import main
from perfcheck.cli.history_plot import ROWS, plot
from perfcheck.compare.outlook import outlook
from perfcheck.testing import make_record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, value in enumerate((20_000.0, 20_100.0, 19_900.0)):
        fields: dict[str, Any] = {"run_id": f"{number:032x}", "started_at": f"2024-01-01T00:00:0{number}+00:00"}
        HistoryStore(tmp_path).append(make_record({RTT: (value,), "app.throughput_bps": (9e7,)}, name="wan", **fields))
    return tmp_path


def test_a_lasting_change_is_told_with_its_run_and_what_it_is_worth() -> None:
    found = story(shifted())
    (change,) = found.change_lines()
    assert change.startswith("changed   ")
    assert "worse" in change
    assert found.run(40) in change
    assert found.trend.startswith("rising (+1")
    assert found.beyond == f"lasting since {found.when(40)}"


def test_what_is_better_is_told_so_and_what_has_no_better_is_not() -> None:
    (faster,) = story([1e8 * value for value in shifted()], "app.throughput_bps", "bps").change_lines()
    assert ", better, " in faster
    (neither,) = story(shifted(), "tcp.mss_bytes", "bytes").change_lines()
    assert "better" not in neither
    assert "worse" not in neither


def test_a_burst_is_no_change_that_lasts() -> None:
    found = story(bursting())
    assert found.beyond == "1 burst"
    (line,) = found.excursion_lines()
    assert line.startswith("burst     above mean and 3 sigma for 2 runs, at 25")
    assert found.run(30) in line


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sums_see_a_shift_before_it_is_long_enough_for_a_level(sign: int) -> None:
    noise = [float(each) for each in NOISE[:30]]
    found = outlook([*noise, sign * 6.0, sign * 6.0])
    assert found.changes == ()
    assert (found.drifted_up if sign > 0 else found.drifted_down) in (30, 31)
    assert (found.drifted_down if sign > 0 else found.drifted_up) is None
    steady = outlook(noise)
    assert (steady.drifted_up, steady.drifted_down) == (None, None)


def test_the_sums_begin_anew_at_each_level() -> None:
    found = outlook(shifted())
    assert found.levels[-1].first == 40
    assert len(found.upper) == 30
    assert found.drifted_up is None


def test_few_runs_and_equal_runs_are_quiet() -> None:
    for values in ([5.0], [5.0, 5.0], [0.0] * 30):
        found = story(values)
        assert next(found.lines()).startswith("quiet")
        assert found.trend == ("too few runs" if len(values) < 3 else "stable")
        assert len(plot(found, width=80)) == ROWS + 2


def test_the_plot_has_each_run_once_and_marks_changes() -> None:
    found = story(shifted())
    lines = plot(found, width=100)
    dots = sum((ord(sign) - 0x2800).bit_count() for line in lines for sign in line if 0x2800 < ord(sign) <= 0x28FF)
    assert dots == 70
    assert all(len(line) <= 100 for line in lines)
    assert any("\u250a" in line for line in lines)
    assert not any("\u250a" in line for line in plot(story(shifted()[:40]), width=100))


def test_the_command_prints_and_writes_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = folder / "pages" / "rtt.html"
    assert main(["history", RTT, "--history", str(folder), "--html", str(target)]) == 0
    out = capsys.readouterr().out
    assert "wan" in out
    assert "19.9 ms" in out
    assert f"written to {target}" in out
    assert target.read_text().startswith("<!DOCTYPE html>")


def test_a_regression_in_the_history_fails_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, value in enumerate([20_000.0, 20_010.0, 20_020.0, 19_990.0, 20_005.0, 20_015.0] * 2 + [40_000.0] * 8):
        fields: dict[str, Any] = {"run_id": f"{number:032x}", "started_at": f"2024-01-01T00:00:{number:02}+00:00"}
        HistoryStore(tmp_path).append(make_record({RTT: (value + number,)}, name="wan", **fields))
    assert main(["history", RTT, "--history", str(tmp_path), "--scenario", "wan"]) == 0
    assert "worse" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tcp.rtt_us.p5"], "unknown metric 'tcp.rtt_us.p5'; did you mean"),
        (["udp.loss_pct"], "measured udp.loss_pct"),
        ([RTT, "--scenario", "wam"], "no history of scenario 'wam'"),
    ],
)
def test_what_there_is_no_history_of_is_bad_usage(
    folder: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", *words, "--history", str(folder)]) == 2
    assert told in capsys.readouterr().err


def test_no_history_at_all_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for where in (tmp_path, tmp_path / "nowhere"):
        assert main(["history", RTT, "--history", str(where)]) == 2
        assert "pytest --history DIR" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_bad_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", RTT, "--history", str(folder), "--html", str(folder)]) == 2
    assert "cannot write a report: Is a directory" in capsys.readouterr().err

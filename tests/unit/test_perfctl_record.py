"""`perfctl record`: the ring is dumped on a signal, on an alert and at the end; a full disk is told."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_intervals import flow_table, interval
from perfctl_commands import run_command

from perfcheck.errors import OutputError, Stopped, Unavailable, UsageError
from perfcheck.live.recording import open_recording
from perfcheck.live.recording.header import header_of
from perfcheck.live.recording.ring import Ring
from perfcheck.model.interval import Interval, LiveRequest


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for rings that no other test sees."""
    folder = tmp_path / "rings"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def numbers_of(path: Path) -> list[int]:
    with open_recording(path, LiveRequest()) as intervals:
        return [each.number for each in intervals]


def quiet(count: int) -> Iterator[Interval]:
    for number in range(count):
        yield interval(number, flow_table(3, data_segs_out=1000, bytes_acked=10**6, srtt_us=1e4))


def test_a_duration_alone_is_recorded_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.rec"
    assert run_command(f"record --duration 10s --output-file {path}", quiet(10)) == 0
    assert numbers_of(path) == list(range(10))
    assert f"{path}: 10 intervals, " in capsys.readouterr().out


def test_the_ring_keeps_the_latest_and_is_gone_afterwards(tmp_path: Path, own_folder: Path) -> None:
    path = tmp_path / "a.rec"
    assert run_command(f"record --hindsight 20s --output-file {path}", quiet(100)) == 0
    found = numbers_of(path)
    assert found == list(range(found[0], 100))
    assert 20 <= len(found) <= 26
    assert list(own_folder.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stopped("stopped by SIGTERM")])
def test_an_end_by_signal_dumps(error: BaseException, tmp_path: Path, own_folder: Path) -> None:
    def ended() -> Iterator[Interval]:
        yield from quiet(5)
        raise error

    words = f"record --output-file {tmp_path / 'a.rec'}"
    if isinstance(error, Stopped):
        with pytest.raises(Stopped):
            run_command(words, ended())
    else:
        assert run_command(words, ended()) == 0
    assert numbers_of(tmp_path / "a.rec") == list(range(5))
    assert list(own_folder.iterdir()) == []


def test_each_signal_writes_a_file_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    former = signal.getsignal(signal.SIGUSR1)

    def signalled() -> Iterator[Interval]:
        for each in quiet(9):
            if each.number in {3, 6}:
                os.kill(os.getpid(), signal.SIGUSR1)
            yield each

    run_command(f"record --output-file {tmp_path / 'a.rec'}", signalled())
    assert [numbers_of(tmp_path / name)[-1] for name in ("a.rec", "a-2.rec", "a-3.rec")] == [3, 6, 8]
    assert "a.rec: 4 intervals" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGUSR1) == former


def test_an_alert_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lossy() -> Iterator[Interval]:
        for number in range(60):
            lost = 300 if number >= 20 else 0
            flows = flow_table(3, data_segs_out=1000, retrans_segs=lost, segs_out=1000, bytes_acked=10**6, srtt_us=1e4)
            yield interval(number, flows)

    run_command(f"record --output-file {tmp_path / 'a.rec'}", lossy())
    found = capsys.readouterr()
    assert "alert: " in found.err
    assert "(alert " in found.out
    first = numbers_of(tmp_path / "a.rec")
    assert 20 <= first[-1] < 40
    assert len(list(tmp_path.glob("a*.rec"))) == 2


def test_where_the_last_dump_fails_the_ring_stays(tmp_path: Path, own_folder: Path) -> None:
    with pytest.raises(OutputError, match=r"the recording stays in .*perfctl-ring-.*--recover"):
        run_command("record --output-file /dev/full", quiet(5))
    assert len(list(own_folder.iterdir())) == 1
    assert run_command(f"record --recover --output-file {tmp_path / 'b.rec'}", []) == 0
    assert numbers_of(tmp_path / "b.rec") == list(range(5))
    assert list(own_folder.iterdir()) == []
    with pytest.raises(UsageError, match="no killed recording left anything"):
        run_command("record --recover", [])


def test_what_a_killed_recording_left_is_told(
    tmp_path: Path, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = Ring(header_of(LiveRequest()), duration_ns=10**12)
    ring.append(interval(0))
    ring.close(keep=True)
    run_command(f"record --output-file {tmp_path / 'a.rec'}", quiet(2))
    assert f"{ring.folder}; `perfctl record --recover --output-file FILE` writes them" in capsys.readouterr().err
    assert list(own_folder.iterdir()) == [ring.folder]


def test_a_full_disk_is_told_once_and_does_not_end_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    measured: list[int] = []

    def counted() -> Iterator[Interval]:
        for each in quiet(5):
            measured.append(each.number)
            yield each

    with pytest.raises(OutputError, match=r"5 intervals could not be written .*No space left on device"):
        run_command("record --duration 5s --output-file /dev/full", counted())
    assert measured == list(range(5))
    assert capsys.readouterr().err.count("No space left on device; free some space") == 1


def test_where_nothing_could_be_measured_nothing_is_written(tmp_path: Path, own_folder: Path) -> None:
    def unavailable() -> Iterator[Interval]:
        yield from ()
        raise Unavailable("BPF", "no privilege", "run as root")

    with pytest.raises(Unavailable):
        run_command(f"record --output-file {tmp_path / 'a.rec'}", unavailable())
    assert not (tmp_path / "a.rec").exists()
    assert list(own_folder.iterdir()) == []


def test_a_recording_is_read_as_if_it_were_live(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from perfcheck.cli.perfctl import main

    run_command(f"record --duration 3s --output-file {tmp_path / 'a.rec'}", quiet(3))
    capsys.readouterr()
    assert main(["tcp", "--from", str(tmp_path / "a.rec"), "--lport", "40001"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("  1 connection, sent" in line for line in lines) == 3
    assert sum("10.0.0.1:40001->" in line for line in lines) >= 3
    assert not any("10.0.0.1:40002 -> " in line for line in lines)
    content = (tmp_path / "a.rec").read_bytes()
    (tmp_path / "a.rec").write_bytes(content[:-40])
    assert main(["tcp", "--from", str(tmp_path / "a.rec")]) == 0
    assert "a.rec: its writer did not finish the last" in capsys.readouterr().err
    (tmp_path / "a.rec").write_bytes(content[:-40] + bytes(reversed(content[-40:])))
    assert main(["tcp", "--from", str(tmp_path / "a.rec")]) == 2
    assert capsys.readouterr().err.count("\n") == 1

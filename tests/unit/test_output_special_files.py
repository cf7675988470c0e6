"""Series and events that go to a device, a pipe or behind a link: nothing that the user named is replaced."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from perfcheck.model.event import Event
from perfcheck.model.metric import Layer
from perfcheck.model.series import Curve
from perfcheck.output.events import EventLines
from perfcheck.output.series import SeriesFile

EVENT = Event(number=1, timestamp_ns=1, flow=None, layer=Layer.TCP, metric="tcp.rtt_us", value=1.0)


def write_series(path: Path) -> None:
    series = SeriesFile(path)
    series.open()
    curve = Curve(metric="tcp.rtt_us.p50", subject=None, t_ns=np.array([1]), values=np.array([1.0]))
    series.write([curve], run_id="r", trial=0)
    series.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root")
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """`--series /dev/null`: as root, a file in its place would break every program of the machine."""
    device = tmp_path / "null"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    write_series(device)
    assert device.is_char_device()


def test_a_pipe_gets_the_series_and_stays(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_series(pipe)
    reader.join(10)
    assert pipe.is_fifo()
    assert got[0].startswith(b"PAR1")
    assert got[0].endswith(b"PAR1")


def test_series_are_written_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("kept.parquet")
    write_series(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "kept.parquet").read_bytes().startswith(b"PAR1")


def test_a_link_to_events_stays_though_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("kept.jsonl")
    lines = EventLines(tmp_path / "link")
    lines.open()
    lines.close()
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "kept.jsonl").exists()


def test_standard_output_without_an_event_is_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--events /dev/stdout >FILE`: it leads to a regular file, and is the machine's own link."""
    removed: list[Path] = []
    monkeypatch.setattr(Path, "unlink", lambda path, **_: removed.append(path))
    lines = EventLines(Path("/dev/stdout"))
    lines.open()
    lines.close()
    assert removed == []


def test_events_to_standard_output_keep_what_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before\n")
    lines = EventLines(Path("/dev/stdout"))
    lines.open()
    lines.write([EVENT], run_id="r", scenario="wan", trial=0, epoch_ns=0)
    lines.close()
    out = capfd.readouterr().out
    assert out.startswith("before\n{")

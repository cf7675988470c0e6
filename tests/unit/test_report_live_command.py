"""`perfctl ... --report`: every watching command writes it, on every way out, and a wrong path fails at the start."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_intervals import a_histogram, flow_table, interval

from perfcheck.cli.perfctl import main
from perfcheck.cli.perfctl.reporting import filters_of
from perfcheck.errors import OutputError, Stopped
from perfcheck.live import recording as recordings
from perfcheck.live.recording.header import header_of
from perfcheck.live.recording.writing import RecordingFile
from perfcheck.model.interval import Interval, Intervals, LiveRequest
from perfcheck.report import write

COMMANDS = ("tcp", "observe", "hist", "latency", "diagnose")


def seen(number: int) -> Interval:
    flows = flow_table(
        2, bytes_acked=500_000, data_segs_out=400, segs_out=400, busy_us=900_000, elapsed_us=1_000_000,
        srtt_us=20_000.0, min_rtt_us=19_000.0, cwnd_segs=40.0, inflight_segs=30.0, delivered_segs=400,
    )  # fmt: skip
    return interval(number, flows, histograms={"tcp.rtt_us": a_histogram()})


def words_on(page: Path) -> str:
    """Return the text of a page of Markdown as a reader sees it."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.read_text()))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "three.rec"
    file = RecordingFile(path, header_of(LiveRequest()))
    for number in range(3):
        file.append(seen(number))
    file.close()
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_that_watches_writes_the_page(
    recording: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    page = recording.with_name("page.md")
    assert main([command, "--from", str(recording), "--rport", "5201", "--report", str(page)]) == 0
    assert f"report written to {page}" in capsys.readouterr().err
    text = words_on(page)
    assert f"perfctl {command}" in text
    assert "Watched 3.0 s in 3 intervals: at most 2 connections at a time" in text
    assert "3 MB (8 Mbit/s)" in text
    assert "--rport 5201" in text


def ending(monkeypatch: pytest.MonkeyPatch, how: BaseException, after: int = 2) -> None:
    """Let the intervals end with an exception after so many."""

    class Source:
        def __iter__(self) -> Iterator[Interval]:
            yield from map(seen, range(after))
            raise how

    @contextmanager
    def opened(*_: object) -> Iterator[Intervals]:
        yield Source()

    monkeypatch.setattr(recordings, "open_recording", opened)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("how", "status"), [(KeyboardInterrupt(), 0), (Stopped("stopped by SIGTERM"), 3)])
def test_the_page_is_written_at_ctrl_c_and_when_it_is_stopped(
    recording: Path, monkeypatch: pytest.MonkeyPatch, command: str, how: BaseException, status: int
) -> None:
    ending(monkeypatch, how)
    page = recording.with_name("page.md")
    assert main([command, "--from", str(recording), "--report", str(page)]) == status
    assert "Watched 2.0 s in 2 intervals" in words_on(page)


def test_what_ends_before_the_first_interval_leaves_an_earlier_page_as_it_is(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, KeyboardInterrupt(), after=0)
    page = recording.with_name("page.html")
    page.write_text("earlier")
    assert main(["tcp", "--from", str(recording), "--report", str(page)]) == 0
    assert page.read_text() == "earlier"
    assert f"no interval was over, so that no report is written to {page}" in capsys.readouterr().err


@pytest.mark.parametrize(("how", "status", "told"), [
    (None, 3, "perfctl tcp: no space"), (Stopped("stopped by SIGTERM"), 3, "stopped by SIGTERM"),
])  # fmt: skip
def test_a_page_that_cannot_be_written_in_the_end_is_told_and_hides_nothing(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: BaseException | None,
    status: int, told: str,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise OutputError("no space")

    if how is not None:
        ending(monkeypatch, how)
    monkeypatch.setattr("perfcheck.cli.perfctl.reporting.write_report", full)
    assert main(["tcp", "--from", str(recording), "--report", str(recording.with_name("x.md"))]) == status
    err = capsys.readouterr().err
    assert "no space" in err
    assert told in err
    assert write.write_report is not full


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--report", "page.txt"], "--report: page.txt: a report's name ends with .html, .md or .pdf"),
        (["--report", "nowhere/page.html"], "--report: there is no folder 'nowhere'; make it first"),
        (["--report", "folder.html"], "--report: 'folder.html' is a folder"),
        (["--report", "x.md", "--output-file", "x.md"], "--report: another option names this file, too"),
        (["--report", "x.md", "--report", "y.md"], "--report: given twice"),
        (["--report"], "--report: its value is missing"),
    ],
)
def test_a_wrong_path_is_bad_usage_before_anything_is_read(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    monkeypatch.chdir(recording.parent)
    Path("folder.html").mkdir()
    with pytest.raises(SystemExit) if "twice" in told or "missing" in told or "another" in told else no_exit():
        assert main(["observe", "--from", str(recording), *words]) == 2
    found = capsys.readouterr()
    assert told in found.err
    assert found.out == ""


@contextmanager
def no_exit() -> Iterator[None]:
    yield


def test_files_that_are_joined_are_no_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["latency", "--join", "a", "b", "--report", str(tmp_path / "x.html")]
    with pytest.raises(SystemExit):
        main(words)
    assert "--report: cannot be used with --join" in capsys.readouterr().err


def test_filters_are_told_as_they_were_written() -> None:
    words = ["tcp", "--rport", "443", "--src-ip=10.0.0.0/8", "--comm", "a=b", "--output", "json"]
    assert filters_of(words) == {"--rport": "443", "--src-ip": "10.0.0.0/8", "--comm": "a=b"}

"""What goes wrong inside perfcheck: one line and status 3, a traceback only with --debug; never status 1."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perfcheck.cli import commands, main
from perfcheck.errors import LabError

ROOT = Path(__file__).parents[2]


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(commands, "load_all", fail)


@pytest.mark.parametrize(
    "error",
    [KeyError("x\x1b[31m\n::error::y"), RecursionError("deep"), MemoryError(), ValueError("embedded null byte")],
)
def test_a_defect_is_one_line_and_status_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    broken(monkeypatch, error)
    assert main(["list"]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith(f"perfcheck: internal error: {type(error).__name__}")
    assert "perfcheck/cli/commands.py:" in line
    assert "Reporting a problem" in line
    assert "--debug" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("words", [["--debug", "list"], ["list", "--debug"]])
def test_debug_shows_the_traceback_before_or_after_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    broken(monkeypatch, KeyError("x\x1b"))
    assert main(words) == 3
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last):")
    assert told.splitlines()[-1].startswith("perfcheck: internal error: KeyError")
    assert "\x1b" not in told


def test_debug_shows_what_an_error_of_the_lab_came_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(monkeypatch, LabError("no namespace\x1b"))
    assert main(["list"]) == 3
    assert capsys.readouterr().err == "perfcheck: no namespace\\x1b\n"
    assert main(["list", "--debug"]) == 3
    assert "LabError" in capsys.readouterr().err


def test_ctrl_c_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken(monkeypatch, KeyboardInterrupt())
    assert main(["list"]) == 3
    assert "interrupted" in capsys.readouterr().err


def test_the_section_that_the_line_names_is_there() -> None:
    assert "\n## Reporting a problem\n" in (ROOT / "README.md").read_text()


def started(words: list[str], stdout: int, **environ: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", "import sys; from perfcheck.cli import main; sys.exit(main())", *words]
    return subprocess.Popen(
        argv, stdout=stdout, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ}, cwd=ROOT
    )  # fmt: skip


@pytest.mark.parametrize("words", [["list"], ["schema"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = started(words, writer)
    os.close(writer)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_a_full_disk_is_told_and_is_status_3() -> None:
    with Path("/dev/full").open("w") as full:
        process = started(["schema"], full.fileno())
    assert "No space left" in process.communicate(timeout=60)[1]
    assert process.returncode == 3


def test_an_encoding_that_lacks_a_character_ends_nothing() -> None:
    process = started(["list", "tests/golden"], subprocess.PIPE, PYTHONIOENCODING="ascii", LC_ALL="C")
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert (out + err).isascii()


def test_words_of_the_command_line_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["list", "--\x1b[31mfile", "\n::error::x"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\n::" not in told


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_signal_takes_nothing_of_what_is_written(unbuffered: str) -> None:
    program = (
        "import signal\n"
        "from perfcheck.system.printing import prepare_streams, say_json\n"
        "prepare_streams()\n"
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)\n"
        "say_json('x' * 1_000_000)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "say_json('end')\n"
    )
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        time.sleep(1)  # the pipe is full, and signals come
        assert process.stdout.read() == b"x" * 1_000_000 + b"\nend\n"
    assert process.returncode == 0

"""The failure's text, the summary, GitHub's commands, progress."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


REGRESSION = """
COMPARED = ("tcp.rtt_us.p99", "app.throughput_bps", "tcp.min_rtt_us")
ANSWERS["wan"] = answer(
    {"tcp.rtt_us.p99": (61e3, 61.2e3, 61.4e3), "app.throughput_bps": (71e6, 72e6, 73e6), "tcp.min_rtt_us": (20e3,)},
    diagnosis=(DiagnosisRecord(cause="bufferbloat", confidence=0.93, evidence_for=("queue delay 41 ms",),
                               chain=("deep queue", "high latency"), advice="Shorten the queue."),),
    comparisons=[
        compared("tcp.rtt_us.p99", Verdict.REGRESSED, 46.7e3, 61.2e3, interval_pct=(29.0, 33.0)),
        compared("app.throughput_bps", Verdict.REGRESSED, 94e6, 72e6, margin_pct=2.0),
        compared("tcp.min_rtt_us", Verdict.PASS, 20e3, 20e3),
    ],
    changed_conditions={"links[0].queue": ("1bdp", "4bdp"), "links[0].loss": ("", "1%")},
    warnings=("iperf3 used 97 % of a CPU",),
)
"""


def test_a_regression_tells_all_that_a_reader_needs(suite: Suite) -> None:
    suite.answers(REGRESSION)
    result = suite.run("--baseline", "-k", "baseline and rtt_us.p99")
    text = result.stdout.str()
    start = text.index("tcp.rtt_us.p99 went from")
    assert (
        text[start : text.index("= perfcheck =")].rstrip(" =\n")
        == """\
tcp.rtt_us.p99 went from 46.7 ms to 61.2 ms (+31.0 %), margin 5 %

  expected   at most 49.03 ms (baseline + 5 %)
  actual     61.2 ms  (median of 3 runs, 61 ms to 61.4 ms)
  baseline   46.7 ms
  change     +31.0 %  (interval +29.0 % to +33.0 %)
  margin     5 %; the smallest change that this run could detect is 1.2 %
  layer      TCP (transport): round-trip time of delivered segments, p99
  cause      bufferbloat (93 %)
  because    queue delay 41 ms
  chain      deep queue -> high latency
  advice     Shorten the queue.
  also moved app.throughput_bps  94 Mbit/s -> 72 Mbit/s  (-23.4 %, regressed)
  conditions links[0].loss: not set -> 1%
             links[0].queue: 1bdp -> 4bdp
  note       iperf3 used 97 % of a CPU
  reproduce  perfcheck run scenarios/wan.yaml
  at         scenarios/wan.yaml:13"""
    )


def test_the_short_summary_carries_the_headline(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.answers(REGRESSION)
    monkeypatch.setenv("COLUMNS", "200")
    result = suite.run("--baseline", "-k", "expect and rtt_us.p99")
    result.stdout.fnmatch_lines(
        ["FAILED scenarios/wan.yaml::wan::expect:tcp.rtt_us.p99 - tcp.rtt_us.p99 is 61.2 ms, expected <= 60ms"]
    )


def test_the_summary_shows_every_assertion_and_counts_verdicts(suite: Suite) -> None:
    suite.answers(REGRESSION)
    result = suite.run("--baseline", "--tb=no", "-q")
    result.stdout.fnmatch_lines(
        [
            "scenario  metric                  value    against   change          interval  detectable  verdict",
            "wan       tcp.rtt_us.p99        61.2 ms    <= 60ms                                         FAIL",
            "wan       app.throughput_bps  72 Mbit/s  >= 85mbit                                         FAIL",
            "wan       tcp.rtt_us.p99        61.2 ms    46.7 ms  +31.0 %  +29.0 to +33.0 %       1.2 %  REGRESSED",
            "wan       app.throughput_bps  72 Mbit/s  94 Mbit/s  -23.4 %                         1.2 %  REGRESSED",
            "wan       tcp.min_rtt_us          20 ms      20 ms   +0.0 %                         1.2 %  PASS",
            "",
            "2 FAIL, 2 REGRESSED, 1 PASS",
            "wan: iperf3 used 97 % of a CPU",
        ],
        consecutive=True,
    )


def test_the_summary_says_why_where_it_is_asked(suite: Suite) -> None:
    account = r"account=('yes  is latency high: tcp.rtt_us.p50 (60 ms) > 40 ms', '    no   is it \x1b[31mred'),"
    suite.answers(REGRESSION.replace("    comparisons=", f"    {account}\n    comparisons="))
    asked = suite.run("--tb=no", "-q", "--perfcheck-why")
    asked.stdout.fnmatch_lines(
        [
            "wan: diagnosis: bufferbloat (93 %)",
            "  chain      deep queue -> high latency",
            "  asked      yes  is latency high: tcp.rtt_us.p50 (60 ms) > 40 ms",
            "                 no   is it *red",
        ],
        consecutive=True,
    )
    assert asked.stdout.str().count("is latency high") == 1
    assert "\x1b[31m" not in asked.stdout.str()
    assert "is latency high" not in suite.run("--tb=no", "-q").stdout.str()


def test_nothing_but_pytests_own_lines_when_very_quiet(suite: Suite) -> None:
    result = suite.run("-qq")
    result.stdout.no_fnmatch_line("*against*")


def test_github_gets_annotations_and_a_summary(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.answers(REGRESSION)
    summary = suite.pytester.path / "summary.md"
    summary.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.pytester.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = suite.run("--baseline", "--tb=no")
    commands = [line for line in result.outlines if line.startswith("::")]
    assert len(commands) == 4
    assert commands[0].startswith(
        "::error file=scenarios/wan.yaml,line=13,title=wan expect%3Atcp.rtt_us.p99::tcp.rtt_us.p99 is 61.2 ms, "
    )
    text = summary.read_text()
    assert text.startswith("earlier\n## perfcheck: 2 FAIL, 2 REGRESSED, 1 PASS\n")
    assert "| wan | tcp.rtt_us.p99 | REGRESSED | 61.2&nbsp;ms<br><code>" in text
    assert "| 46.7&nbsp;ms | +31.0&nbsp;% | +29.0&nbsp;to&nbsp;+33.0&nbsp;%<br><code>" in text
    assert text.count("- **Cause:** bufferbloat (93 %)") == 1
    assert 's0["deep queue"]' in text
    assert "links[0].queue: 1bdp -&gt; 4bdp" in text


def test_outside_github_no_commands_are_printed(suite: Suite) -> None:
    suite.answers(REGRESSION)
    suite.run("--baseline").stdout.no_fnmatch_line("::error*")


def test_progress_is_plain_lines_without_a_terminal(suite: Suite) -> None:
    result = suite.run()
    result.stdout.fnmatch_lines(["perfcheck: wan [[]0/1[]] run 1 of 1"])
    assert "\x1b" not in result.stdout.str()


def test_quiet_has_no_progress(suite: Suite) -> None:
    suite.run("-q").stdout.no_fnmatch_line("perfcheck: wan *")


def test_progress_is_a_bar_that_is_erased_on_a_terminal(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = on_a_terminal("-p", "no:hypothesispytest", "-p", "no:cacheprovider", "scenarios")
    before, drawn = shown.split("scenarios/wan.yaml \r\n")
    assert "collected 2 items" in before
    bar, erased = drawn.split("\x1b[?25h")  # the cursor is shown again when the bar is gone
    assert "run 1 of 1" in bar
    # Up one line, and on from the column after "scenarios/wan.yaml ", which has 19 characters.
    assert "\x1b[2K" in erased.partition("\x1b[1A\x1b[20G")[0]
    letters = erased.partition("\x1b[1A\x1b[20G")[2].partition("\r\n")[0]
    assert re.sub(r"\x1b\[[0-9;]*m", "", letters).split() == ["..", "[100%]"]


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_no_bar_in_ci_or_where_it_cannot_be_erased(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    shown = on_a_terminal("-p", "no:hypothesispytest", "-p", "no:cacheprovider", "scenarios")
    assert "perfcheck: wan [0/1] run 1 of 1\r\n" in shown
    assert "\x1b[?25h" not in shown


def on_a_terminal(*arguments: str) -> str:
    """Run pytest on a pseudo-terminal of 100 columns and give all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with subprocess.Popen([sys.executable, "-m", "pytest", *arguments], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b"".join(iter(lambda: read_or_end(ours), b""))
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return written.decode()


def read_or_end(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # Linux: EIO when the last writer has closed a pseudo-terminal
        return b""

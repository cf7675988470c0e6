"""Commands as they really run: output, failure, time limits and children that keep the pipes open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from perfcheck.errors import CouldNotMeasure, LabError, TrafficError, Unavailable
from perfcheck.system import checks, commands, netns
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import OWN_NETNS, NetnsThread
from perfcheck.testing import FakeUndoLog


def test_output_and_status() -> None:
    done = commands.run(
        ["sh", "-c", "cat; echo out; echo err >&2; echo $X"], env={"X": "1", "PATH": os.environ["PATH"]}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n1\n", b"err\n")


def test_a_failure_is_the_callers_kind_of_error_with_the_commands_words() -> None:
    with pytest.raises(TrafficError, match="`sh -c 'echo why >&2; exit 4'` failed with status 4: why"):
        commands.run(["sh", "-c", "echo why >&2; exit 4"], error=TrafficError)
    with pytest.raises(CouldNotMeasure, match="was ended by signal 15"):
        commands.run(["sh", "-c", "kill $$"])


def test_children_that_keep_the_pipes_open_do_not_keep_us_waiting() -> None:
    started_ns = now_ns()
    with pytest.raises(CouldNotMeasure, match=r"did not end within 0\.2 s"):
        commands.run(["sh", "-c", "sleep 6 & wait"], timeout_s=0.2)
    assert now_ns() - started_ns < 4e9


def test_a_tool_in_sbin_is_found_without_it_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert Path(commands.find("ip")).name == "ip"
    with pytest.raises(Unavailable, match="iperf-not-there"):
        commands.find("iperf-not-there")


def test_the_callers_thread_stays_in_its_namespace() -> None:
    mine = Path(OWN_NETNS).stat().st_ino
    with NetnsThread() as thread:
        inside = netns.scratch(lambda: Path(OWN_NETNS).stat().st_ino)
        assert inside != mine
        assert thread.inside(OWN_NETNS, lambda: Path(OWN_NETNS).stat().st_ino) == mine
    assert Path(OWN_NETNS).stat().st_ino == mine


def test_an_error_inside_comes_out_and_the_thread_is_home_again() -> None:
    def fail() -> None:
        raise KeyError("inside")

    mine = Path(OWN_NETNS).stat().st_ino
    with NetnsThread() as thread:
        with pytest.raises(KeyError, match="inside"):
            thread.inside(OWN_NETNS, fail)
        with pytest.raises(LabError, match="finding it: refused by the kernel: No such device"):
            thread.netlink(OWN_NETNS, lambda ip: ip.link("get", ifname="no-such-link"), what="finding it")
        assert thread.inside(OWN_NETNS, lambda: Path(OWN_NETNS).stat().st_ino) == mine


def test_a_scratch_namespace_has_only_its_own_loopback_and_ends_with_the_call() -> None:
    assert netns.scratch(lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]


def test_a_namespace_that_exists_is_not_taken_over() -> None:
    with NetnsThread() as thread:
        undo = FakeUndoLog(tag="t3st00")
        name = f"pc-t3st00-{os.getpid()}"
        mark = thread.create(name, undo)
        try:
            assert undo.notes == [("netns", name, mark.detail())]
            with pytest.raises(LabError, match=f"{name} could not be created: File exists"):
                thread.create(name, undo)
            assert len(undo.notes) == 1
        finally:
            assert netns.remove(name, mark)
        assert not netns.remove(name, mark)


def test_qdiscs_are_tried_and_not_guessed() -> None:
    checks.require_qdisc("pfifo")
    with pytest.raises(Unavailable, match="this kernel refuses the qdisc"):
        checks.require_qdisc("no-such-qdisc")

"""Commands, the measuring lock, signals, waiting and checks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcheck.errors import Stopped, Unavailable
from perfcheck.system import checks, commands, processes, rundir, sysctl
from perfcheck.system.clock import now_ns, wait_until
from perfcheck.system.lock import LOCK_NAME, measuring_lock
from perfcheck.system.signals import deferred_signals, stop_on_signals


@pytest.fixture(autouse=True)
def ending_signals() -> Iterator[None]:
    """Have SIGINT and SIGHUP heard: shells and nohup ignore them."""
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hangup)


def test_a_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    with pytest.raises(Unavailable) as caught:
        commands.find("nft")
    assert (caught.value.what, caught.value.fix) == ("nft", "apt-get install nftables")
    with pytest.raises(Unavailable, match="install my-tool, or give its full path"):
        commands.popen(["my-tool"])
    with pytest.raises(Unavailable, match=str(tmp_path / "nowhere")):
        commands.popen([str(tmp_path / "nowhere")])


def test_a_file_that_cannot_be_executed_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").touch(mode=0o644)
    with pytest.raises(Unavailable, match="Permission denied"):
        commands.popen([str(tmp_path / "data")])


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "text"),
    [
        (1, b"", b"no such thing\n", "`nft -f 'a b'` failed with status 1: no such thing"),
        (2, b"said here", b"", "`nft -f 'a b'` failed with status 2: said here"),
        (-9, b"", b"", "`nft -f 'a b'` was ended by signal 9"),
    ],
)
def test_failures_speak_in_the_commands_words(status: int, stdout: bytes, stderr: bytes, text: str) -> None:
    done = subprocess.CompletedProcess(["nft", "-f", "a b"], status, stdout, stderr)
    assert commands.failure(done) == text


def test_the_tag_is_in_a_labs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    found = commands.tagged_environment("ab12cd34", {"LANG": "C"})
    assert (found["PERFCHECK_TAG"], found["LANG"], found["HOME"]) == ("ab12cd34", "C", "/somewhere")


def test_the_clock_is_the_kernels_monotonic_one() -> None:
    before = time.monotonic_ns()
    assert before <= now_ns() <= time.monotonic_ns()


def test_waiting_ends_with_the_condition_or_the_deadline() -> None:
    looks = iter([False, False, True])
    assert wait_until(lambda: next(looks), timeout_s=5.0)
    before = now_ns()
    assert not wait_until(lambda: False, timeout_s=0.02)
    assert 0.02e9 <= now_ns() - before < 1e9
    assert wait_until(lambda: True, timeout_s=0.0)


class Taker(threading.Thread):
    """Takes the lock, and writes its name when it has it."""

    def __init__(self, name: str, folder: Path, order: list[str], *, shared: bool = False) -> None:
        super().__init__(name=name, daemon=True)
        self._folder, self._order, self._shared = folder, order, shared
        self.told: list[str] = []
        self.waits = threading.Event()

    def say(self, text: str) -> None:
        self.told.append(text)
        self.waits.set()

    def run(self) -> None:
        with measuring_lock(self.say, self._folder, shared=self._shared):
            self._order.append(self.name)


def test_the_lock_is_held_by_one_and_the_waiting_are_told(tmp_path: Path) -> None:
    order: list[str] = []
    second = Taker("second", tmp_path, order)
    with measuring_lock(second.say, tmp_path):
        second.start()
        assert second.waits.wait(5.0)
        order.append("first")
    second.join(5.0)
    assert order == ["first", "second"]
    assert len(second.told) == 1
    assert f"waiting for process {os.getpid()} (" in second.told[0]
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), measuring_lock(directory=tmp_path):
        raise KeyError
    told: list[str] = []
    with measuring_lock(told.append, tmp_path):
        assert told == []


def test_who_shares_the_lock_waits_only_for_who_does_not(tmp_path: Path) -> None:
    told: list[str] = []
    order: list[str] = []
    alone = Taker("alone", tmp_path, order)
    with measuring_lock(told.append, tmp_path, shared=True), measuring_lock(told.append, tmp_path, shared=True):
        assert told == []
        alone.start()
        assert alone.waits.wait(5.0)
        order.append("shared")
    alone.join(5.0)
    assert order == ["shared", "alone"]
    late = Taker("late", tmp_path, order, shared=True)
    with measuring_lock(directory=tmp_path):
        late.start()
        assert late.waits.wait(5.0)
        assert late.told[0].startswith("waiting for process")
        assert order == ["shared", "alone"]
    late.join(5.0)
    assert order == ["shared", "alone", "late"]


def test_the_run_directory_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(rundir.RUN_DIR_VARIABLE, raising=False)
    assert rundir.run_dir() == Path("/run/perfcheck")
    monkeypatch.setenv(rundir.RUN_DIR_VARIABLE, str(tmp_path / "a/b"))
    made = rundir.make_run_dir(rundir.run_dir())
    assert made == tmp_path / "a/b"
    assert made.stat().st_mode & 0o777 == 0o700


def test_tags_are_random_and_short() -> None:
    tags = {rundir.new_tag() for _ in range(50)}
    assert len(tags) == 50
    assert all(rundir.TAG.fullmatch(tag) for tag in tags)


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (signal.SIGTERM, Stopped, "stopped by SIGTERM"), (signal.SIGHUP, Stopped, "stopped by SIGHUP"),
        (signal.SIGINT, KeyboardInterrupt, "^$"),
    ],
)  # fmt: skip
def test_the_first_signal_unwinds_and_the_second_does_not_break_it(
    number: signal.Signals, error: type[BaseException], text: str
) -> None:
    unwound: list[str] = []

    def interrupted() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGINT)
            unwound.append("whole")

    former = signal.getsignal(number)
    with pytest.raises(error, match=text), stop_on_signals():
        interrupted()
    assert unwound == ["whole"]
    assert signal.getsignal(number) is former


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_destructor_is_not_dropped(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def work() -> None:
        Interrupted()
        wait_until(lambda: False, timeout_s=10)

    former = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt if number is signal.SIGINT else Stopped), stop_on_signals():
        work()
    assert sys.unraisablehook is former
    assert not capsys.readouterr().err


def test_what_else_a_destructor_raises_is_told_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    class Wrong:
        def __del__(self) -> None:
            raise ValueError("its own defect")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
        with stop_on_signals():
            Wrong()
    assert "its own defect" in capsys.readouterr().err


def test_held_signals_come_after_the_block() -> None:
    done: list[str] = []

    def undo() -> None:
        with deferred_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            done.append("undone")

    with pytest.raises(Stopped, match="SIGTERM"), stop_on_signals():
        undo()
    assert done == ["undone"]


def test_held_signals_come_even_where_the_block_fails() -> None:
    def undo() -> None:
        with deferred_signals():
            signal.raise_signal(signal.SIGTERM)
            raise KeyError("undo failed")

    with pytest.raises(Stopped, match="SIGTERM") as caught, stop_on_signals():
        undo()
    assert isinstance(caught.value.__context__, KeyError)


def test_nested_holds_deliver_once_at_the_outermost() -> None:
    seen: list[str] = []

    def undo() -> None:
        with deferred_signals():
            with deferred_signals():
                signal.raise_signal(signal.SIGINT)
            seen.append("inner left")

    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        undo()
    assert seen == ["inner left"]


def test_an_ignored_signal_stays_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_other_threads_leave_signals_alone() -> None:
    former = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with stop_on_signals(), deferred_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [former]


def test_a_process_is_known_by_pid_and_start() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert me.pid == os.getpid()
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - me.start_ticks / os.sysconf("SC_CLK_TCK")
    assert 0 <= age_s < 3600
    assert processes.identify(2**22 + 7) is None


def test_this_process_is_never_among_the_tagged(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Path("/proc/self/environ").read_bytes().split(b"\0")
    name, _, value = environment[0].decode().partition("=")
    monkeypatch.setattr(processes, "TAG_VARIABLE", name)
    assert os.getpid() not in {process.pid for process in processes.tagged(value)}


@pytest.mark.parametrize("key", ["", "net", "net..x", "/etc/passwd", "net/../../etc/passwd", ".", "net.\0"])
def test_what_is_no_sysctl_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="expected a sysctl such as net"):
        sysctl.path_of(key)


def test_sysctls_are_named_with_dots_or_slashes() -> None:
    assert sysctl.path_of("net.ipv4.tcp_rmem") == Path("/proc/sys/net/ipv4/tcp_rmem")
    assert sysctl.path_of("net/ipv4/conf/eth0.5/rp_filter") == Path("/proc/sys/net/ipv4/conf/eth0.5/rp_filter")
    assert sysctl.tokens("4096\t131072  6291456\n") == ("4096", "131072", "6291456")
    assert sysctl.read("net.no.such") is None


def test_a_check_carries_why_and_fix() -> None:
    def lacking() -> None:
        raise Unavailable("x", "it is not there", "get it")

    check = checks.checked("x", lacking)
    assert (check.ok, check.why, check.fix) == (False, "it is not there", "get it")
    assert checks.checked("y", lambda: None) == checks.Check(name="y", ok=True)


def test_what_is_needed_is_checked() -> None:
    names = [check.name for check in checks.system_checks()]
    assert set(checks.NEEDED) <= set(names)
    assert len(names) == len(set(names))
    assert all(check.ok or (check.why and check.fix) for check in checks.system_checks())

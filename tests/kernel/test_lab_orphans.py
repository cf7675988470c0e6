"""Processes that hide from their lab, things that only look like a lab's, and runs in other namespaces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_building import BuildLab, do_without

from perfcheck.errors import LabError, Unavailable
from perfcheck.lab import Lab
from perfcheck.system import Journal, cgroup, clean, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.system.netns import Mark, NetnsThread, mark_of, path_of, remove
from perfcheck.system.processes import ProcessId, identify

PROGRAM = Path(__file__).with_name("lab_program.py")
HIDE = "env -i setsid --fork sh -c 'echo $$; exec {then} sleep 1000' </dev/null 2>/dev/null"


@pytest.fixture
def group() -> Path:
    """Return the group that labs' groups are made beneath."""
    found = cgroup.own_group()
    if found is None or (found / "cgroup.subtree_control").read_text().split():
        do_without(Unavailable("control groups", "version 2 cannot be used here", "mount it"))
    return found


def hidden(lab: Lab, then: str = "") -> ProcessId:
    """Start a process that drops its environment, its session and its parent; `then` does more of it."""
    process = lab.hosts["client"].popen(["sh", "-c", HIDE.format(then=then)])
    assert process.stdout is not None
    found = identify(int(process.stdout.readline()))
    assert found is not None
    assert not carries_tag(found)
    return found


def carries_tag(process: ProcessId) -> bool:
    return b"PERFCHECK_TAG" in Path(f"/proc/{process.pid}/environ").read_bytes()


def test_a_process_that_left_its_environment_and_its_namespace_is_found_by_its_group(
    build_lab: BuildLab, group: Path
) -> None:
    with build_lab() as lab:
        found = hidden(lab, "unshare --net")
        mine = group / f"pc-{lab.tag}"
        assert found.pid in set(cgroup.members(mine))
        assert os.getpid() in set(cgroup.members(mine))  # the thread that starts the lab's processes
        assert (mine / "cgroup.controllers").read_text().split() == []
        assert f"/pc-{lab.tag}\n" not in Path("/proc/self/cgroup").read_text()
    assert identify(found.pid) is None
    assert not mine.exists()


def test_without_a_group_it_is_found_by_the_labs_namespace(
    build_lab: BuildLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "own_group", lambda: None)
    with build_lab() as lab:
        found = hidden(lab)
    assert identify(found.pid) is None


def test_a_process_that_somebody_else_put_into_the_labs_namespace_is_left_alone(
    build_lab: BuildLab, group: Path
) -> None:
    del group
    with build_lab() as lab, NetnsThread() as thread:
        path = lab.hosts["client"].netns_path
        theirs = thread.inside(path, lambda: subprocess.Popen(["sleep", "1000"]))
    try:
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()


@pytest.mark.parametrize("content", ["nothing", "file", "link", "namespace"])
def test_what_took_a_namespaces_name_is_left_alone(content: str, tmp_path: Path) -> None:
    with Journal.create(new_tag()) as journal, NetnsThread() as thread:
        name = f"pc-{journal.tag}-client"
        ours = thread.create(name, journal)
        assert remove(name, ours)
        path = Path(path_of(name))
        if content == "file":
            path.write_text("theirs")
        elif content == "link":
            path.symlink_to(tmp_path)
        elif content == "namespace":
            subprocess.run(["ip", "netns", "add", name], check=True)
            theirs = mark_of(str(path))
            assert theirs != ours
            # The kernel uses the numbers again, but not the cookies.
            assert not remove(name, Mark(inode=theirs.inode, cookie=ours.cookie))
        outcomes = [str(each) for each in journal.undo()]
    try:
        assert outcomes == [f"netns {name}: gone"]
        assert os.path.lexists(path) == (content != "nothing")
    finally:
        if content == "namespace":
            subprocess.run(["ip", "netns", "del", name], check=True)
        path.unlink(missing_ok=True)


def test_a_namespace_that_exists_already_is_neither_taken_nor_removed() -> None:
    with Journal.create(new_tag()) as journal, NetnsThread() as thread:
        name = f"pc-{journal.tag}-client"
        subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            with pytest.raises(LabError, match="File exists"):
                thread.create(name, journal)
            assert journal.undo() == ()
            assert Path(path_of(name)).exists()
        finally:
            subprocess.run(["ip", "netns", "del", name], check=True)


def test_a_group_of_the_same_name_is_left_alone(group: Path) -> None:
    with Journal.create(new_tag()) as journal:
        mine = cgroup.make(journal)
        assert mine == group / f"pc-{journal.tag}"
        mine.rmdir()
        mine.mkdir()
        theirs = subprocess.Popen(["sleep", "1000"])
        (mine / "cgroup.procs").write_text(str(theirs.pid))
        journal.note("process", "x")
        outcomes = [str(each) for each in journal.undo()]
    try:
        assert outcomes == [f"cgroup {mine}: gone"] * 2
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()
        wait_until(lambda: not list(cgroup.members(mine)), timeout_s=5.0)
        mine.rmdir()


# runs in another PID namespace that shares the run directory

APART = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@contextmanager
def holding(*before: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    argv = [*before, sys.executable, str(PROGRAM), "hold"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()
            running.wait()
            clean()


def test_a_run_in_another_pid_namespace_is_alive_until_it_is_dead(run_directory: Path) -> None:
    with holding(*APART) as (running, tag):
        header = json.loads((run_directory / f"{tag}.journal").read_bytes().splitlines()[0])
        pid = header["owner"]["pid"]
        assert pid < 100  # which outside is another process
        assert clean().alive == (tag,)
        (inner,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(inner), signal.SIGKILL)
        running.wait(10.0)
        report = clean()
        assert (report.alive, report.failed, report.unreadable) == ((), (), ())
        assert not list(Path("/run/netns").glob(f"pc-{tag}-*"))
        assert not list(run_directory.iterdir())


def test_a_run_outside_is_alive_to_a_clean_in_another_pid_namespace(run_directory: Path) -> None:
    program = "from perfcheck.system import clean; print(*clean().alive)"
    with holding() as (_, tag):
        said = subprocess.run([*APART, sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert said.stdout.split() == [tag]
        assert (run_directory / f"{tag}.journal").exists()
        assert Path(path_of(f"pc-{tag}-client")).exists()


def test_with_the_proc_of_another_pid_namespace_nothing_is_done(run_directory: Path) -> None:
    program = "from perfcheck.system import clean; print(*clean().unreadable)"
    run_directory.mkdir(mode=0o700)
    argv = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", program]
    said = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert "/proc is not available: it shows the processes of another PID namespace" in said.stdout

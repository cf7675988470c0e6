"""Nothing of a lab is left, whichever way its run ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_building import BuildLab

from perfcheck.errors import LabError
from perfcheck.system import Journal, clean, new_tag
from perfcheck.system.clock import now_ns, wait_until
from perfcheck.system.journal import parse
from perfcheck.system.processes import identify, tagged

PROGRAM = Path(__file__).with_name("lab_program.py")


def names_left(tag: str) -> list[str]:
    """Everything of this machine that carries the tag."""
    namespaces = [path.name for path in Path("/run/netns").iterdir() if tag in path.name]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if tag in line]
    links = [line for line in command("ip", "-o", "link").splitlines() if tag in line]
    running = [str(process.pid) for process in tagged(tag)]
    return [*namespaces, *mounts, *links, *running]


def command(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=10.0).stdout


def machine() -> dict[str, str]:
    """What the lab must leave alone: interfaces, qdiscs and all sysctls of the machine's own namespace."""
    sysctls = {}
    for path in sorted(Path("/proc/sys/net").rglob("*")):
        if path.is_file() and os.access(path, os.R_OK):
            try:
                sysctls[str(path)] = path.read_text()
            except OSError:
                continue
    # netdev_rss_key and the like are constant; what counts upwards is none of anybody's setting.
    sysctls = {name: value for name, value in sysctls.items() if not name.endswith("nf_conntrack_count")}
    links = json.loads(command("ip", "-j", "link"))
    return {
        "links": json.dumps([[link["ifname"], link["mtu"], link["flags"]] for link in links]),
        "qdiscs": command("tc", "qdisc", "show"),
        "routes": command("ip", "route") + command("ip", "-6", "route"),
        **sysctls,
    }


@contextmanager
def program(mode: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, str(PROGRAM), mode], stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()
            running.wait()
            clean()


def said(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def test_kill_9_in_mid_lab_and_then_clean(run_directory: Path) -> None:
    before = machine()
    with program("hold") as running:
        tag = said(running)
        assert wait_until(lambda: len(list(tagged(tag))) == 3, timeout_s=5.0)
        assert f"pc-{tag}-client" in command("ip", "netns")
        assert clean().alive == (tag,)
        assert f"pc-{tag}-client" in command("ip", "netns")
        running.kill()
        running.wait()
        assert len(names_left(tag)) >= 7
        cleared = pid_of_env(run_directory, tag)
        report = clean()
        assert not report.failed
        undone = {str(each) for each in report.undone}
        assert {f"netns pc-{tag}-client: undone", f"netns pc-{tag}-server: undone"} <= undone
        assert len([each for each in report.undone if each.kind == "process"]) == 4
        assert names_left(tag) == []
        assert identify(int(cleared)) is None
        assert machine() == before
        assert list(run_directory.iterdir()) == []
        assert clean().undone == ()


def pid_of_env(run_directory: Path, tag: str) -> str:
    """Return the pid of the process that has cleared its environment: the journal's note alone tells of it."""
    (journal,) = run_directory.glob("*.journal")
    noted = {entry.detail.get("pid") for entry in parse(journal.read_bytes(), tag).entries if entry.name == "env"}
    (pid,) = noted - {None}
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"\0".join([b"sleep", b"1001", b""])
    return str(pid)


@pytest.mark.parametrize(
    ("numbers", "how"),
    [
        ([signal.SIGTERM], "Stopped"), ([signal.SIGHUP], "Stopped"), ([signal.SIGINT] * 5, "KeyboardInterrupt"),
        ([signal.SIGTERM, signal.SIGINT], "Stopped"),
    ],
)  # fmt: skip
def test_signals_undo_everything_however_often_they_come(
    run_directory: Path, numbers: list[signal.Signals], how: str
) -> None:
    with program("hold") as running:
        tag = said(running)
        assert names_left(tag)
        for number in numbers:
            running.send_signal(number)
            wait_until(lambda: running.poll() is not None, timeout_s=0.005)
        assert said(running) == how
        # One of the later signals may come when all is undone and nobody holds them back any more.
        assert running.wait(10.0) in {0, *(-number for number in numbers[1:])}
        assert names_left(tag) == []
        assert list(run_directory.iterdir()) == []


def test_killed_at_any_step_clean_undoes_it(run_directory: Path) -> None:
    with program("strike") as running:
        assert running.stdout is not None
        lines = running.stdout.read().splitlines()
        assert running.wait(60.0) == 0
    steps = [line for line in lines if line.startswith(("before", "after"))]
    # With a control group of the lab's own, two notes come before the first namespace's.
    group = (len(steps) - 8) // 4
    first = 2 * group
    assert (len(steps), group) in {(8, 0), (12, 1)}
    assert all(line.endswith("failed 0") for line in lines)
    undone = {line.split(":")[0]: int(re.findall(r"undone (\d+)", line)[0]) for line in lines}
    assert undone["before note 1"] == undone["after note 1"] == 0
    assert undone[f"before note {first + 2}"] == group + 1
    assert undone[f"before note {first + 3}"] == undone[f"after note {first + 3}"] == group + 2
    assert undone[f"before note {first + 4}"] == undone[f"after note {first + 4}"] == group + 3
    assert max(undone[f"random {number}"] for number in range(10)) >= 1
    assert list(run_directory.iterdir()) == []


def test_an_error_in_the_block_undoes_everything(build_lab: BuildLab) -> None:
    tags = []

    def fail() -> None:
        with build_lab() as lab:
            tags.append(lab.tag)
            lab.hosts["client"].popen(["sleep", "1000"])
            assert len(names_left(lab.tag)) == 5
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert names_left(tags[0]) == []


def test_processes_that_ignore_sigterm_are_killed(build_lab: BuildLab) -> None:
    with build_lab() as lab:
        process = lab.hosts["client"].popen(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    assert process.returncode == -signal.SIGKILL
    assert names_left(lab.tag) == []


def test_processes_of_another_lab_are_left_alone(build_lab: BuildLab) -> None:
    with build_lab() as one:
        kept = one.hosts["client"].popen(["sleep", "1000"])
        with build_lab() as other:
            ended = other.hosts["client"].popen(["sleep", "1000"])
        assert ended.returncode == -signal.SIGTERM
        assert kept.poll() is None


def test_a_process_in_the_host_carries_the_tag_and_is_noted_before_it_runs(build_lab: BuildLab) -> None:
    with build_lab() as lab:
        process = lab.hosts["server"].popen(["sleep", "1000"])
        # In the middle of its execve(2) a process shows no environment.
        assert wait_until(lambda: bool(list(tagged(lab.tag))), timeout_s=5.0)
        (found,) = tagged(lab.tag)
        assert found.pid == process.pid
        assert Path(f"/proc/{process.pid}/ns/net").stat().st_ino == lab.hosts["server"].netns_inode
        assert f"PERFCHECK_TAG={lab.tag}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")


def test_commands_that_take_too_long_are_ended(build_lab: BuildLab) -> None:
    with build_lab() as lab:
        started_ns = now_ns()
        with pytest.raises(LabError, match=r"`sh -c 'echo so far >&2; sleep 1000'` did not end within 0.2 s: so far"):
            lab.hosts["client"].run(["sh", "-c", "echo so far >&2; sleep 1000"], timeout_s=0.2)
        assert now_ns() - started_ns < 5e9
        done = lab.hosts["client"].run(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert names_left(lab.tag) == []


def test_a_namespace_noted_and_never_mounted_is_removed() -> None:
    with Journal.create(new_tag()) as journal:
        name = f"pc-{journal.tag}-half"
        journal.note("netns", name)
        Path("/run/netns", name).touch()
        journal.note("netns", f"pc-{journal.tag}-never")
        outcomes = [str(outcome) for outcome in journal.undo()]
    assert outcomes == [f"netns pc-{journal.tag}-never: gone", f"netns {name}: undone"]
    assert names_left(journal.tag) == []

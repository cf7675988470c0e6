"""Advice that is applied to a namespace's sysctl, and `perfctl undo` from another process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcheck.live.advice import Advice, Change
from perfcheck.live.applied import applied_changes, apply_advice
from perfcheck.live.sysctls import NamespaceSysctls, path_of_host
from perfcheck.system import Journal, netns, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.system.netns import NetnsThread

KEY = "net.ipv4.tcp_wmem"
APPLIES = """
import os, signal, sys, time
from perfcheck.live.advice import Advice, Change
from perfcheck.live.applied import apply_advice
from perfcheck.live.sysctls import NamespaceSysctls
change = Change(key=sys.argv[2], old=sys.argv[3], new=sys.argv[4])
made = Advice(id="PC-SNDBUF-TCP_WMEM", cause="send_buffer", reason="", action="", changes=(change,), netns=sys.argv[1])
apply_advice(made, NamespaceSysctls(), time.time_ns())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def namespace() -> Iterator[str]:
    with Journal.create(new_tag()) as journal, NetnsThread() as thread:
        name = f"pc-{journal.tag}-undo"
        thread.create(name, journal)
        yield name


def value(name: str) -> str:
    with NamespaceSysctls() as sysctls:
        return " ".join(sysctls.read(path_of_host(name), KEY) or ())


def undo(*words: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from perfcheck.cli.perfctl import main; sys.exit(main())"
    argv = [sys.executable, "-c", program, "undo", *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


def larger(old: str) -> str:
    return " ".join([*old.split()[:2], str(2 * int(old.split()[2]))])


def test_a_change_outlives_a_killed_process_and_is_undone(namespace: str) -> None:
    old = value(namespace)
    here = Path("/proc/sys/net/ipv4/tcp_wmem").read_text()
    argv = [sys.executable, "-c", APPLIES, namespace, KEY, old, larger(old)]
    assert subprocess.run(argv, timeout=60, check=False).returncode == -signal.SIGKILL
    assert value(namespace) == larger(old)
    (change,) = applied_changes()
    listed = undo("--list")
    assert f"{KEY}: {old} -> {larger(old)}  /run/netns/{namespace}" in listed.stdout
    done = undo(change.id)
    assert (done.returncode, done.stderr) == (0, "")
    assert value(namespace) == old
    assert Path("/proc/sys/net/ipv4/tcp_wmem").read_text() == here
    assert undo("--all").stdout == "there are no changes to undo\n"


def test_what_somebody_else_changed_is_told(namespace: str) -> None:
    old, mine = value(namespace), larger(value(namespace))
    change = Change(key=KEY, old=old, new=mine)
    made = Advice(id="PC-SNDBUF-TCP_WMEM", cause="send_buffer", reason="", action="", changes=(change,),
                  netns=namespace)  # fmt: skip
    with NamespaceSysctls() as sysctls:
        apply_advice(made, sysctls, 0)
        sysctls.write(netns.path_of(namespace), KEY, larger(mine))
    done = undo("PC-SNDBUF-TCP_WMEM")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "not undone" in done.stderr
    assert value(namespace) == larger(mine)
    assert undo("--all", "--force").returncode == 0
    assert value(namespace) == old


def test_a_namespace_that_lost_its_name_is_found_by_a_process_in_it(namespace: str) -> None:
    old = value(namespace)
    change = Change(key=KEY, old=old, new=larger(old))
    path = netns.path_of(namespace)
    with subprocess.Popen(["nsenter", f"--net={path}", "sleep", "60"]) as sleeper:
        try:
            with NamespaceSysctls() as sysctls:
                apply_advice(Advice(id="PC-X", cause="send_buffer", reason="", action="", changes=(change,),
                                    netns=path), sysctls, 0)  # fmt: skip
                mark = sysctls.mark(path)
                own = f"/proc/{sleeper.pid}/ns/net"
                assert wait_until(lambda: netns.inode_of(own) == netns.inode_of(path), timeout_s=10)
                netns.remove(namespace, mark)
                done = undo("--all")
                assert done.returncode == 0, done.stderr
                assert " ".join(sysctls.read(own, KEY) or ()) == old
        finally:
            sleeper.kill()

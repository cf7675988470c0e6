"""The ssh client is started with nothing of the file as an option, and what it says becomes one clear error."""

from __future__ import annotations

import shlex
import stat
import sys
from pathlib import Path

import pytest

from perfcheck.errors import Unavailable
from perfcheck.model.scenario import HostSpec
from perfcheck.remote import bootstrap
from perfcheck.remote.transport import Transport, client_argv


def real(**keys: object) -> HostSpec:
    return HostSpec.model_validate({"ssh": "root@192.0.2.7", "interface": "eth1", **keys})


def test_the_destination_stands_behind_the_options() -> None:
    argv = client_argv(real())
    assert argv[-3:-1] == ["--", "root@192.0.2.7"]
    assert "BatchMode=yes" in argv
    assert "ControlMaster=no" in argv
    assert not [word for word in argv if "StrictHostKeyChecking" in word]


def test_the_command_is_one_that_a_shell_there_splits_into_three() -> None:
    python, dash_c, program = shlex.split(client_argv(real(python="/opt/venv/bin/python"))[-1])
    assert (python, dash_c, program) == ("/opt/venv/bin/python", "-c", bootstrap.PROGRAM)


def test_a_namespace_and_this_machine_need_no_ssh() -> None:
    assert client_argv(HostSpec(interface="eth1"))[0] == sys.executable
    words = client_argv(HostSpec(interface="eth1", netns="blue"))
    assert words[1:4] == ["netns", "exec", "blue"]


def ssh_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("said", "why", "fix"),
    [
        ("@@@\\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\\nHost key verification failed.",
         "its host key is not the one in known_hosts", "ssh-keygen -R 192.0.2.7"),
        ("No ED25519 host key is known for 192.0.2.7.", "its host key is not known", "ssh root@192.0.2.7"),
        ("root@192.0.2.7: Permission denied (publickey).", "it refuses the login", "ssh-copy-id root@192.0.2.7"),
        ("ssh: Could not resolve hostname x: Name or service not known", "Could not resolve hostname", "HostName"),
        ("ssh: connect to host 192.0.2.7 port 22: Connection refused", "Connection refused", "ssh root@192.0.2.7"),
        ("ssh: connect to host 192.0.2.7 port 22: Connection timed out", "timed out", "that the machine is up"),
        ("sh: 1: python3: not found", "python3: not found", "hosts.dut.python"),
        ("something new", "something new", "try: "),
    ],
)  # fmt: skip
def test_what_the_client_says_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str, fix: str
) -> None:
    ssh_that(tmp_path, monkeypatch, f"printf '{said}\\n' >&2; exit 255")
    transport = Transport("dut", real())
    with pytest.raises(Unavailable) as caught:
        transport.begin()
    transport.close()
    assert caught.value.what == "host dut (root@192.0.2.7)"
    assert why in caught.value.why
    assert fix in caught.value.fix
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        ('{"python": [3, 9, 2], "uid": 0}', "its python3 is Python 3.9.2, older than 3.11"),
        ('{"python": [3, 12, 1], "uid": 1000}', "the login is no root there (user 1000)"),
    ],
)
def test_a_machine_that_will_not_do_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hello: str, said: str
) -> None:
    ssh_that(tmp_path, monkeypatch, f"echo Welcome to this machine; echo 'perfcheck-bootstrap {hello}'; cat >/dev/null")
    transport = Transport("dut", real())
    with pytest.raises(Unavailable) as caught:
        transport.begin()
    transport.close()
    assert said in str(caught.value)


def test_a_shell_that_prints_without_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh_that(tmp_path, monkeypatch, "yes | tr -d '\\n'")
    transport = Transport("dut", real())
    with pytest.raises(Unavailable, match="prints without end"):
        transport.begin()
    transport.kill()
    transport.close()


def test_the_copy_has_what_the_agent_imports_and_nothing_private() -> None:
    content = bootstrap.package()
    assert int(content[:16]) == len(content) - 16
    assert len(content) < 2_000_000

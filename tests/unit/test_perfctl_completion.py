"""Completion of perfctl: the scripts are whole, and bash's completes commands, options and words."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from perfcheck.cli.perfctl.completion import SHELLS
from perfcheck.cli.perfctl.completion_run import script
from perfcheck.cli.perfctl.registry import COMMANDS
from perfcheck.model.printable import printable_lines


@pytest.fixture
def bash_script(tmp_path: Path) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    path = tmp_path / "perfctl.bash"
    path.write_text(script("bash"))
    return path


def completions(bash_script: Path, *words: str) -> list[str]:
    """Words that bash offers for the last word of a command line."""
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_perfctl; printf "%s\\n" '
        '"${COMPREPLY[@]}"'
    )
    argv = ["bash", "--norc", "-c", program, "bash", str(bash_script), "perfctl", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_name_all_commands_and_are_printed_unchanged(shell: str) -> None:
    text = script(shell)
    assert all(name in text for name in COMMANDS)
    assert printable_lines(text) == text


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_of_the_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    path = tmp_path / "script"
    path.write_text(script(shell))
    subprocess.run([shell, "-n", str(path)], check=True, timeout=30)


def test_bash_completes(bash_script: Path, tmp_path: Path) -> None:
    assert set(completions(bash_script, "")) == set(COMMANDS)
    assert completions(bash_script, "obs") == ["observe"]
    assert completions(bash_script, "tcp", "--grou") == ["--group-by"]
    assert completions(bash_script, "tcp", "--lport", "80", "--group-by", "pro") == ["process"]
    assert completions(bash_script, "hist", "--perspective", "") == ["rx", "tx", "both"]
    assert completions(bash_script, "completion", "") == list(SHELLS)
    assert "--group-by" not in completions(bash_script, "observe", "--")
    (tmp_path / "incident.rec").touch()
    assert completions(bash_script, "tcp", "--from", f"{tmp_path}/inc") == [f"{tmp_path}/incident.rec"]

"""Completion of perfctl: commands, options, words and files, in the three shells themselves."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from perfcheck.cli.perfctl.completion import SHELLS
from perfcheck.cli.perfctl.completion_run import script
from perfcheck.cli.perfctl.registry import COMMANDS
from perfcheck.model.printable import printable_lines
from perfcheck.system.clock import wait_until

ZSH_SETUP = (
    "fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -d {folder}/dump; setopt menu_complete; "
    'told() {{ print -rn -- "$BUFFER" >{folder}/part && mv {folder}/part {folder}/line; BUFFER=; }}; '
    "zle -N told; bindkey '^X' told; bindkey '^I' complete-word\n"
)
"""Ctrl-X writes the line as it stands to a file, and each further Tab takes the next of what could stand there."""


def have(shell: str) -> None:
    if shutil.which(shell) is None:
        if os.environ.get("CI"):
            pytest.fail(f"there is no {shell}: `make test-tools` installs it")
        pytest.skip(f"there is no {shell}")


@pytest.fixture
def bash_script(tmp_path: Path) -> Path:
    have("bash")
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
    have(shell)
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


def test_fish_completes(tmp_path: Path) -> None:
    have("fish")
    (tmp_path / "perfctl.fish").write_text(script("fish"))
    (tmp_path / "incident.rec").touch()

    def offered(line: str) -> list[str]:
        program = "source perfctl.fish; complete -C $argv[1]"
        done = subprocess.run(
            ["fish", "--no-config", "-c", program, line], capture_output=True, text=True, check=True, timeout=30,
            cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)},
        )  # fmt: skip
        return [each.split("\t")[0] for each in done.stdout.splitlines()]

    assert set(offered("perfctl ")) == set(COMMANDS)
    assert offered("perfctl obs") == ["observe"]
    assert offered("perfctl tcp --grou") == ["--group-by"]
    assert offered("perfctl tcp --lport 80 --group-by pro") == ["process"]
    assert set(offered("perfctl hist --perspective ")) == {"rx", "tx", "both"}
    assert set(offered("perfctl completion ")) == set(SHELLS)
    assert "--group-by" not in offered("perfctl observe --")
    assert offered("perfctl tcp --from inc") == ["incident.rec"]


@contextmanager
def typing(folder: Path) -> Iterator[Callable[[str], str]]:
    """A zsh at a terminal; what is typed comes back as the shell has completed it, without ending the line."""
    main, other = pty.openpty()
    env = {"HOME": str(folder), "PATH": os.environ["PATH"], "TERM": "xterm"}
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=other, stdout=other, stderr=other, env=env, cwd=folder, start_new_session=True
    )
    os.close(other)

    def drop_what_it_shows() -> None:
        with suppress(OSError):
            while os.read(main, 4096):
                pass

    reader = threading.Thread(target=drop_what_it_shows)
    reader.start()

    def typed(keys: str) -> str:
        line = folder / "line"
        line.unlink(missing_ok=True)
        os.write(main, f"{keys}\x18".encode())
        assert wait_until(line.exists, timeout_s=30)
        return line.read_text()

    with closing(os.fdopen(main, "wb", buffering=0)):
        try:
            os.write(main, ZSH_SETUP.format(folder=folder).encode())
            yield typed
        finally:
            shell.kill()
            shell.wait()
            reader.join()


def test_zsh_completes(tmp_path: Path) -> None:
    have("zsh")
    (tmp_path / "_perfctl").write_text(script("zsh"))
    (tmp_path / "incident.rec").touch()
    with typing(tmp_path) as typed:
        assert {typed("perfctl " + "\t" * (1 + n)) for n in range(len(COMMANDS))} == {f"perfctl {n}" for n in COMMANDS}
        assert typed("perfctl obs\t") == "perfctl observe "
        assert typed("perfctl tcp --grou\t") == "perfctl tcp --group-by "
        assert typed("perfctl tcp --lport 80 --group-by pro\t") == "perfctl tcp --lport 80 --group-by process "
        chosen = {typed("perfctl hist --perspective " + "\t" * (1 + n)).split()[-1] for n in range(3)}
        assert chosen == {"rx", "tx", "both"}
        assert typed("perfctl observe --group-b\t") == "perfctl observe --group-b"
        assert typed("perfctl tcp --from inc\t") == "perfctl tcp --from incident.rec "

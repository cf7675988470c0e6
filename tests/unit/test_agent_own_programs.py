"""Programs of perfcheck's own on another machine: kept in memory, checked, tried, or compiled there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcheck.agent.own_programs import OwnPrograms, digest_of
from perfcheck.agent.requests import PlaceProgram, Ran, Run
from perfcheck.errors import LabError, Unavailable
from perfcheck.system import commands, programs
from perfcheck.system.programs import LOAD


def run(request: Run) -> Ran:
    done = commands.finish(
        commands.popen(request.argv), request.argv, timeout_s=request.timeout_s, error=LabError
    )  # fmt: skip
    return Ran(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnPrograms]:
    found = OwnPrograms(tmp_path, run)
    yield found
    found.close()


def sent(content: bytes) -> PlaceProgram:
    return PlaceProgram(name="load", digest=digest_of(content))


def test_what_was_sent_runs_by_its_name_and_cannot_be_changed(own: OwnPrograms, tmp_path: Path) -> None:
    content = programs.built(LOAD)
    path = Path(own.place(sent(content), content).path)
    assert path == tmp_path / "programs" / "load"
    assert path.read_bytes() == content
    assert subprocess.run([path], capture_output=True, check=False).returncode == 2
    with pytest.raises(PermissionError):
        path.write_bytes(b"other")
    with path.open("r+b", buffering=0) as file, pytest.raises(PermissionError):
        file.write(b"other")


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    before = descriptors()
    own = OwnPrograms(tmp_path, run)
    content = programs.built(LOAD)
    for _ in range(2):
        path = Path(own.place(sent(content), content).path)
    own.close()
    own.close()
    assert descriptors() == before
    assert not path.exists()


def test_it_is_compiled_in_the_agents_own_folder(
    own: OwnPrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", "/nowhere")
    path = own.place(PlaceProgram(name="load", digest=None), b"").path
    assert subprocess.run([path], capture_output=True, check=False).returncode == 2
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no program at all", "Exec format error"),
        (b"#!/bin/sh\necho too old >&2; exit 9\n", "it ended with status 9: too old"),
        (b"#!/bin/sh\nkill -SEGV $$\n", "it ended with signal 11"),
    ],
)
def test_what_does_not_run_is_told(own: OwnPrograms, content: bytes, why: str) -> None:
    with pytest.raises(Unavailable, match="the program load") as caught:
        own.place(sent(content), content)
    assert why in caught.value.why


def test_what_changed_on_its_way_is_refused(own: OwnPrograms) -> None:
    with pytest.raises(LabError, match="did not arrive as it was sent"):
        own.place(sent(b"one"), b"other")


def test_no_other_program_is_taken(own: OwnPrograms) -> None:
    with pytest.raises(LabError, match="perfcheck has no program 'ls'"):
        own.place(PlaceProgram(name="ls", digest=digest_of(b"")), b"")

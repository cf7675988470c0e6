"""Small C programs: compiled once, kept where only we can write, and what is said where that cannot be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from perfcheck.errors import LabError, Unavailable
from perfcheck.system import programs


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small program; the cache is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "seven.c"
    path.write_text("int main(void) { return 7; }\n")
    return path


def without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "COMPILER", ("gcc-that-nobody-has", *programs.COMPILER[1:]))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_program_runs_and_is_compiled_once(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = programs.executable(source)
    assert place == programs.place_of(source)
    assert subprocess.run([place], check=False).returncode == 7
    changed_ns = place.stat().st_mtime_ns
    monkeypatch.setattr(programs, "_compiled", lambda path: pytest.fail("compiled again"))
    assert programs.executable(source) == place
    assert programs.built(source) == place.read_bytes()
    assert place.stat().st_mtime_ns == changed_ns
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_program_that_came_as_data_is_made_executable(source: Path) -> None:
    place = programs.cache_folder().parent / programs.kept_as(source)
    place.parent.mkdir(parents=True)
    place.write_bytes(programs.built(source))
    place.chmod(0o644)
    assert programs.executable(source) == place
    assert subprocess.run([place], check=False).returncode == 7


def test_a_changed_source_is_another_program(source: Path) -> None:
    first = programs.executable(source)
    source.write_text("int main(void) { return 8; }\n")
    assert programs.executable(source) != first
    assert subprocess.run([programs.executable(source)], check=False).returncode == 8


def test_without_a_compiler_it_is_said_what_to_install(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_compiler(monkeypatch, tmp_path)
    for ask in (programs.require, programs.built, programs.executable):
        with pytest.raises(Unavailable, match="a C compiler is not available: gcc is not in PATH") as caught:
            ask(source)
        assert caught.value.fix == "apt-get install gcc libc6-dev"


def test_what_is_kept_needs_no_compiler(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = programs.executable(source)
    monkeypatch.setattr(programs, "_compiler", lambda: pytest.fail("looked for a compiler"))
    programs.require(source)
    assert programs.executable(source) == place


def test_what_others_could_have_written_is_not_run(source: Path) -> None:
    place = programs.executable(source)
    place.write_bytes(b"#!/bin/false\n")
    place.chmod(0o722)
    assert programs.executable(source).read_bytes().startswith(b"\x7fELF")
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_written_is_told_where_a_file_is_needed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert programs.built(source).startswith(b"\x7fELF")
    with pytest.raises(Unavailable, match=r"the program seven is not available: it cannot be kept in .*XDG_CACHE_HOME"):
        programs.executable(source)


def test_a_folder_that_others_can_write_to_is_not_used(source: Path, tmp_path: Path) -> None:
    folder = programs.cache_folder()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(Unavailable, match="others may write there"):
        programs.executable(source)


def test_a_mistake_in_the_source_is_the_compilers_own(source: Path) -> None:
    source.write_text("int main(void) { return seven; }\n")
    with pytest.raises(LabError, match="seven"):
        programs.executable(source)


def test_a_changed_header_is_another_program(source: Path) -> None:
    source.with_name("number.h").write_text("enum { NUMBER = 9 };\n")
    source.write_text('#include "number.h"\nint main(void) { return NUMBER; }\n')
    first = programs.executable(source)
    source.with_name("number.h").write_text("enum { NUMBER = 10 };\n")
    assert [subprocess.run([path], check=False).returncode for path in (first, programs.executable(source))] == [9, 10]


def test_a_plugin_is_kept_apart_from_the_program(source: Path) -> None:
    assert programs.built(source, programs.PLUGIN) != programs.built(source)
    assert programs.place_of(source, programs.PLUGIN) != programs.place_of(source)

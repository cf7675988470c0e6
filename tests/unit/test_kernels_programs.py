"""Programs for guests and the plugin for QEMU are compiled once, and kept where only their user can write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels import programs
from perfcheck.kernels.plugin import plugin_arguments
from perfcheck.kernels.symbols import InterruptFunction, Symbol
from perfcheck.system import programs as compiling

SOFTIRQ = InterruptFunction(
    context="softirq",
    symbol=Symbol(name="handle_softirqs", start=0xFFFFFFFF81000000, end=0xFFFFFFFF81000100, module=None),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "perfcheck" / "programs"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the sources, which may be changed."""
    copied = tmp_path / "programs"
    shutil.copytree(programs.SOURCES, copied)
    monkeypatch.setattr(programs, "SOURCES", copied)
    return copied


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the compiler be one that only notes what it was asked for."""
    asked: list[str] = []

    def build(source: Path, how: tuple[str, ...], scratch: Path | None = None) -> bytes:
        del scratch
        asked.append(" ".join((source.name, *how)))
        return b"object %d" % len(asked)

    monkeypatch.setattr(compiling, "_compiled", build)
    return asked


def test_arguments_name_the_plugin_its_file_and_the_functions(tmp_path: Path, built: list[str]) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    option, value = plugin_arguments(folder, [SOFTIRQ])
    doubled = str(folder).replace(",", ",,")
    assert option == "-plugin"
    assert value == f"{doubled}/count.so,out={doubled}/counts,softirq=0xffffffff81000000-0xffffffff81000100"
    assert (folder / "count.so").read_bytes() == b"object 1"
    assert built == ["count.c -shared -fPIC -fvisibility=hidden"]


def test_each_is_built_once(cache: Path, built: list[str]) -> None:
    assert programs.plugin("count") == programs.plugin("count") == b"object 1"
    assert programs.program("load") == programs.program("load") == b"object 2"
    assert len(built) == len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("name", ["count.c", "blocks.h", "instructions.h", "qemu_plugin.h"])
def test_it_is_built_again_where_its_source_or_a_header_differs(sources: Path, built: list[str], name: str) -> None:
    programs.plugin("count")
    with (sources / name).open("a") as source:
        source.write("/* changed */\n")
    assert programs.plugin("count") == b"object 2"
    (sources / "init.c").write_text("other\n")
    assert programs.plugin("count") == b"object 2"


def test_what_others_could_have_written_is_not_used(cache: Path, built: list[str]) -> None:
    programs.plugin("count")
    (kept,) = cache.iterdir()
    kept.chmod(0o766)
    assert programs.plugin("count") == b"object 2"
    cache.chmod(0o777)
    assert programs.plugin("count") == b"object 3"
    assert programs.plugin("count") == b"object 4"


def test_a_cache_that_cannot_be_written_costs_only_time(cache: Path, built: list[str]) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file")
    assert programs.plugin("count") == b"object 1"
    assert programs.plugin("count") == b"object 2"


def test_no_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "COMPILER", ("gcc-that-nobody-has",))
    with pytest.raises(Unavailable, match="apt-get install gcc"):
        programs.program("load")


def test_a_program_that_cannot_be_compiled_says_why(sources: Path) -> None:
    (sources / "init.c").write_text("#error no such luck\n")
    with pytest.raises(LabError, match="no such luck"):
        programs.program("init")

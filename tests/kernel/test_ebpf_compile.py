"""Compiling beside other work, spared the kernel's symbols: the same programs, and nothing of it left."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perfcheck.collect import collectors, declared, prepare
from perfcheck.collect.base import programs
from perfcheck.ebpf import cache, image

# As BCC compiles where nothing is kept from it.
PLAIN = """
import sys
from pathlib import Path
from perfcheck.ebpf import cache, compile, image
paths = [cache.sources() / name for name in sys.argv[1:]]
print(image.to_json(compile.compile_sources(paths, cache.kernel_types())))
"""


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # What this process has read before it would not read again.
    programs.image_of.cache_clear()
    return cache.folder()


def compiled_alone(group: tuple[str, ...]) -> image.Image:
    """Compile a group's texts in a process that does nothing else."""
    done = subprocess.run([sys.executable, "-c", PLAIN, *group], capture_output=True, text=True, check=True)
    return image.from_json(done.stdout)


def test_texts_compiled_side_by_side_are_what_each_is_alone(fresh_cache: Path) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    groups = declared.texts("all", "both")
    prepare("all", "both")
    made = {group: cache.image_for(*group) for group in groups}
    with ThreadPoolExecutor(os.cpu_count()) as compiling:
        plain = list(compiling.map(compiled_alone, made))
    for found, alone in zip(made.values(), plain, strict=True):
        assert {one.name: one for one in found.maps} == {one.name: one for one in alone.maps}
        assert found.programs == alone.programs
    assert len(list(fresh_cache.glob("*.lock"))) >= len(groups)
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_a_collector_waits_for_what_is_being_compiled(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_here(paths: list[Path]) -> str:
        raise AssertionError(f"{paths} are compiled a second time")

    monkeypatch.setattr(cache, "_build", compile_here)
    prepare({"cpu"})
    (cpu,) = (one for one in collectors({"cpu"}) if one.name == "cpu")
    cpu.check()
    cpu.open()
    cpu.close()
    assert len(list(fresh_cache.glob("scope-nic-cpu-*.json"))) == 1

"""The small C programs that run in a guest, and the plugin that QEMU loads: compiled on the host and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perfcheck.system.programs import LOAD, PLUGIN, built

SOURCES: Final = Path(__file__).parent / "programs"


def program(name: str) -> bytes:
    """Return a program of `programs/`, or `load`, compiled as a static one; Unavailable without a C compiler."""
    return built(LOAD if name == LOAD.stem else SOURCES / f"{name}.c")


def plugin(name: str) -> bytes:
    """Return a plugin for QEMU, compiled from `programs/` as a shared object; Unavailable without a C compiler."""
    return built(SOURCES / f"{name}.c", PLUGIN)

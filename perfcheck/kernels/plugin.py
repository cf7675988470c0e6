"""QEMU's arguments for the plugin that counts a guest's instructions (programs/count.c)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from perfcheck.kernels import programs
from perfcheck.kernels.guest import in_option
from perfcheck.kernels.symbols import InterruptFunction
from perfcheck.system.files import replace_file

COUNTS: Final = "counts"
"""The file in a guest's folder that the plugin writes."""
_OBJECT: Final = "count.so"


def plugin_arguments(folder: Path, functions: Sequence[InterruptFunction] = ()) -> tuple[str, ...]:
    """Return QEMU's arguments that have it count instructions, into the file `counts` of a guest's folder.

    With the functions that run interrupts (symbols.interrupt_functions), softirqs and interrupts are counted apart.
    The plugin itself is put into the folder, too. Unavailable without a C compiler.
    """
    replace_file(folder / _OBJECT, programs.plugin("count"), mode=0o700, durable=False)
    ranges = [f"{each.context}={each.symbol.start:#x}-{each.symbol.end:#x}" for each in functions]
    words = [str(folder / _OBJECT), f"out={folder / COUNTS}", *ranges]
    return ("-plugin", ",".join(map(in_option, words)))

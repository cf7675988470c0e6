"""Boots a kernel with the counting plugin, and returns what its loads cost by function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from perfcheck.errors import UnreadableFile
from perfcheck.kernels.guest import GuestOptions, GuestRun, boot
from perfcheck.kernels.job import Step
from perfcheck.kernels.kallsyms import kallsyms_of
from perfcheck.kernels.plugin import COUNTS, plugin_arguments
from perfcheck.kernels.profile import Profile, read_profiles
from perfcheck.kernels.scratch import scratch_folder
from perfcheck.kernels.store import Kernel
from perfcheck.kernels.symbols import interrupt_functions, parse_kallsyms
from perfcheck.system.bounded_read import read_bounded_text
from perfcheck.system.files import replace_file

SYMBOLS_STEP: Final = Step(kind="run", arguments=("symbols",))
"""Lists the symbols of modules (programs/symbols.c), which lie elsewhere in each guest."""
_KEPT: Final = "kallsyms"
_MOST_BYTES: Final = 1 << 26


def kept_kallsyms(folder: Path, vmlinux: Callable[[], bytes]) -> str:
    """Return the symbols of a kernel, from its folder in the store; they are read out of its vmlinux once.

    LabError where it has none.
    """
    kept = folder / _KEPT
    with contextlib.suppress(UnreadableFile):
        return read_bounded_text(kept, _MOST_BYTES)
    symbols = kallsyms_of(vmlinux())
    # Elsewhere it only costs time.
    with contextlib.suppress(OSError):
        replace_file(kept, symbols.encode(), durable=False)
    return symbols


def profiled_boot(
    kernel: Kernel, image: Path, steps: Sequence[Step], options: GuestOptions, kallsyms: str,
    stopping: Callable[[], bool] = lambda: False,
) -> tuple[GuestRun, tuple[Profile, ...]]:  # fmt: skip
    """Boot as `guest.boot` does, and return the profile of each phase that a load has marked, too.

    Counting changes nothing in the guest: its time, and so all that it reports, is the same as without. `kallsyms`
    lists the kernel's own symbols. Raises what `boot` does, and LabError where the counts are not whole.
    """
    with scratch_folder() as folder:
        arguments = plugin_arguments(folder, interrupt_functions(parse_kallsyms(kallsyms)))
        counting = replace(options, arguments=(*options.arguments, *arguments))
        run = boot(kernel, image, (*steps, SYMBOLS_STEP), counting, None, stopping)
        symbols = parse_kallsyms(kallsyms + run.report.steps[-1].text)
        report = replace(run.report, steps=run.report.steps[:-1])
        return replace(run, report=report), read_profiles(folder / COUNTS, symbols)

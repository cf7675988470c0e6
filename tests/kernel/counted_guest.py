"""Boots counted_guest.S, which executes a known number of instructions between marks, with the counting plugin."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from perfcheck.kernels.plugin import COUNTS, plugin_arguments
from perfcheck.kernels.symbols import Context, InterruptFunction, Symbol, SymbolTable

HIGH: Final = 0xFFFFFFFF80000000
"""What the guest adds to an address for a kernel's."""
QEMU: Final = "qemu-system-x86_64"
_SOURCE: Final = Path(__file__).with_suffix(".S")
_ENDED: Final = 3
"""QEMU's status once the guest has written 1 to the device that ends it."""


def build(folder: Path) -> tuple[Path, SymbolTable]:
    """Build the guest, and return its image and its functions at the kernel's addresses."""
    made, linked, image = (folder / f"guest.{kind}" for kind in ("o", "elf", "bin"))
    _run("gcc", "-c", "-o", str(made), str(_SOURCE))
    _run("ld", "-Ttext=0x100000", "-o", str(linked), str(made))
    _run("objcopy", "-O", "binary", str(linked), str(image))
    listed = [line.split() for line in _run("nm", "-n", str(linked)).splitlines()]
    starts = {name: int(address, 16) + HIGH for address, kind, name in listed if kind == "T"}
    ordered = sorted({*starts.values()})
    return image, SymbolTable(
        Symbol(name=name, start=start, end=next(end for end in ordered if end > start), module=None)
        for name, start in starts.items()
        if start < ordered[-1] and not name.endswith("_end")
    )


def boot(
    folder: Path, image: Path, functions: Mapping[Context, Collection[Symbol]], *, qemu: str = QEMU, icount: bool = True
) -> Path:
    """Boot the guest, told which functions run interrupts, and return the file of counts."""
    interrupts = [
        InterruptFunction(context=context, symbol=symbol) for context, each in functions.items() for symbol in each
    ]
    time = ("-icount", "shift=2,sleep=off") if icount else ()
    argv = [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "tcg",
        *time, "-m", "64", "-smp", "1", "-kernel", str(image), "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
        *plugin_arguments(folder, interrupts),
    ]  # fmt: skip
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == _ENDED, done.stderr.decode(errors="replace")
    return folder / COUNTS


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

"""The functions of a guest's kernel by address, as its /proc/kallsyms lists them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from perfcheck.errors import LabError

Context = Literal["softirq", "irq"]

_TEXT_TYPES: Final = frozenset("tTwW")
_LONGEST_FUNCTION: Final = 1 << 18
"""In bytes. What is executed further behind a symbol belongs to something that has none, such as a trampoline."""
_SOFTIRQ: Final = ("handle_softirqs", "__do_softirq")
"""The function that runs softirqs; where both exist, the second one only calls the first one."""
_IRQ: Final = re.compile(r"__common_interrupt|__sysvec_[a-z0-9_]+")
"""What runs an interrupt on a stack of its own, and cannot be rescheduled; the entry around it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A function: its name as the compiler made it, its addresses (`end` excluded), its module if it has one."""

    name: str
    start: int
    end: int
    module: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptFunction:
    """A function of the kernel that all work in interrupts, or in softirqs, is done in."""

    context: Context
    symbol: Symbol


class SymbolTable:
    """Functions by address."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        """Take symbols that do not overlap."""
        self._symbols = sorted(symbols, key=lambda symbol: symbol.start)
        self._starts = [symbol.start for symbol in self._symbols]

    def __len__(self) -> int:
        """Return the number of functions."""
        return len(self._symbols)

    def __iter__(self) -> Iterator[Symbol]:
        """Return the functions by address."""
        return iter(self._symbols)

    def find(self, address: int) -> Symbol | None:
        """Return the function that has the address; None where none has."""
        at = bisect_right(self._starts, address) - 1
        return self._symbols[at] if at >= 0 and address < self._symbols[at].end else None


def parse_kallsyms(text: str) -> SymbolTable:
    """Return the functions that /proc/kallsyms lists; LabError where it is no such list, or hides the addresses.

    Of several names of one address the first one counts, as for the kernel itself. Parts of the list may be given,
    one after the other, such as the kernel's own symbols and those of modules.
    """
    named: dict[int, tuple[str, str | None]] = {}
    bounds: set[int] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if len(words) not in (3, 4):
            raise LabError(f"kallsyms:{number}: expected an address, a type and a name")
        try:
            address = int(words[0], 16)
        except ValueError:
            raise LabError(f"kallsyms:{number}: expected an address") from None
        # Absolute symbols are offsets, such as those of per-CPU variables.
        if words[1] in "aA":
            continue
        bounds.add(address)
        if words[1] in _TEXT_TYPES:
            named.setdefault(address, (words[2], words[3].strip("[]") if len(words) == 4 else None))
    if not named or set(named) == {0}:
        raise LabError("kallsyms: no function has an address: is kernel.kptr_restrict 0, and the reader root?")
    ordered = sorted(bounds)
    ends = dict(pairwise(ordered))
    return SymbolTable(
        Symbol(
            name=name, start=start, module=module,
            end=min(ends.get(start, start + _LONGEST_FUNCTION), start + _LONGEST_FUNCTION),
        )
        for start, (name, module) in named.items()
    )  # fmt: skip


def function_name(symbol: str) -> str:
    """Return the name that a function has in the source.

    Compilers split and clone functions (.isra.0, .constprop.0, .part.0, .cold), each kernel in its own way.
    The padding in front of a function is __pfx_ and its name. From Linux 6.10 on, functions that allocate memory are
    called through a macro of their name, and are NAME_noprof themselves.

    Example:
        >>> function_name("tcp_ack.part.0.cold")
        'tcp_ack'
    """
    name = symbol.removeprefix("__pfx_")
    stem = name.partition(".")[0].removesuffix("_noprof")
    return stem or name


def interrupt_functions(table: Iterable[Symbol]) -> tuple[InterruptFunction, ...]:
    """Return the functions that interrupts and softirqs are run by, none twice; empty where they are not known."""
    built_in = {symbol.name: symbol for symbol in table if symbol.module is None}
    softirq = next((built_in[name] for name in _SOFTIRQ if name in built_in), None)
    if softirq is None:
        return ()
    return (
        InterruptFunction(context="softirq", symbol=softirq),
        *(InterruptFunction(context="irq", symbol=symbol) for name, symbol in built_in.items() if _IRQ.fullmatch(name)),
    )

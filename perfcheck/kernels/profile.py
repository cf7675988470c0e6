"""A profile: the instructions that a guest's kernel executed in a phase, by function (programs/count.c counts them)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError, UnreadableFile
from perfcheck.kernels.symbols import SymbolTable, function_name
from perfcheck.system.bounded_read import read_bounded_text

UNKNOWN: Final = "[no symbol]"
"""What is executed where no function is known: trampolines, and code that was made while the kernel ran."""
_FIRST_LINE: Final = "perfcheck-count 1"
_LARGEST_BYTES: Final = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """Instructions by what the CPU was doing; `task` has the programs' own, too."""

    task: int
    softirq: int
    irq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Instructions that are always executed one after the other: where, how many, how many times.

    `repeats` is whether it is one string instruction (rep movs, rep stos) that goes on: further rounds of it.
    """

    address: int
    size: int
    times: int
    repeats: bool

    @property
    def instructions(self) -> int:
        """Return how many instructions were executed here."""
        return self.size * self.times


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCounts:
    """What was counted in one phase; `blocks` are the kernel's. `contexts` is None where they were not told apart."""

    user: int
    user_repeats: int
    kernel: int
    contexts: Contexts | None
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCost:
    """What one function cost, without what it called: instructions, and how often it was entered at its start.

    `repeats` of the instructions are further rounds of string instructions, which a processor counts as one.
    """

    name: str
    modules: tuple[str, ...]
    instructions: int
    repeats: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The instructions of a phase: those of programs, and the kernel's by function, by name.

    A round of a string instruction counts as one, as it does in counted time; `user_repeats` of the programs' own are
    such rounds.
    """

    user: int
    user_repeats: int
    contexts: Contexts | None
    functions: tuple[FunctionCost, ...]

    @property
    def kernel(self) -> int:
        """Return the kernel's instructions, all together."""
        return sum(function.instructions for function in self.functions)

    @property
    def total(self) -> int:
        """Return all instructions."""
        return self.user + self.kernel

    @property
    def repeats(self) -> int:
        """Return how many of all instructions are further rounds of string instructions."""
        return self.user_repeats + sum(function.repeats for function in self.functions)


def read_profiles(path: Path, symbols: SymbolTable) -> tuple[Profile, ...]:
    """Return the profile of each phase that the guest has marked, in their order; LabError where there is none."""
    return tuple(profile_of(phase, symbols) for phase in read_counts(path))


def read_counts(path: Path) -> tuple[PhaseCounts, ...]:
    """Return what was counted in each phase; LabError where the file is not whole, or something went wrong."""
    try:
        lines = read_bounded_text(path, _LARGEST_BYTES).splitlines()
    except UnreadableFile as error:
        raise LabError(f"no instructions were counted: {error}") from None
    if not lines or lines[0] != _FIRST_LINE:
        raise LabError(f"{path}:1: expected `{_FIRST_LINE}`")
    if lines[-1] != "end":
        raise LabError(f"{path}: the guest did not come to its end, so that its instructions are not all counted")
    for line in lines:
        if line.startswith("defect "):
            raise LabError(f"{path}: instructions could not be counted: {line.removeprefix('defect ')}")
    starts = [at for at, line in enumerate(lines) if line.startswith("phase ")]
    phases = []
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(lines) - 1], strict=True)):
        try:
            phases.append(_phase(number, lines[start:end]))
        except ValueError as error:
            raise LabError(f"{path}:{start + 1}: phase {number} cannot be read: {error}") from None
    return tuple(phases)


def _phase(number: int, lines: Sequence[str]) -> PhaseCounts:
    words = lines[0].split()
    said = {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True)}
    known = {"task", "softirq", "irq"} & said.keys()
    contexts = Contexts(task=said["task"], softirq=said["softirq"], irq=said["irq"]) if len(known) == 3 else None
    blocks = tuple(_block(line) for line in lines[1:] if not line.startswith(("range ", "contexts ")))
    counts = PhaseCounts(
        user=said.get("user", 0), user_repeats=said.get("user_repeats", 0), kernel=said.get("kernel", 0),
        contexts=contexts, blocks=blocks,
    )  # fmt: skip
    if said["phase"] != number:
        raise ValueError(f"it is called phase {said['phase']}")
    if sum(block.instructions for block in blocks) != counts.kernel:
        raise ValueError("its blocks do not add up to the kernel's instructions")
    if contexts is not None and contexts.task + contexts.softirq + contexts.irq != counts.user + counts.kernel:
        raise ValueError("its contexts do not add up to all instructions")
    return counts


def _block(line: str) -> Block:
    address, size, times, *words = line.split()
    if words not in ([], ["repeats"]):
        raise ValueError(f"a block is called {' '.join(words)!r}")
    return Block(address=int(address, 16), size=int(size), times=int(times), repeats=bool(words))


def profile_of(counts: PhaseCounts, symbols: SymbolTable) -> Profile:
    """Return the profile by function. A block counts for the function that it starts in."""
    instructions: defaultdict[str, int] = defaultdict(int)
    repeats: defaultdict[str, int] = defaultdict(int)
    calls: defaultdict[str, int] = defaultdict(int)
    modules: defaultdict[str, set[str]] = defaultdict(set)
    for block in counts.blocks:
        symbol = symbols.find(block.address)
        name = UNKNOWN if symbol is None else function_name(symbol.name)
        instructions[name] += block.instructions
        if block.repeats:
            repeats[name] += block.instructions
        if symbol is not None:
            # A part that the compiler has split off is not called by anybody else.
            if block.address == symbol.start and symbol.name == name:
                calls[name] += block.times
            if symbol.module is not None:
                modules[name].add(symbol.module)
    return Profile(
        user=counts.user,
        user_repeats=counts.user_repeats,
        contexts=counts.contexts,
        functions=tuple(
            FunctionCost(
                name=name,
                modules=tuple(sorted(modules[name])),
                instructions=count,
                repeats=repeats[name],
                calls=calls[name],
            )
            for name, count in sorted(instructions.items())
        ),
    )


def without_repeats(profile: Profile) -> Profile:
    """Return the profile as a processor counts: a string instruction once, however many bytes it moves.

    Contexts are left out, since repeats are not told apart there.
    """
    return Profile(
        user=profile.user - profile.user_repeats,
        user_repeats=0,
        contexts=None,
        functions=tuple(
            replace(function, instructions=function.instructions - function.repeats, repeats=0)
            for function in profile.functions
        ),
    )


def without_start(longer: Profile, shorter: Profile) -> Profile:
    """Return what the longer one of two loads of a kind cost more: what both do once, at their start, is left out."""
    contexts = None
    if longer.contexts is not None and shorter.contexts is not None:
        contexts = Contexts(
            task=longer.contexts.task - shorter.contexts.task,
            softirq=longer.contexts.softirq - shorter.contexts.softirq,
            irq=longer.contexts.irq - shorter.contexts.irq,
        )
    return Profile(
        user=longer.user - shorter.user,
        user_repeats=longer.user_repeats - shorter.user_repeats,
        contexts=contexts,
        functions=_less(longer.functions, shorter.functions),
    )


def _less(longer: Iterable[FunctionCost], shorter: Iterable[FunctionCost]) -> tuple[FunctionCost, ...]:
    more = {function.name: function for function in longer}
    less = {function.name: function for function in shorter}
    return tuple(_remainder(name, more.get(name), less.get(name)) for name in sorted(more.keys() | less.keys()))


def _remainder(name: str, more: FunctionCost | None, less: FunctionCost | None) -> FunctionCost:
    return FunctionCost(
        name=name,
        modules=tuple(sorted({*(more.modules if more else ()), *(less.modules if less else ())})),
        instructions=(more.instructions if more else 0) - (less.instructions if less else 0),
        repeats=(more.repeats if more else 0) - (less.repeats if less else 0),
        calls=(more.calls if more else 0) - (less.calls if less else 0),
    )

"""The plugin counts a guest's instructions exactly: a guest without a kernel, whose every instruction is known."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import counted_guest
import pytest
from lab_building import do_without

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels.profile import Contexts, Profile, read_counts, read_profiles
from perfcheck.kernels.symbols import SymbolTable


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SymbolTable]:
    for program in (counted_guest.QEMU, "gcc", "ld", "objcopy", "nm"):
        if shutil.which(program) is None:
            do_without(Unavailable(program, "there is no such command in PATH", "apt-get install qemu-system-x86 gcc"))
    return counted_guest.build(tmp_path_factory.mktemp("guest"))


def functions_of(profile: Profile) -> dict[str, tuple[int, int]]:
    return {function.name: (function.instructions, function.calls) for function in profile.functions}


def test_each_instruction_of_a_phase_is_counted_once(tmp_path: Path, guest: tuple[Path, SymbolTable]) -> None:
    image, symbols = guest
    counts = counted_guest.boot(tmp_path, image, {})
    program, calls, contexts, string = read_profiles(counts, symbols)
    # The three behind the sums are the jump to the end mark, the mark, and the jump in its block.
    assert (program.user, program.kernel) == (1 + 1000 * 2 + 3, 0)
    assert (calls.user, calls.kernel) == (1 + 10 * 4 + 3, 10 * 12)
    assert functions_of(calls) == {"kernel_loop": (120, 10)}
    assert functions_of(contexts) == {
        "kernel_loop": (4 * 12, 4), "softirqs": (4, 1), "interrupt": (2 * 2, 2), "softirqs_by_jump": (2, 1),
    }  # fmt: skip
    assert functions_of(string) == {"clear": (7 + 100, 1)}
    assert string.repeats == 100
    assert {profile.contexts for profile in (program, calls, contexts, string)} == {None}


def test_softirqs_and_interrupts_are_told_from_tasks(tmp_path: Path, guest: tuple[Path, SymbolTable]) -> None:
    image, symbols = guest
    named = {symbol.name: symbol for symbol in symbols}
    counts = counted_guest.boot(
        tmp_path, image, {"softirq": [named["softirqs"], named["softirqs_by_jump"]], "irq": [named["interrupt"]]}
    )
    phases = read_counts(counts)
    # An interrupt within a softirq is not the softirq's; what is jumped to at the end returns for the jump's function.
    assert phases[2].contexts == Contexts(task=3 * 2 + 3 + 12, softirq=4 + 12 + 2, irq=2 * (2 + 12))
    assert phases[0].contexts == Contexts(task=2004, softirq=0, irq=0)


def test_a_function_that_returns_unseen_leaves_contexts_unknown(
    tmp_path: Path, guest: tuple[Path, SymbolTable]
) -> None:
    image, symbols = guest
    interrupt = next(symbol for symbol in symbols if symbol.name == "interrupt")
    phases = read_counts(counted_guest.boot(tmp_path, image, {"irq": [replace(interrupt, end=interrupt.start + 1)]}))
    assert phases[1].contexts == Contexts(task=44 + 120, softirq=0, irq=0)
    assert [phase.contexts for phase in phases[2:]] == [None, None]
    assert phases[2].kernel == 58


def test_a_guest_that_is_killed_has_no_counts(tmp_path: Path, guest: tuple[Path, SymbolTable]) -> None:
    image, _ = guest
    counts = counted_guest.boot(tmp_path, image, {})
    counts.write_text(counts.read_text().removesuffix("end\n"))
    with pytest.raises(LabError, match="did not come to its end"):
        read_counts(counts)

"""The kernel's own table of symbols is read out of vmlinux, in the order of each release."""

from __future__ import annotations

import kallsyms_tables
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kallsyms_tables import BASE, LAYOUTS, Layout, Listed

from perfcheck.errors import LabError
from perfcheck.kernels.kallsyms import kallsyms_of

PER_CPU: tuple[Listed, ...] = ((0, "A", "fixed_percpu_data"), (0x1A000, "D", "cpu_info"))


def functions(count: int) -> list[Listed]:
    """Return so many functions behind each other; some names are long, and some addresses have two."""
    return [
        (
            BASE + 16 * (number - number % 7 % 2),
            "tTwD"[number % 4],
            f"function_{number:x}{'_x' * (90 * (number % 50 == 9))}",
        )
        for number in range(count)
    ]


def listed(symbols: list[Listed]) -> str:
    return "".join(f"{address:016x} {kind} {name}\n" for address, kind, name in symbols)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_all_symbols_are_read(layout: Layout) -> None:
    symbols = [*(PER_CPU if layout.absolute else ()), *functions(1500)]
    assert kallsyms_of(kallsyms_tables.vmlinux(symbols, layout)) == listed(symbols)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 20), st.binary(max_size=64), st.sampled_from(list(LAYOUTS.values())))
def test_what_lies_in_front_does_not_matter(count: int, noise: bytes, layout: Layout) -> None:
    symbols = functions(1000)
    # A number that could be that of the symbols, and an empty table of digits.
    in_front = count.to_bytes(8, "little") + noise + b"\0" + b"".join(b"%d\0" % digit for digit in range(10))
    assert kallsyms_of(kallsyms_tables.vmlinux(symbols, layout, in_front=in_front)) == listed(symbols)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_table_that_does_not_agree_is_not_believed(layout: Layout) -> None:
    symbols = functions(1000)
    whole = kallsyms_tables.vmlinux(symbols, layout)
    unordered = kallsyms_tables.vmlinux([*symbols[500:], *symbols[:500]], layout)
    for damaged in (
        whole[: len(whole) // 2],
        unordered,
        whole.replace(b"3\x004\x005\0", b"3\x005\x004\0"),
        b"",
        b"\0" * 4096,
    ):
        with pytest.raises(LabError, match="CONFIG_KALLSYMS"):
            kallsyms_of(damaged)

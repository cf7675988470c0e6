"""Addresses become functions: as the kernel lists them, under the name that they have in the source."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.errors import LabError
from perfcheck.kernels.symbols import function_name, interrupt_functions, parse_kallsyms

KALLSYMS = """\
0000000000000000 A fixed_percpu_data
000000000001a000 A cpu_info
ffffffff81000000 T _stext
ffffffff81000000 T startup_64
ffffffff81000100 t tcp_ack.part.0
ffffffff81000200 t __pfx_tcp_ack
ffffffff81000210 t tcp_ack
ffffffff81000300 t handle_softirqs
ffffffff81000380 T __do_softirq
ffffffff81000390 t __common_interrupt
ffffffff810003a0 t __sysvec_apic_timer_interrupt
ffffffff810003b0 t __sysvec_thermal.cold
ffffffff810003c0 W weak
ffffffff82000000 D data
ffffffffc0000000 t nft_do_chain\t[nf_tables]
ffffffffc0000100 d nft_chains\t[nf_tables]
ffffffffc0000200 t handle_softirqs\t[fake]
ffffffffc0400000 t bpf_prog_6deef7357e7b4530_loop\t[bpf]
"""


def name_at(address: int) -> str | None:
    symbol = parse_kallsyms(KALLSYMS).find(address)
    return symbol.name if symbol else None


def test_an_address_belongs_to_the_symbol_in_front_of_it() -> None:
    assert name_at(0xFFFFFFFF81000210) == "tcp_ack"
    assert name_at(0xFFFFFFFF810002FF) == "tcp_ack"
    assert name_at(0xFFFFFFFF810001FF) == "tcp_ack.part.0"


def test_the_first_name_of_an_address_counts() -> None:
    assert name_at(0xFFFFFFFF81000000) == "_stext"


def test_data_and_gaps_are_no_functions() -> None:
    assert name_at(0x1A000) is None
    assert name_at(0xFFFFFFFF82000000) is None
    assert name_at(0xFFFFFFFFC0000100) is None
    assert name_at(0xFFFFFFFF810003C0 + (1 << 18)) is None
    assert name_at(0xFFFFFFFF80000000) is None


def test_modules_are_told() -> None:
    table = parse_kallsyms(KALLSYMS)
    found = {symbol.name: symbol.module for symbol in table}
    assert found["nft_do_chain"] == "nf_tables"
    assert found["weak"] is None
    assert found["bpf_prog_6deef7357e7b4530_loop"] == "bpf"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1 << 62), min_size=1, unique=True), st.integers(0, 1 << 62))
def test_at_most_one_function_has_an_address(starts: list[int], address: int) -> None:
    table = parse_kallsyms("".join(f"{start:x} t f{start}\n" for start in starts))
    holders = [symbol for symbol in table if symbol.start <= address < symbol.end]
    assert holders == [symbol for symbol in [table.find(address)] if symbol is not None]
    assert all(table.find(symbol.start) == symbol for symbol in table)


def test_hidden_addresses_are_an_error() -> None:
    with pytest.raises(LabError, match="kptr_restrict"):
        parse_kallsyms("0000000000000000 t tcp_ack\n0000000000000000 t tcp_rcv\n")
    with pytest.raises(LabError, match="kptr_restrict"):
        parse_kallsyms("")


@pytest.mark.parametrize("line", ["ffffffff81000000 t", "wxyz t name", "cat: /proc/kallsyms: no such file"])
def test_what_is_no_list_is_an_error(line: str) -> None:
    with pytest.raises(LabError, match="kallsyms:2"):
        parse_kallsyms(f"ffffffff81000000 t name\n{line}\n")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("tcp_ack", "tcp_ack"),
        ("tcp_ack.isra.0", "tcp_ack"),
        ("tcp_ack.constprop.0.isra.1.cold", "tcp_ack"),
        ("__pfx_tcp_ack", "tcp_ack"),
        ("kmem_cache_alloc_node_noprof", "kmem_cache_alloc_node"),
        (".slowpath", ".slowpath"),
        ("_noprof", "_noprof"),
    ],
)
def test_a_function_has_the_name_of_its_source(symbol: str, name: str) -> None:
    assert function_name(symbol) == name


def test_functions_that_run_interrupts_are_the_kernels_own() -> None:
    found = interrupt_functions(parse_kallsyms(KALLSYMS))
    assert [(each.context, each.symbol.name) for each in found] == [
        ("softirq", "handle_softirqs"), ("irq", "__common_interrupt"), ("irq", "__sysvec_apic_timer_interrupt"),
    ]  # fmt: skip
    assert found[0].symbol.start == 0xFFFFFFFF81000300
    older = KALLSYMS.replace("ffffffff81000300 t handle_softirqs\n", "")
    assert interrupt_functions(parse_kallsyms(older))[0].symbol.name == "__do_softirq"
    assert interrupt_functions(parse_kallsyms("ffffffff81000000 t name\n")) == ()

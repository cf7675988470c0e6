"""Strategies and small builders of counts and profiles of guests."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from perfcheck.kernels.profile import Block, FunctionCost, PhaseCounts, Profile
from perfcheck.kernels.symbols import Symbol, SymbolTable

NAMES = ("tcp_ack", "tcp_ack.part.0", "tcp_ack.cold", "tcp_rcv", "nft_do_chain", "memset", "kfree")
START = 0xFFFFFFFF81000000
TABLE = SymbolTable(
    Symbol(
        name=name, start=START + 256 * number, end=START + 256 * number + 200,
        module="nf_tables" if name == "nft_do_chain" else None,
    )
    for number, name in enumerate(NAMES)
)  # fmt: skip


def blocks() -> st.SearchStrategy[tuple[Block, ...]]:
    """Return blocks of all functions, and some between them."""
    block = st.builds(
        Block,
        address=st.integers(START, START + 256 * len(NAMES)),
        size=st.integers(1, 50),
        times=st.integers(1, 10**12),
        repeats=st.booleans(),
    )
    return st.lists(block, max_size=30).map(tuple)


def counts() -> st.SearchStrategy[PhaseCounts]:
    """Return what was counted in a phase."""
    return st.builds(
        lambda user, repeats, each: PhaseCounts(
            user=user + repeats, user_repeats=repeats, kernel=sum(block.instructions for block in each),
            contexts=None, blocks=each,
        ),
        st.integers(0, 10**12), st.integers(0, 10**12), blocks(),
    )  # fmt: skip


def profile_with(user: int = 0, **functions: int | tuple[int, int]) -> Profile:
    """Return a profile of functions with these instructions, or instructions and calls."""
    return profile_of_costs(functions, user)


def profile_of_costs(functions: Mapping[str, int | tuple[int, int]], user: int = 0) -> Profile:
    """Return a profile of functions with these instructions, or instructions and calls, by name."""
    costs: Mapping[str, tuple[int, int]] = {
        name: cost if isinstance(cost, tuple) else (cost, 1) for name, cost in functions.items()
    }
    return Profile(
        user=user,
        user_repeats=0,
        contexts=None,
        functions=tuple(
            FunctionCost(name=name, modules=(), instructions=instructions, repeats=0, calls=calls)
            for name, (instructions, calls) in costs.items()
        ),
    )

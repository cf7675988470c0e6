"""The lines that say where a path got longer."""

from __future__ import annotations

from perfcheck.model.path_profile import CountRecord, FunctionRecord, PathProfile
from perfcheck.output.profile import MOST_FUNCTIONS, profile_lines
from perfcheck.testing import make_record


def count(a: float | None, b: float, noise: float = 0.0) -> CountRecord:
    return CountRecord(a=a, b=b, noise=noise)


def function(name: str, a: float | None, b: float, noise: float = 0.0, module: str = "") -> FunctionRecord:
    return FunctionRecord(name=name, modules=(module,) if module else (), instructions=count(a, b, noise))


def lines(**profiles: PathProfile) -> tuple[str, ...]:
    return profile_lines(make_record({}).model_copy(update={"profiles": profiles}))


def test_functions_that_moved_beyond_the_noise_are_told_with_the_whole() -> None:
    contexts = {"softirqs": count(9_000, 9_400), "user space": count(50, 50)}
    found = lines(rpc=PathProfile(
        unit="request", total=count(30_000, 30_400), contexts=contexts,
        functions=(function("nft_do_chain", 0, 380, module="nf_tables"), function("ip_rcv", 100, 120),
                   function("kfree", 90, 85, noise=9), function("gone", 12, 0)),
    ))  # fmt: skip
    assert found == (
        "+400 instructions a request: softirqs +400",
        "nft_do_chain [nf_tables]  +380.0  (not run by A)",
        "ip_rcv                    +20.0  (100.0 -> 120.0)",
        "gone                      -12.0  (not run by B)",
    )


def test_a_byte_has_less_than_one_instruction() -> None:
    found = lines(bulk=PathProfile(
        unit="byte", total=count(0.625, 0.656), functions=(function("free_unref_page", 0.01, 0.02),)
    ))  # fmt: skip
    assert found == ("+31 instructions for 1,000 bytes", "free_unref_page  +10.0  (10.0 -> 20.0)")


def test_of_one_kernel_the_parts_are_told_and_entries_by_their_names() -> None:
    one = PathProfile(unit="request", total=count(None, 100), contexts={"user space": count(None, 5)})
    assert lines(a=one, b=one)[0] == "a: 100 instructions a request: user space 5"


def test_the_list_is_bounded() -> None:
    many = tuple(function(f"f{number}", 0, 100) for number in range(MOST_FUNCTIONS + 3))
    found = lines(rpc=PathProfile(unit="request", total=count(1000, 2000), functions=many))
    assert len(found) == 1 + MOST_FUNCTIONS + 1
    assert found[-1] == "... and 3 functions that moved less"

"""What the plugin has counted becomes a profile by function whose parts add up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from kernel_profiles import START, TABLE, counts

from perfcheck.errors import LabError
from perfcheck.kernels.profile import (
    UNKNOWN,
    Block,
    Contexts,
    PhaseCounts,
    profile_of,
    read_counts,
    read_profiles,
    without_repeats,
    without_start,
)  # fmt: skip

COUNTS = f"""\
perfcheck-count 1
phase 0 user 7 user_repeats 2 kernel 130 task 100 softirq 30 irq 7
{START:x} 5 20
{START + 5:x} 1 20 repeats
{START + 0x410:x} 10 1
phase 1 user 1 user_repeats 0 kernel 0 task 1 softirq 0 irq 0
range softirq ffffffff81000000 ffffffff81000100 entries 1 returns 1
end
"""


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    path = tmp_path / "counts"
    path.write_text(COUNTS)
    return path


def test_the_file_of_counts_is_read(counted: Path) -> None:
    first, second = read_counts(counted)
    assert first == PhaseCounts(
        user=7, user_repeats=2, kernel=130, contexts=Contexts(task=100, softirq=30, irq=7),
        blocks=(
            Block(address=START, size=5, times=20, repeats=False),
            Block(address=START + 5, size=1, times=20, repeats=True),
            Block(address=START + 0x410, size=10, times=1, repeats=False),
        ),
    )  # fmt: skip
    assert (second.user, second.kernel, second.blocks) == (1, 0, ())


def test_a_profile_has_instructions_repeats_and_calls(counted: Path) -> None:
    profile = read_profiles(counted, TABLE)[0]
    assert [(each.name, each.instructions, each.repeats, each.calls) for each in profile.functions] == [
        ("nft_do_chain", 10, 0, 0), ("tcp_ack", 120, 20, 20),
    ]  # fmt: skip
    assert profile.functions[0].modules == ("nf_tables",)
    assert (profile.total, profile.kernel, profile.repeats) == (137, 130, 22)


def test_contexts_that_were_lost_are_left_out(counted: Path) -> None:
    text = COUNTS.replace(" task 1 softirq 0 irq 0", "").replace("end\n", "contexts it returned unseen\nend\n")
    counted.write_text(text)
    first, second = read_counts(counted)
    assert first.contexts is not None
    assert second.contexts is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (COUNTS, "", "expected `perfcheck-count 1`"),
        ("count 1", "count 2", "expected `perfcheck-count 1`"),
        ("end\n", "", "did not come to its end"),
        ("end\n", "defect the guest ended within a phase\nend\n", "could not be counted: the guest ended within"),
        ("kernel 130", "kernel 131", "do not add up to the kernel's instructions"),
        ("irq 7", "irq 8", "do not add up to all instructions"),
        ("phase 1", "phase 2", "it is called phase 2"),
        (" 5 20", " 5", "phase 0 cannot be read"),
        (" 5 20", " 5 20 twice", "a block is called 'twice'"),
        ("user 7", "user seven", "phase 0 cannot be read"),
        ("user 7", "user", "phase 0 cannot be read"),
    ],
)
def test_counts_that_are_not_whole_are_an_error(counted: Path, old: str, new: str, said: str) -> None:
    assert old in COUNTS
    counted.write_text(COUNTS.replace(old, new))
    with pytest.raises(LabError, match=said):
        read_counts(counted)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no instructions were counted"):
        read_counts(tmp_path / "counts")


@settings(max_examples=80, deadline=None)
@given(counts())
def test_the_parts_add_up_to_the_whole(phase: PhaseCounts) -> None:
    profile = profile_of(phase, TABLE)
    assert profile.kernel == phase.kernel
    assert profile.total == phase.user + phase.kernel
    assert profile.repeats == phase.user_repeats + sum(block.instructions for block in phase.blocks if block.repeats)
    assert without_repeats(profile).total == profile.total - profile.repeats
    assert len({each.name for each in profile.functions}) == len(profile.functions)


@settings(max_examples=80, deadline=None)
@given(counts())
def test_what_has_no_symbol_is_kept(phase: PhaseCounts) -> None:
    profile = profile_of(phase, TABLE)
    outside = sum(block.instructions for block in phase.blocks if TABLE.find(block.address) is None)
    assert sum(each.instructions for each in profile.functions if each.name == UNKNOWN) == outside


@settings(max_examples=80, deadline=None)
@given(counts(), counts())
def test_a_start_that_is_left_out_and_what_is_left_add_up(longer: PhaseCounts, shorter: PhaseCounts) -> None:
    long, short = profile_of(longer, TABLE), profile_of(shorter, TABLE)
    rest = without_start(long, short)
    assert rest.total + short.total == long.total
    assert rest.repeats + short.repeats == long.repeats
    of_short = {each.name: each for each in short.functions}
    of_rest = {each.name: each for each in rest.functions}
    for each in long.functions:
        other = of_short.get(each.name)
        assert of_rest[each.name].instructions + (other.instructions if other else 0) == each.instructions
        assert of_rest[each.name].calls + (other.calls if other else 0) == each.calls


@settings(max_examples=80, deadline=None)
@given(counts())
def test_without_itself_nothing_is_left(phase: PhaseCounts) -> None:
    profile = replace(profile_of(phase, TABLE), contexts=Contexts(task=3, softirq=2, irq=1))
    rest = without_start(profile, profile)
    assert (rest.total, rest.repeats, rest.contexts) == (0, 0, Contexts(task=0, softirq=0, irq=0))
    assert all(each.instructions == each.calls == 0 for each in rest.functions)

"""The search: whatever the fault's place and whatever is skipped, the answer is right, or a range that has it."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.model.bisection import Finding
from perfcheck.runner.bisecting.commits import CommitOrder
from perfcheck.runner.bisecting.search import ListOrder, Order, Search


@dataclass
class Judge:
    """Answers for a candidate, and counts."""

    is_bad: Callable[[str], bool]
    skipped: Collection[str] = ()
    judged: list[str] = field(default_factory=list)

    def __call__(self, candidate: str) -> Finding:
        self.judged.append(candidate)
        if candidate in self.skipped:
            return Finding.SKIPPED
        return Finding.BAD if self.is_bad(candidate) else Finding.GOOD


def searched(order: Order, good: str, bad: str, judge: Judge) -> tuple[str, ...]:
    search = Search(order, good, bad)
    while (candidate := search.next()) is not None:
        search.note(candidate, judge(candidate))
    return search.suspects()


def in_list(count: int, fault: int, skipped: Collection[int] = ()) -> tuple[tuple[int, ...], Judge]:
    """Search a list of this many kernels, of which the one at `fault` and all after it are bad."""
    names = tuple(map(str, range(count)))
    judge = Judge(lambda name: int(name) >= fault, {str(each) for each in skipped})
    found = searched(ListOrder(names), names[0], names[-1], judge)
    return tuple(map(int, found)), judge


@given(st.data(), st.integers(2, 400))
def test_without_skips_the_fault_is_found_in_as_many_verdicts_as_git_takes(data: st.DataObject, count: int) -> None:
    fault = data.draw(st.integers(1, count - 1))
    found, judge = in_list(count, fault)
    assert found == (fault,)
    assert len(judge.judged) <= math.ceil(math.log2(count - 1))


def test_six_kernels_take_three_verdicts_wherever_the_fault_is() -> None:
    assert max(len(in_list(6, fault)[1].judged) for fault in range(1, 6)) == 3


@given(st.data(), st.integers(2, 60))
def test_with_any_skips_the_answer_is_right_or_a_range_that_has_it(data: st.DataObject, count: int) -> None:
    fault = data.draw(st.integers(1, count - 1))
    skipped = data.draw(st.sets(st.integers(1, count - 2))) if count > 2 else set()
    found, judge = in_list(count, fault, skipped)
    assert len(judge.judged) == len(set(judge.judged))
    # The range is as small as it can be: up to the fault or the first after it that is not skipped.
    first = max(each for each in range(fault) if each not in skipped)
    last = min(each for each in range(fault, count) if each not in skipped)
    assert found == tuple(range(first + 1, last + 1))


@given(st.integers(1, 999), st.integers(1, 700), st.integers(10, 280))
def test_a_long_run_of_kernels_that_do_not_boot_is_left_behind_quickly(fault: int, begin: int, length: int) -> None:
    broken = range(begin, begin + length)
    found, judge = in_list(1000, fault, broken)
    assert fault in found
    if fault not in range(begin, begin + length + 1):
        assert found == (fault,)
        # Not one by one: a bisection needs ten verdicts here, and some to find where the run begins and ends.
        assert len(judge.judged) <= 30


def test_how_many_verdicts_are_left_is_said_before_each() -> None:
    search = Search(ListOrder(tuple("abcdef")), "a", "f")
    assert search.most_left() == 3
    assert search.next() == "c"
    search.note("c", Finding.GOOD)
    assert search.most_left() == 2
    assert search.next() == "d"
    search.note("d", Finding.SKIPPED)
    assert search.most_left() == 1
    assert search.next() == "e"
    search.note("e", Finding.BAD)
    assert search.next() is None
    assert search.suspects() == ("d", "e")


def repository(folder: Path, parents: Sequence[Sequence[int]]) -> list[str]:
    """Make a repository with these commits, each with the numbers of its parents, and return their hashes."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    lines = []
    for number, before in enumerate(parents):
        lines += [f"commit refs/heads/c{number}", f"mark :{number + 1}", f"committer a <a@b> {1000 + number} +0000"]
        lines += [f"data {len(str(number))}", str(number)]
        lines += [f"{'merge' if index else 'from'} :{parent + 1}" for index, parent in enumerate(before)]
        lines += [""]
    stream = "\n".join(lines).encode()
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=stream, check=True)
    refs = [f"refs/heads/c{number}" for number in range(len(parents))]
    said = subprocess.run(["git", "-C", str(folder), "rev-parse", *refs], check=True, capture_output=True, text=True)
    return said.stdout.split()


@st.composite
def histories(draw: st.DrawFn) -> list[list[int]]:
    """Draw a history with merges: commit 0 is in all others, and all are in the last one."""
    count = draw(st.integers(2, 14))
    parents: list[list[int]] = [[]]
    for number in range(1, count):
        size = draw(st.integers(1, min(2, number)))
        parents.append(sorted(draw(st.sets(st.integers(0, number - 1), min_size=size, max_size=size))))
    ends = set(range(count)) - {parent for before in parents for parent in before}
    return [*parents, sorted(ends)] if len(ends) > 1 else parents


def ancestors(parents: Sequence[Sequence[int]], number: int) -> set[int]:
    """Return a commit and all that are in it."""
    return {number}.union(*(ancestors(parents, parent) for parent in parents[number]))


@settings(max_examples=25, deadline=None)
@given(st.data(), histories())
def test_a_history_with_merges_is_searched_as_git_does(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, parents: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    hashes = repository(folder, parents)
    number = {name: index for index, name in enumerate(hashes)}
    last = len(parents) - 1
    fault = data.draw(st.integers(1, last))
    skipped = data.draw(st.sets(st.sampled_from(range(1, last)))) if last > 1 else set()
    judge = Judge(lambda name: fault in ancestors(parents, number[name]), {hashes[each] for each in skipped})
    found = [number[name] for name in searched(CommitOrder(folder), hashes[0], hashes[last], judge)]
    assert fault in found
    assert len(judge.judged) == len(set(judge.judged))
    assert len(found) == 1 if not skipped else set(found[:-1]) <= skipped

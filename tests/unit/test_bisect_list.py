"""The list of kernels of a bisect: names, words of a command line, files, and where good and bad are in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcheck.errors import UsageError
from perfcheck.runner.bisecting.kernel_list import KernelEntry, KernelList
from perfcheck.runner.sides import Side


def texts(listed: KernelList) -> list[str]:
    return [entry.text for entry in listed.entries]


def test_the_list_is_cut_to_what_lies_between_good_and_bad() -> None:
    listed = KernelList.parse("a, b,c ,d,e", "b", "d")
    assert texts(listed) == ["b", "c", "d"]
    assert (listed.good, listed.bad) == ("b", "d")
    assert listed.order().listed([listed.good], listed.bad) == ("c", "d")


def test_words_of_a_command_line_follow_a_name() -> None:
    entry = KernelEntry.parse("6.12-cloud:init_on_free=1  slub_debug=F ")
    assert (entry.text, entry.name, entry.words) == (
        "6.12-cloud:init_on_free=1 slub_debug=F", "6.12-cloud", "init_on_free=1 slub_debug=F",
    )  # fmt: skip
    side = Side.parse("kernel=6.12-cloud init_on_free=1 slub_debug=F,kmalloc-64")
    assert (side.kind, side.value) == ("kernel", "6.12-cloud")
    assert side.command_line == ("init_on_free=1", "slub_debug=F,kmalloc-64")


def test_a_file_has_a_kernel_in_each_line(tmp_path: Path) -> None:
    path = tmp_path / "kernels"
    path.write_text("# point releases\n6.12.100\n\n  6.12.101:slub_debug=F,kmalloc-64   # with a fault\n6.12.107\n")
    listed = KernelList.parse(str(path), "6.12.100", "6.12.107")
    assert texts(listed) == ["6.12.100", "6.12.101:slub_debug=F,kmalloc-64", "6.12.107"]


@pytest.mark.parametrize(
    ("text", "good", "bad", "said"),
    [
        ("a,b,c", "a", "x", "--bad x: not in --kernels; known: a, b, c"),
        ("a,b,c", "", "c", "--good '': not in --kernels; known: a, b, c"),
        ("", "a", "b", "--kernels: '' names no kernel; expected A,B,C"),
        (" , ,", "a", "b", "--kernels: ' , ,' names no kernel"),
        ("a,b,c", "c", "a", "--good c must come before --bad a"),
        ("a,b,c", "b", "b", "--good b must come before --bad b"),
        ("a,b,a", "a", "b", "'a' is listed twice"),
        ("a,:x,b", "a", "b", "expected a kernel such as"),
        ("a:1,a:2,b", "a", "b", "several of --kernels have this name: a:1, a:2"),
        ("none", "a", "b", "expected A,B,C or a file with a kernel in each line; none: cannot be read: No such file"),
        (",".join(map(str, range(1001))), "0", "5", "expected at most 1000 kernels, got 1,001"),
    ],
)
def test_what_is_wrong_is_told(text: str, good: str, bad: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        KernelList.parse(text, good, bad)


def test_one_of_several_command_lines_is_named_by_its_whole_text() -> None:
    listed = KernelList.parse("a:x,a:y,a:z", "a:x", "a:z")
    assert texts(listed) == ["a:x", "a:y", "a:z"]


def test_a_hostile_list_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "kernels"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        KernelList.parse(str(path), "a", "b")
    with pytest.raises(UsageError, match="not a regular file"):
        KernelList.parse("/dev/zero", "a", "b")
    with pytest.raises(UsageError, match="printable ASCII"):
        Side.parse("kernel=a \x1b[31m")

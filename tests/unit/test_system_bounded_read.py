"""Bounded reads: regular files up to a limit; devices, pipes, endless files of /proc and odd names are refused."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from perfcheck.errors import UnreadableFile
from perfcheck.system.bounded_read import read_bounded, read_bounded_text

LIMIT = 1000


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_regular_file_up_to_the_limit_is_read(tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * size)
    link = tmp_path / "link"
    link.symlink_to(file)
    assert read_bounded(file, LIMIT) == read_bounded(str(link), LIMIT) == b"x" * size


def test_one_byte_more_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(UnreadableFile, match=f"cannot be read: larger than {LIMIT} bytes"):
        read_bounded(file, LIMIT)


def test_a_file_that_says_it_is_empty_and_is_not_keeps_the_limit() -> None:
    assert Path("/proc/self/maps").stat().st_size == 0
    with pytest.raises(UnreadableFile, match="larger than 100 bytes"):
        read_bounded("/proc/self/maps", 100)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty", "/dev/random"])
def test_devices_and_links_to_them_are_refused(tmp_path: Path, device: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(device)
    for path in (device, link):
        with pytest.raises(UnreadableFile, match="not a regular file"):
            read_bounded(path, LIMIT)


def test_nothing_is_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    begin = time.monotonic()
    with pytest.raises(UnreadableFile, match="not a regular file"):
        read_bounded(pipe, LIMIT)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(UnreadableFile, match="not a regular file"):
            read_bounded(tmp_path / "socket", LIMIT)
    assert time.monotonic() - begin < 5


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK) or os.getuid() != 0, reason="the kernel's log needs root")
def test_a_regular_file_that_waits_for_news_is_not_waited_for() -> None:
    begin = time.monotonic()
    with pytest.raises(UnreadableFile):
        read_bounded("/proc/kmsg", 10)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\0b", "not a valid file name"),
        ("\ud800", "not a valid file name"),
        ("n" * 300, "File name too long"),
        ("missing", "No such file or directory"),
        (".", "it is a folder"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_the_reason_is_said_on_one_printable_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnreadableFile) as refused:
        read_bounded(os.path.join(tmp_path, name), LIMIT)  # noqa: PTH118 - a Path would drop the dot
    assert refused.value.reason == reason
    assert str(refused.value).isprintable()
    assert refused.value.exit_status == 2


def test_what_is_not_text_is_not_echoed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"secret\xff\n")
    with pytest.raises(UnreadableFile, match=r"not UTF-8 text \(byte 7\)") as refused:
        read_bounded_text(file, LIMIT)
    assert "secret" not in str(refused.value)

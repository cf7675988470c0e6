"""A file is replaced whole, and a writer that is killed in the middle leaves nothing beside it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import pytest

from perfcheck.system.files import UNFINISHED, replace_file, replacing, require_report_writable, write_report

DIES = """
import os, signal, sys
from pathlib import Path
from perfcheck.system.files import replacing
with replacing(Path(sys.argv[1])) as descriptor:
    os.write(descriptor, b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def opening(*, nameless: bool) -> AbstractContextManager[object]:
    """Open as ever, or as on a file system without files that have no name."""
    real = os.open

    def opened(where: Path, flags: int, mode: int = 0o777) -> int:
        if not nameless and flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(where, flags, mode)

    return patch("perfcheck.system.files.os.open", opened)


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_writer_that_is_killed_leaves_what_was_there_and_nothing_else(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    died = subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == ({} if old is None else {"file": old})


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it(
    tmp_path: Path, old: bytes | None, durable: bool, nameless: bool
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    opened = opening(nameless=nameless)
    with opened, patch("perfcheck.system.files.os.fsync") as synced:
        replace_file(path, b"new", mode=0o640, durable=durable)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]
    assert synced.called is durable


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize(("old", "mode"), [(None, 0o600), (0o600, 0o600), (0o664, 0o664)])
def test_a_report_is_readable_to_whom_the_user_lets_read(
    tmp_path: Path, old: int | None, mode: int, nameless: bool
) -> None:
    """A private file stays private when a report takes its place, and a umask holds for what is new."""
    path = tmp_path / "report.html"
    if old is not None:
        path.touch()
        path.chmod(old)
    before = os.umask(0o077)
    try:
        with opening(nameless=nameless):
            write_report(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="Bad file descriptor"), replacing(path) as descriptor:
        os.write(descriptor + 1000, b"new")
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))


def test_a_report_at_a_device_a_pipe_or_a_link_leaves_it_what_it_is(tmp_path: Path) -> None:
    full, link, real, pipe = (tmp_path / name for name in ("full", "link", "real", "pipe"))
    full.symlink_to("/dev/full")
    require_report_writable(full)
    with pytest.raises(OSError, match="No space left"):
        write_report(full, b"report")
    assert full.is_symlink()
    assert full.is_char_device()
    real.write_bytes(b"old")
    link.symlink_to(real.name)
    write_report(link, b"report")
    assert link.is_symlink()
    assert real.read_bytes() == b"report"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_report(pipe, b"report")
    assert os.read(reader, 100) == b"report"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_report_at_standard_output_is_written_to_what_it_leads_to(tmp_path: Path) -> None:
    text = "import pathlib, perfcheck.system.files as f; f.write_report(pathlib.Path('/dev/stdout'), b'report')"
    with (tmp_path / "out").open("wb", buffering=0) as out:
        out.write(b"said, then the ")
        subprocess.run([sys.executable, "-c", text], stdout=out, check=True)
        assert os.fstat(out.fileno()).st_ino == (tmp_path / "out").stat().st_ino
    assert (tmp_path / "out").read_bytes() == b"said, then the report"
    assert Path("/dev/stdout").is_symlink()

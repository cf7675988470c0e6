"""A file is replaced whole, and a writer that is killed in the middle leaves nothing beside it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from perfcheck.system.files import UNFINISHED, replace_file, replacing

DIES = """
import os, signal, sys
from pathlib import Path
from perfcheck.system.files import replacing
with replacing(Path(sys.argv[1])) as descriptor:
    os.write(descriptor, b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_writer_that_is_killed_leaves_what_was_there_and_nothing_else(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    died = subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == ({} if old is None else {"file": old})


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it(
    tmp_path: Path, old: bytes | None, nameless: bool
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    real = os.open

    def refuse(where: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(where, flags, mode)

    with patch("perfcheck.system.files.os.open", real if nameless else refuse):
        replace_file(path, b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="Bad file descriptor"), replacing(path) as descriptor:
        os.write(descriptor + 1000, b"new")
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))

"""A lab's control group where the kernel refuses a part of it: none stays in which an undo would look for processes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from perfcheck.system import cgroup
from perfcheck.testing.fakes import FakeUndoLog


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cgroup.subtree_control").write_text("", encoding="ascii")
    monkeypatch.setattr(cgroup, "own_group", lambda: tmp_path)
    return tmp_path


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def write(file: Path, value: str) -> None:
        del value
        if file.name == name:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(cgroup, "_write", write)


def test_a_group_that_cannot_be_threaded_is_removed_at_once(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "cgroup.type")
    assert cgroup.make(FakeUndoLog()) is None
    assert not [each for each in parent.iterdir() if each.is_dir()]


def test_a_group_that_no_thread_may_enter_is_removed_at_once(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "cgroup.threads")
    group = cgroup.make(FakeUndoLog())
    assert group is not None
    assert group.is_dir()
    assert cgroup.enter(group) is None
    assert not group.exists()


def test_a_group_that_is_entered_stays(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "nothing")
    group = cgroup.make(FakeUndoLog())
    assert group is not None
    assert cgroup.enter(group) == group
    assert group.parent == parent
    assert group.is_dir()

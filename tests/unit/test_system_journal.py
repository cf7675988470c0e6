"""A journal undoes what is the lab's, refuses what reaches beyond it, and reads any bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import TAG, machine

from perfcheck.errors import LabError
from perfcheck.system import netns, processes, sysctl
from perfcheck.system.cleaning import clean
from perfcheck.system.journal import SUFFIX, Journal, parse
from perfcheck.system.netns import Mark
from perfcheck.system.owner import Owner
from perfcheck.system.processes import ProcessId, View, boot_id, identify
from perfcheck.system.undo import Entry, Undone, undo_all


@given(st.binary(max_size=300))
def test_parse_takes_any_bytes(text: bytes) -> None:
    contents = parse(text, TAG)
    assert all(TAG in entry.name or entry.kind in {"process", "sysctl"} for entry in contents.entries)


def test_parse_reads_back_what_a_journal_writes(tmp_path: Path) -> None:
    journal = Journal.create(TAG, tmp_path)
    journal.note("netns", f"pc-{TAG}-a")
    journal.note("process", "iperf3", pid="12", start="34")
    contents = parse(journal.path.read_bytes(), TAG)
    me = identify(os.getpid())
    assert contents.owner is not None
    assert contents.owner.process == me
    assert contents.owner.boot == boot_id()
    assert contents.entries == (
        Entry(kind="netns", name=f"pc-{TAG}-a"),
        Entry(kind="process", name="iperf3", detail={"pid": "12", "start": "34"}),
    )
    with machine():
        journal.close()


def test_leaving_the_block_undoes_latest_first_and_removes_the_file(tmp_path: Path) -> None:
    order: list[str] = []

    def remove(name: str, mark: Mark | None) -> bool:
        del mark
        order.append(name)
        return True

    with patch.object(netns, "remove", remove), Journal.create(TAG, tmp_path) as journal:
        for host in "abc":
            journal.note("netns", f"pc-{TAG}-{host}")
    assert order == [f"pc-{TAG}-{host}" for host in "cba"]
    assert list(tmp_path.iterdir()) == []


def test_undo_twice_undoes_once(tmp_path: Path) -> None:
    with machine(), Journal.create(TAG, tmp_path) as journal:
        journal.note("netns", f"pc-{TAG}-client")
        assert [undone.outcome for undone in journal.undo()] == ["undone"]
        assert journal.undo() == ()


def test_what_cannot_be_undone_stays_noted_and_is_told(tmp_path: Path) -> None:
    with machine() as kernel:
        kernel.refuse.add(f"pc-{TAG}-client")
        journal = Journal.create(TAG, tmp_path)
        journal.note("netns", f"pc-{TAG}-client")
        journal.note("netns", f"pc-{TAG}-server")
        with pytest.raises(LabError, match=r"pc-ab12cd34-client: failed \(Device or resource busy\)"), journal:
            pass
        assert f"pc-{TAG}-server" not in kernel.netns
        assert journal.path.exists()
        failed = clean(tmp_path).failed
        assert [(undone.name, undone.reason) for undone in failed] == [
            (f"pc-{TAG}-client", "Device or resource busy")
        ]  # fmt: skip
        kernel.refuse.clear()
        assert [undone.name for undone in clean(tmp_path).undone] == [f"pc-{TAG}-client"]
        assert not journal.path.exists()


def test_a_failing_block_keeps_its_own_error(tmp_path: Path) -> None:
    with machine() as kernel:
        kernel.refuse.add(f"pc-{TAG}-client")
        journal = Journal.create(TAG, tmp_path)
        journal.note("netns", f"pc-{TAG}-client")
        with pytest.raises(KeyError, match="mine"), journal:
            raise KeyError("mine")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("netns", "client"), ("netns", f"/run/netns/pc-{TAG}"), ("netns", f"pc-{TAG}-a/b"), ("netns", f"pc-x-{TAG}"),
        ("cgroup", f"pc-{TAG}"), ("cgroup", "/sys/fs/cgroup/user.slice"), ("cgroup", f"/x/../pc-{TAG}"),
        ("sysctl", "net.core.rmem_max"), ("sysctl", "kernel.panic"), ("thing", TAG), ("file", f"/x/{TAG}"),
        ("device", f"pc{TAG}0"), ("process", ""),
    ],
)  # fmt: skip
def test_notes_that_could_reach_beyond_the_lab_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    with Journal.create(TAG, tmp_path) as journal:
        before = journal.path.read_bytes()
        with pytest.raises(ValueError, match=r"expected|needs its old"):
            journal.note(kind, name)
        assert journal.path.read_bytes() == before


def test_host_wide_sysctl_is_put_back_unless_somebody_changed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = tmp_path / "proc"
    (proc / "net/core").mkdir(parents=True)
    file = proc / "net/core/rmem_max"
    monkeypatch.setattr(sysctl, "ROOT", proc)
    for theirs, expected in ((None, "100"), ("300", "300")):
        file.write_text("100")
        with Journal.create(TAG, tmp_path / "run") as journal:
            with pytest.raises(LabError, match=r"net.core.rmem_max .* sysctl -w"):
                sysctl.set_host_wide(journal, "net.core.rmem_max", "200", permitted=False)
            assert file.read_text() == "100"
            sysctl.set_host_wide(journal, "net.core.rmem_max", "200", permitted=True)
            assert file.read_text() == "200"
            if theirs is not None:
                file.write_text(theirs)
        assert file.read_text() == expected


def test_a_noted_pid_means_a_process_only_in_its_own_boot_and_namespaces_and_after_its_owner() -> None:
    me = identify(os.getppid())
    assert me is not None
    entry = Entry(kind="process", name="x", detail={"pid": str(me.pid), "start": str(me.start_ticks)})
    older = ProcessId(pid=1, start_ticks=me.start_ticks - 1)
    younger = ProcessId(pid=1, start_ticks=me.start_ticks + 1)
    own = View.own()
    elsewhere = View(pid=1, time=own.time, mount=own.mount)
    with patch.object(processes, "end", wraps=lambda find: ((), find())):
        assert undo_all([entry], TAG, Owner(process=older, boot="another-boot", view=own)) == ()
        assert undo_all([entry], TAG, Owner(process=older, boot=boot_id(), view=elsewhere)) == ()
        assert undo_all([entry], TAG, Owner(process=younger, boot=boot_id(), view=own)) == ()
        (told,) = undo_all([entry], TAG, Owner(process=older, boot=boot_id(), view=own))
    assert told.name == f"x (pid {me.pid})"


def test_a_tag_is_taken_once(tmp_path: Path) -> None:
    with Journal.create(TAG, tmp_path) as journal:
        with pytest.raises(LabError, match="another lab has the tag"):
            Journal.create(TAG, tmp_path)
        assert journal.path.exists()
        assert [path.name for path in tmp_path.iterdir()] == [f"{TAG}{SUFFIX}"]


def test_tags_that_are_none_are_refused(tmp_path: Path) -> None:
    for tag in ("", "../../etc", "ABCDEFGH", "short", "much-too-long-for-a-name"):
        with pytest.raises(ValueError, match="a tag is"):
            Journal.create(tag, tmp_path)


def test_names_from_a_journal_are_printed_without_control_characters() -> None:
    told = str(Undone(kind="process", name="\x1b[2J\n::error::\u202e (pid 1)", outcome="undone"))
    assert told.isprintable()
    assert told.startswith("process \\x1b[2J\\n")
    # A letter that nothing is drawn for.
    assert "\\u3164" in str(Undone(kind="process", name="a\u3164b", outcome="undone"))


@pytest.mark.parametrize("room", [0, 10])
def test_what_cannot_be_noted_is_not_made(tmp_path: Path, room: int) -> None:
    def write(fd: int, line: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, line[:room])

    real = os.write
    journal = Journal.create(TAG, tmp_path)
    with patch("os.write", write), pytest.raises(LabError, match="No space left on device"):
        journal.note("netns", f"pc-{TAG}-client")
    assert journal.close() == ()
    assert not list(tmp_path.iterdir())

"""Whatever a journal holds, `clean` does not raise, undoes what is the lab's and touches nothing else."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import DEAD, NOTES, TAG, Machine, lines, machine, run_directory

from perfcheck.errors import Unavailable
from perfcheck.system import netns, processes, sysctl
from perfcheck.system.cleaning import clean
from perfcheck.system.journal import SUFFIX, Journal, parse
from perfcheck.system.netns import Mark
from perfcheck.system.owner import lock
from perfcheck.system.processes import ProcessId, boot_id, identify

garbage = st.one_of(
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5).map(lines),
    st.sampled_from(
        [
            lines({"kind": "netns", "name": "pc-other-host"}),
            lines({"kind": "netns", "name": f"../{TAG}"}),
            lines({"kind": "netns", "name": "pc-ab12cd35-client"}),
            lines({"kind": "netns", "name": f"pc-other-{TAG}"}),
            lines({"kind": "netns", "name": f"pc-{TAG}-\ud800"}),
            lines({"kind": "cgroup", "name": "/cg/user.slice", "inode": "7"}),
            lines({"kind": "cgroup", "name": f"/cg/pc-{TAG}/../user.slice", "inode": "7"}),
            lines({"kind": "cgroup", "name": f"cg/pc-{TAG}", "inode": "7"}),
            lines({"kind": "sysctl", "name": "kernel.core_pattern", "old": "|/bin/sh", "new": "core"}),
            lines({"kind": "device", "name": "eth0"}),
            lines({"kind": "file", "name": "/etc/passwd"}),
            lines({"kind": "file", "name": f"{TAG}/../../etc/passwd"}),
            lines({"kind": "file", "name": f"/x/{TAG}/../../etc/passwd"}),
            lines({"kind": "process", "name": "x", "pid": "1", "start": "not a number"}),
            lines({"kind": "sysctl", "name": "net.core.rmem_max"}),
            lines({"kind": "sysctl", "name": "net/../../etc", "old": "1", "new": "2"}),
            lines({"kind": "no such kind", "name": TAG}),
            lines({"kind": ["netns"], "name": TAG}),
            lines({"kind": "netns", "name": None}),
            lines({"kind": "netns", "name": f"pc-{TAG}-\0"}),
            b"[" * 100_000 + b"\n",
            b"1" * 5000 + b"\n",
        ]
    ),
)


@given(cut=st.integers(min_value=0), junk=st.lists(st.tuples(st.integers(0, 7), garbage), max_size=4))
def test_clean_undoes_every_whole_line_before_the_cut(cut: int, junk: list[tuple[int, bytes]]) -> None:
    with run_directory() as directory, machine() as kernel:
        parts = [lines(DEAD), *(lines(note) for note in NOTES)]
        for place, data in junk:
            parts.insert(min(place, len(parts)), data)
        text = b"".join(parts)
        text = text[: cut % (len(text) + 1)]
        (directory / f"{TAG}.two").touch()
        (directory / "not-ours").touch()
        (directory / f"{TAG}{SUFFIX}").write_bytes(text)

        report = clean(directory)

        whole = text.split(b"\n")
        gone = {note["name"] for note in NOTES if lines(note)[:-1] in whole and note["kind"] != "process"}
        owned = lines(DEAD)[:-1] in whole
        if not owned:
            gone = set()
        kept = {path.name for path in directory.iterdir()} - {f"{TAG}.two", "not-ours"}
        assert kernel.netns | kernel.groups == (Machine().netns | Machine().groups) - gone
        assert kept == (set() if owned or not parse(text, TAG).entries else {f"{TAG}{SUFFIX}"})
        assert {undone.name for undone in report.undone} == gone
        assert not report.failed
        assert len(report.unreadable) == len(kept)


def test_a_live_owner_is_left_alone_and_a_dead_one_is_not(tmp_path: Path) -> None:
    with machine() as kernel:
        journal = Journal.create(TAG, tmp_path)
        journal.note("netns", f"pc-{TAG}-client")
        assert clean(tmp_path).alive == (TAG,)
        assert f"pc-{TAG}-client" in kernel.netns
        with patch("perfcheck.system.owner.identify") as find:
            find.return_value = ProcessId(pid=os.getpid(), start_ticks=1)  # the pid is another process's by now
            report = clean(tmp_path)
        assert report.alive == ()
        assert f"pc-{TAG}-client" not in kernel.netns
        assert not journal.path.exists()
        journal.close()


def rewritten(journal: Journal, **owner: object) -> None:
    """Change what a journal says of its owner, in place: the lock stays."""
    header, *notes = journal.path.read_bytes().splitlines()
    changed = {"owner": json.loads(header)["owner"] | owner}
    journal.path.write_bytes(lines(changed) + b"".join(note + b"\n" for note in notes))


@pytest.mark.parametrize(
    ("owner", "locked", "alive"),
    [
        ({"pidns": 1, "pid": 2**22 + 7}, True, True), ({"pidns": 1}, False, False),
        ({"timens": 1, "start_ticks": 1}, True, True), ({"timens": 1}, False, False),
        ({"pidns": 1, "locked": False, "pid": 2**22 + 7}, False, True),
        ({"boot": "another-boot"}, True, True), ({"boot": "another-boot", "locked": False}, False, False),
        ({"pid": 2**22 + 7}, True, False), ({}, True, True), ({}, False, False),
    ],
)  # fmt: skip
def test_the_owner_is_told_by_its_lock_and_by_its_pid_only_in_its_own_namespaces(
    tmp_path: Path, owner: dict[str, object], locked: bool, alive: bool
) -> None:
    with machine():
        journal = Journal.create(TAG, tmp_path)
        rewritten(journal, **owner)
        if not locked:
            os.close(journal._fd)
        assert clean(tmp_path).alive == ((TAG,) if alive else ())
        assert journal.path.exists() == alive


def test_a_journal_of_a_version_without_namespaces_is_told_by_the_pid(tmp_path: Path) -> None:
    me = identify(os.getpid())
    assert me is not None
    for start, alive in ((me.start_ticks, (TAG,)), (me.start_ticks + 1, ())):
        owner = {"pid": me.pid, "start_ticks": start, "boot": boot_id()}
        (tmp_path / f"{TAG}{SUFFIX}").write_bytes(lines({"owner": owner}))
        assert clean(tmp_path).alive == alive


def test_nothing_of_another_boot_or_of_an_unknown_owner_is_touched(tmp_path: Path) -> None:
    for header in (lines({"owner": {"pid": 2**22 + 7, "start_ticks": 1, "boot": "another-boot"}}), b"{}\n"):
        path = tmp_path / f"{TAG}{SUFFIX}"
        with patch.object(processes, "end") as end, patch.object(sysctl, "write") as write:
            now = sysctl.read("net.core.somaxconn")
            note = {"kind": "sysctl", "name": "net.core.somaxconn", "old": "1", "new": " ".join(now or ())}
            path.write_bytes(header + lines(*NOTES, note))
            report = clean(tmp_path)
        assert (report.undone, report.failed) == ((), ())
        assert not end.called
        assert not write.called
        assert path.exists() == bool(report.unreadable) == (header == b"{}\n")


def test_what_was_killed_while_being_born_is_removed(tmp_path: Path) -> None:
    dead, living = tmp_path / f"{TAG}.dead.new", tmp_path / f"{TAG}.living.new"
    dead.touch()
    with living.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        clean(tmp_path)
        assert list(tmp_path.iterdir()) == [living]


def test_a_journal_that_a_clean_removes_before_it_is_locked_is_begun_again(tmp_path: Path) -> None:
    times: list[int] = []

    def slow(fd: int) -> bool:
        if not times:
            clean(tmp_path)
        times.append(fd)
        return lock(fd)

    with patch("perfcheck.system.journal.lock", slow), Journal.create(TAG, tmp_path) as journal:
        assert journal.path.exists()
    assert len(times) == 2


def test_clean_without_a_directory_has_nothing_to_do(tmp_path: Path) -> None:
    report = clean(tmp_path / "none")
    assert (report.undone, report.alive, report.failed, report.unreadable) == ((), (), (), ())
    assert not (tmp_path / "none").exists()


def hostile_directories(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    writable = tmp_path / "writable"
    writable.mkdir()
    writable.chmod(0o777)
    yield writable, "others may write there"
    within = writable / "run"
    within.mkdir(mode=0o700)
    yield within, "writable has mode 777: others may write there"
    file = tmp_path / "file"
    file.touch()
    yield file, "it is not a directory"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    yield dangling, "it cannot be used: No such file or directory"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    yield loop, "it cannot be used: Too many levels of symbolic links"


def test_a_directory_that_cannot_be_trusted_is_reported_and_nothing_in_it_is_undone(tmp_path: Path) -> None:
    for directory, why in hostile_directories(tmp_path):
        with machine() as kernel:
            if directory.is_dir():
                (directory / f"{TAG}{SUFFIX}").write_bytes(lines(DEAD, *NOTES))
            report = clean(directory)
            assert len(report.unreadable) == 1
            assert why in report.unreadable[0]
            assert not report.undone
            assert kernel.netns == Machine().netns
        with pytest.raises(Unavailable):
            Journal.create(TAG, directory)


def test_a_directory_behind_another_users_link_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    assert clean(link).unreadable == ()
    if os.geteuid() != 0:
        pytest.skip("only root can give a link away")
    os.lchown(link, 12345, 12345)
    assert "is a symbolic link of user 12345" in clean(link).unreadable[0]


def test_what_is_not_a_journal_is_reported_and_left(tmp_path: Path) -> None:
    def named(number: int) -> Path:
        return tmp_path / f"{TAG[:-1]}{number}{SUFFIX}"

    outside = tmp_path.parent / "outside"
    outside.write_bytes(lines(DEAD, *NOTES))
    named(0).symlink_to(outside)
    os.mkfifo(named(1))
    named(2).mkdir()
    with named(3).open("wb") as file:
        file.truncate(17 << 20)
    named(4).symlink_to("/dev/zero")
    with machine() as kernel:
        report = clean(tmp_path)
        assert kernel.netns == Machine().netns
    assert [line.split(": ")[0] for line in report.unreadable] == [str(named(number)) for number in range(5)]
    assert all("\n" not in line for line in report.unreadable)
    assert len(list(tmp_path.iterdir())) == 5
    assert outside.exists()


def test_a_journal_that_cannot_be_removed_is_reported_and_the_others_are_undone(tmp_path: Path) -> None:
    one, other = tmp_path / f"{TAG}{SUFFIX}", tmp_path / f"zz12cd34{SUFFIX}"
    one.write_bytes(lines(DEAD))
    other.write_bytes(lines(DEAD))
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == one:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        real(path, missing_ok=missing_ok)

    with patch.object(Path, "unlink", unlink):
        report = clean(tmp_path)
    assert report.unreadable == (f"{one}: Read-only file system",)
    assert not other.exists()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EBUSY, errno.EROFS, errno.ENOENT])
def test_each_failure_is_one_line_and_the_rest_is_undone(tmp_path: Path, number: int) -> None:
    (tmp_path / f"{TAG}{SUFFIX}").write_bytes(lines(DEAD, *NOTES))
    with machine() as kernel:
        real = netns.remove

        def remove(name: str, mark: Mark | None) -> bool:
            if name.endswith("server"):
                raise OSError(number, os.strerror(number))
            return real(name, mark)

        with patch.object(netns, "remove", remove):
            report = clean(tmp_path)
        assert [str(each) for each in report.failed] == [f"netns pc-{TAG}-server: failed ({os.strerror(number)})"]
        assert {each.name for each in report.undone} == {f"pc-{TAG}-client", f"/cg/pc-{TAG}"}
        assert kernel.netns == {f"pc-{TAG}-server", "pc-other-host"}
    assert (tmp_path / f"{TAG}{SUFFIX}").exists()


def test_two_cleans_at_once_take_turns(tmp_path: Path) -> None:
    (tmp_path / f"{TAG}{SUFFIX}").write_bytes(lines(DEAD, *NOTES))
    inside, go = threading.Event(), threading.Event()

    def remove(name: str, mark: Mark | None) -> bool:
        del name, mark
        inside.set()
        assert go.wait(10.0)
        return True

    with machine(), patch.object(netns, "remove", remove), ThreadPoolExecutor() as pool:
        first = pool.submit(clean, tmp_path)
        assert inside.wait(10.0)
        second = pool.submit(clean, tmp_path)
        go.set()
        assert len(first.result().undone) == 3
        assert second.result().undone == ()

"""Whatever a journal holds, `clean` does not raise, undoes what is the lab's and touches nothing else."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import LabError, Unavailable
from perfcheck.system import netns, processes, sysctl
from perfcheck.system.journal import SUFFIX, Journal, clean, parse
from perfcheck.system.processes import ProcessId, boot_id, identify
from perfcheck.system.undo import Entry, undo_all

TAG = "ab12cd34"
DEAD = {"owner": {"pid": 2**22 + 7, "start_ticks": 1, "boot": "another-boot"}}


class Machine:
    """Stands in for the kernel: namespaces and devices by name, so that undoing them can be seen."""

    def __init__(self) -> None:
        self.netns = {f"pc-{TAG}-client", f"pc-{TAG}-server", "pc-other-host"}
        self.devices = {f"pc{TAG}0", "eth0"}
        self.refuse: set[str] = set()

    def remove(self, name: str) -> bool:
        if name in self.refuse:
            raise OSError(errno.EBUSY, "Device or resource busy")
        found = name in self.netns
        self.netns.discard(name)
        return found

    def remove_device(self, name: str) -> bool:
        found = name in self.devices
        self.devices.discard(name)
        return found


@contextmanager
def machine() -> Iterator[Machine]:
    fake = Machine()
    with patch.object(netns, "remove", fake.remove), patch.object(netns, "remove_device", fake.remove_device):
        yield fake


@contextmanager
def run_directory() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def notes_of(directory: Path) -> list[dict[str, str]]:
    return [
        {"kind": "netns", "name": f"pc-{TAG}-client"},
        {"kind": "file", "name": str(directory / f"{TAG}.one")},
        {"kind": "process", "name": "iperf3"},
        {"kind": "netns", "name": f"pc-{TAG}-server"},
        {"kind": "device", "name": f"pc{TAG}0"},
        {"kind": "file", "name": str(directory / f"{TAG}.two")},
    ]


garbage = st.one_of(
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5).map(lines),
    st.sampled_from(
        [
            lines({"kind": "netns", "name": "pc-other-host"}),
            lines({"kind": "netns", "name": f"../{TAG}"}),
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
        notes = notes_of(directory)
        parts = [lines(DEAD), *(lines(note) for note in notes)]
        for place, data in junk:
            parts.insert(min(place, len(parts)), data)
        text = b"".join(parts)
        text = text[: cut % (len(text) + 1)]
        for name in (f"{TAG}.one", f"{TAG}.two", "not-ours"):
            (directory / name).touch()
        (directory / f"{TAG}{SUFFIX}").write_bytes(text)

        report = clean(directory)

        whole = [note for note in notes if lines(note)[:-1] in text.split(b"\n")]
        gone = {note["name"] for note in whole if note["kind"] in {"netns", "device"}}
        assert kernel.netns | kernel.devices == (Machine().netns | Machine().devices) - gone
        left = {path.name for path in directory.iterdir()}
        files = {Path(note["name"]).name for note in whole if note["kind"] == "file"}
        assert left == {f"{TAG}.one", f"{TAG}.two", "not-ours"} - files
        assert {undone.name for undone in report.undone} >= gone
        assert not report.failed


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


def test_a_live_owner_is_left_alone_and_a_dead_one_is_not(tmp_path: Path) -> None:
    with machine() as kernel:
        journal = Journal.create(TAG, tmp_path)
        journal.note("netns", f"pc-{TAG}-client")
        assert clean(tmp_path).alive == (TAG,)
        assert f"pc-{TAG}-client" in kernel.netns
        with patch.object(processes, "identify", return_value=None), patch("perfcheck.system.journal.identify") as find:
            find.return_value = ProcessId(pid=os.getpid(), start_ticks=1)  # the pid is another process's by now
            report = clean(tmp_path)
        assert report.alive == ()
        assert f"pc-{TAG}-client" not in kernel.netns
        assert not journal.path.exists()
        journal.close()


def test_leaving_the_block_undoes_latest_first_and_removes_the_file(tmp_path: Path) -> None:
    order: list[str] = []

    def remove(name: str) -> bool:
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
        text = journal.path.read_bytes().replace(boot_id().encode(), b"another-boot")
        journal.path.write_bytes(text)
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
        ("netns", "client"), ("netns", f"/run/netns/pc-{TAG}"), ("device", "eth0"), ("file", "/etc/passwd"),
        ("file", f"relative-{TAG}"), ("file", f"/x/{TAG}/../y"), ("sysctl", "net.core.rmem_max"), ("thing", TAG),
        ("process", ""),
    ],
)  # fmt: skip
def test_notes_that_could_reach_beyond_the_lab_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    with Journal.create(TAG, tmp_path) as journal:
        before = journal.path.read_bytes()
        with pytest.raises(ValueError, match=r"expected|must carry|needs its old"):
            journal.note(kind, name)
        assert journal.path.read_bytes() == before


def test_a_file_that_exists_is_not_the_labs(tmp_path: Path) -> None:
    theirs = tmp_path / f"{TAG}.txt"
    theirs.write_text("theirs")
    with Journal.create(TAG, tmp_path / "run") as journal, pytest.raises(LabError, match="exists already"):
        journal.note("file", str(theirs))
    assert theirs.read_text() == "theirs"


def test_files_links_and_empty_directories_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with Journal.create(TAG, tmp_path / "run") as journal:
        for name in ("file", "link", "directory", "never"):
            journal.note("file", str(tmp_path / f"{TAG}.{name}"))
        (tmp_path / f"{TAG}.file").touch()
        (tmp_path / f"{TAG}.link").symlink_to(target)
        (tmp_path / f"{TAG}.directory").mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "target"]


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


def test_pids_of_another_boot_mean_nothing() -> None:
    me = identify(os.getpid())
    assert me is not None
    entry = Entry(kind="process", name="x", detail={"pid": str(me.pid), "start": str(me.start_ticks)})
    with patch.object(processes, "end", wraps=lambda find: ((), find())) as end:
        assert undo_all([entry], TAG, same_boot=False) == ()
        (told,) = undo_all([entry], TAG, same_boot=True)
    assert end.call_count == 2
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


def test_what_was_killed_while_being_born_is_removed(tmp_path: Path) -> None:
    me = identify(os.getpid())
    assert me is not None
    (tmp_path / f"{TAG}.{2**22 + 7}.1.new").touch()
    (tmp_path / f"{TAG}.{me.pid}.{me.start_ticks}.new").touch()
    clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{TAG}.{me.pid}.{me.start_ticks}.new"]


def test_clean_without_a_directory_has_nothing_to_do(tmp_path: Path) -> None:
    report = clean(tmp_path / "none")
    assert (report.undone, report.alive, report.failed, report.unreadable) == ((), (), (), ())
    assert not (tmp_path / "none").exists()


def test_a_directory_where_others_may_write_is_not_trusted(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(Unavailable, match="others may write there"):
        clean(tmp_path)
    with pytest.raises(Unavailable, match="others may write there"):
        Journal.create(TAG, tmp_path)


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

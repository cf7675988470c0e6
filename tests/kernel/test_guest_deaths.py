"""Guests that panic, hang, run out of memory or are killed end in bounded time, say why, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import pytest
from stored_kernel import stored_kernel, write_smallest

from perfcheck.errors import GuestDied, LabError
from perfcheck.kernels.archive import Archive
from perfcheck.kernels.guest import QEMU, GuestOptions, boot
from perfcheck.kernels.job import JobReport, Step
from perfcheck.kernels.store import Kernel
from perfcheck.system import clean, processes

SPINNING: Final = Step(kind="run", arguments=("sh", "-c", "while :; do :; done"), timeout_s=1e5)
FOR_EVER: Final = Step(kind="run", arguments=("cat", "/dev/kmsg"), timeout_s=1e7)
GUESTS: Final = "guests, here"
"""A folder's name with a comma, at which QEMU ends an option."""
MOST_S: Final = 120.0
"""Of the host's time for a death to be told, on a machine that does other things."""


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return stored_kernel()


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give guests a folder of their own, which is empty again afterwards, as is the folder of journals."""
    folder = tmp_path / GUESTS
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    began_s = time.monotonic()
    yield
    assert time.monotonic() - began_s < MOST_S
    assert list(folder.iterdir()) == []
    assert list((tmp_path / "run").glob("*.journal")) == []
    assert not _guests_of(tmp_path)


def _guests_of(folder: Path) -> list[int]:
    """Return the QEMU processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if words.startswith(QEMU.encode()) and os.fsencode(folder) in words:
            found.append(int(path.parent.name))
    return found


def died(
    kernel: Kernel, *steps: Step, write: Callable[[BinaryIO], None] = write_smallest, memory_mb: int = 512,
    limit_s: float = MOST_S,
) -> GuestDied:  # fmt: skip
    with pytest.raises(GuestDied) as caught:
        boot(kernel, write, steps, GuestOptions(memory_mb=memory_mb, limit_s=limit_s))
    return caught.value


def test_a_panic_has_its_reason_and_the_kernels_stack(kernel: Kernel) -> None:
    death = died(kernel, Step(kind="write", arguments=("/proc/sysrq-trigger", "c")))
    assert "its kernel panicked" in death.reason
    assert "sysrq triggered crash" in death.reason
    assert any("Call Trace" in line for line in death.console)
    assert any("sysrq_handle_crash" in line for line in death.console)


def test_an_image_without_init_panics_at_boot(kernel: Kernel) -> None:
    def nothing(out: BinaryIO) -> None:
        archive = Archive(out)
        archive.folder("dev")
        archive.finish()

    death = died(kernel, write=nothing)
    assert "VFS: Unable to mount root fs" in death.reason


def test_a_root_that_cannot_be_made_says_what_is_missing(kernel: Kernel) -> None:
    def unmappable(out: BinaryIO) -> None:
        archive = Archive(out)
        archive.file("root.steps", b"layer /dev/no-such-device ext4\n")
        write_smallest(out)

    death = died(kernel, SPINNING, write=unmappable)
    assert death.reason == "its files cannot be mounted: cannot mount /dev/no-such-device: No such file or directory"


def test_a_process_that_spins_is_ended_at_the_limit_with_where_it_was(kernel: Kernel) -> None:
    death = died(kernel, SPINNING, limit_s=20.0)
    assert death.reason == "it did not come to the end of its step 1 of 1 within 20 s of CPU time"
    assert any("NMI" in line for line in death.console)
    assert any("sh" in line and "Comm:" in line for line in death.console)


def test_a_guest_without_memory_says_so(kernel: Kernel) -> None:
    death = died(kernel, Step(kind="run", arguments=("tail", "/dev/zero"), timeout_s=1e4), memory_mb=256)
    assert death.reason.startswith("it ran out of memory: Out of memory: Killed process")
    assert "(tail)" in death.reason


def test_a_killed_qemu_is_told(kernel: Kernel, tmp_path: Path) -> None:
    def kill(_: JobReport) -> None:
        (guest,) = _guests_of(tmp_path)
        os.kill(guest, signal.SIGKILL)

    steps = (Step(kind="run", arguments=("cat", "/proc/version")), FOR_EVER)
    with pytest.raises(GuestDied) as caught:
        boot(kernel, write_smallest, steps, GuestOptions(memory_mb=512), kill)
    assert caught.value.reason == "its process was ended by signal 9"


def test_a_thread_may_boot_a_guest(kernel: Kernel) -> None:
    found: list[str] = []

    def run() -> None:
        steps = (Step(kind="run", arguments=("cat", "/proc/version")),)
        found.append(boot(kernel, write_smallest, steps, GuestOptions(memory_mb=512)).report.steps[0].text)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert kernel.release in found[0]


BOOTING: Final = """
import sys
from pathlib import Path
from perfcheck.kernels.guest import GuestOptions, boot
from perfcheck.kernels.job import Step
from perfcheck.kernels.store import KernelStore
from stored_kernel import write_smallest
kernel = KernelStore.create().get(sys.argv[1])
steps = (
    Step(kind="run", arguments=("cat", "/proc/version")),
    Step(kind="run", arguments=("cat", "/dev/kmsg"), timeout_s=1e7),
)
boot(kernel, write_smallest, steps, GuestOptions(memory_mb=512), lambda report: print("begun", flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_perfcheck_takes_its_guest_along(kernel: Kernel, tmp_path: Path, number: signal.Signals) -> None:
    argv = [sys.executable, "-c", BOOTING, kernel.name]
    paths = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **paths}) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"begun\n"
        (guest,) = _guests_of(tmp_path)
        owner.send_signal(number)
        owner.wait()
    identity = processes.identify(guest)
    while identity is not None and processes.identify(guest) == identity:
        time.sleep(0.01)
    assert len(list((tmp_path / GUESTS).iterdir())) == 1
    report = clean()
    assert [each.kind for each in report.undone] == ["folder"]
    assert not report.failed


def test_a_full_disk_is_told_before_anything_is_booted(kernel: Kernel, tmp_path: Path, small_disk: Path) -> None:
    del tmp_path
    (small_disk / "other").write_bytes(bytes(2_500_000))
    tempfile.tempdir = str(small_disk)
    with pytest.raises(LabError, match="cannot write a guest's files: No space left on device"):
        boot(kernel, write_smallest, (), GuestOptions(memory_mb=512))
    assert [path.name for path in small_disk.iterdir()] == ["other"]

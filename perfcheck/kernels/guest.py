"""A guest: a kernel of the store in QEMU, its time counted in instructions, with one job to do.

Time in the guest is the number of instructions that it has executed, 4 ns each (`-icount shift=2`), and idle time is
skipped (`sleep=off`). So CPU time is the length of the path through the code: it does not depend on how busy the
host is, and it says nothing of caches, locks or several CPUs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, NoReturn

from perfcheck.errors import GuestDied, LabError, Stopped, Unavailable
from perfcheck.kernels import job
from perfcheck.kernels.archive import Archive
from perfcheck.kernels.console import death_of, last_lines
from perfcheck.kernels.direct_boot import bootable
from perfcheck.kernels.job import JobReport, Step
from perfcheck.kernels.scratch import guest_folder
from perfcheck.kernels.store import Kernel
from perfcheck.system import Journal, commands, new_tag, processes

Time = Literal["virtual", "real"]
WriteImage = Callable[[BinaryIO], None]
"""Writes an archive that the kernel unpacks."""

NS_PER_INSTRUCTION: Final = 4
"""Of `-icount shift=2`."""
BOOT_LIMIT_S: Final = 120.0
JOB_LIMIT_S: Final = 600.0
"""Of the host's time."""
STARVED: Final = 20
"""A guest of counted instructions may take so many times its limit of CPU time: nobody waits for ever for a CPU."""
_LOOK_S: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BACKTRACE_S: Final = 10.0
_COPY_BYTES: Final = 1 << 20
CPU: Final = "max,-erms,-fsrm"
"""Without fast string instructions: each byte that they copy would count as one instruction, of which a real CPU makes
32 or more at once."""
QEMU: Final = "qemu-system-x86_64"
QUICK_BOOT: Final = (
    "console=ttyS0", "loglevel=4", "panic=-1", "oops=panic", "softlockup_panic=1", "unknown_nmi_panic=1", "reboot=t",
    "nokaslr", "norandmaps", "randomize_kstack_offset=off", "cryptomgr.notests", "tsc=reliable", "no_timer_check",
    "lpj=1000000",
)  # fmt: skip
"""Nothing random where it can be helped, nothing measured or tested at boot, and any failure of the kernel ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions:
    """How a guest is booted.

    An instruction takes 2**`shift` ns. `command_line` joins the kernel's own. `layout` numbers the layouts of memory
    and command line that a change is measured over. `boot_limit_s`, and `limit_s` for the whole job, are CPU time of
    QEMU in virtual time, so that a busy host ends no guest; in real time they are time. `silent_limit_s` is that
    without the end of a step, or a line on the third serial port. `mapped` are images of file systems that the guest
    maps as persistent memory, /dev/pmem0 first. `arguments` are QEMU's own.
    """

    time: Time = "virtual"
    shift: int = 2
    memory_mb: int = 1024
    command_line: tuple[str, ...] = ()
    layout: int = 0
    boot_limit_s: float = BOOT_LIMIT_S
    limit_s: float = JOB_LIMIT_S
    silent_limit_s: float = JOB_LIMIT_S
    mapped: tuple[Path, ...] = ()
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRun:
    """What a guest that came to the end of its job has reported, and its console."""

    report: JobReport
    console: str
    wall_s: float
    boot_s: float


def check() -> None:
    """Raise Unavailable where no guest can be booted on this machine."""
    try:
        commands.find(QEMU)
    except Unavailable:
        raise Unavailable(QEMU, "there is no such command in PATH", "apt-get install qemu-system-x86") from None


def boot(
    kernel: Kernel, image: Path | WriteImage, steps: Sequence[Step], options: GuestOptions,
    told: Callable[[JobReport], None] | None = None, stopping: Callable[[], bool] = lambda: False,
    said: Callable[[str], None] = lambda _: None,
) -> GuestRun:  # fmt: skip
    """Boot the kernel with the image, have it do the steps, and return what it reports.

    `told` is called whenever a step has ended, `said` with each line that is written to the guest's third serial port
    meanwhile. Stopped is raised soon after `stopping` says so. GuestDied is raised for a guest that panics, hangs, runs
    out of memory, or is ended by somebody else, with the last lines of its console; LabError for a step that fails.
    """
    check()
    with kernel.in_use(), Journal.create(new_tag()) as journal:
        folder = guest_folder(journal)
        running = _Running(kernel, folder, options)
        _join(folder / "initrd", image, steps)
        running.start(journal)
        try:
            running.wait(len(steps), told, stopping, said)
        finally:
            running.end()
        report = running.report()
        failure = job.first_failure(steps, report.steps)
        if failure is not None:
            # Who was killed for want of memory only says that somebody ended it.
            death = death_of(running.console())
            if death is not None:
                raise GuestDied(kernel.name, death.reason, death.lines)
            raise LabError(f"in a guest with {kernel.name}: {failure}")
        return GuestRun(report=report, console=running.console(), wall_s=running.wall_s, boot_s=running.boot_s)


def in_option(value: Path | str) -> str:
    """Return a value as it stands in a list of QEMU's options, where a comma ends it unless it is doubled."""
    return str(value).replace(",", ",,")


def _join(initrd: Path, image: Path | WriteImage, steps: Sequence[Step]) -> None:
    """Write the image with the job behind it: the kernel unpacks both."""
    try:
        with initrd.open("wb") as out:
            if isinstance(image, Path):
                with image.open("rb") as source:
                    shutil.copyfileobj(source, out, _COPY_BYTES)
            else:
                image(out)
            out.write(b"\0" * (-out.tell() % 4))
            archive = Archive(out)
            archive.file("job", job.encode(steps))
            archive.finish()
    except OSError as error:
        raise LabError(
            f"{initrd}: cannot write a guest's files: {error.strerror}; free space there, or set TMPDIR to another "
            "folder"
        ) from error


class _Running:
    """A guest's process and files."""

    def __init__(self, kernel: Kernel, folder: Path, options: GuestOptions) -> None:
        self._kernel = kernel
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0
        self._seen_lines = 0
        self.wall_s = 0.0
        self.boot_s = 0.0

    def start(self, journal: Journal) -> None:
        """Start QEMU; it dies with this thread, whatever ends that."""
        argv = ["setpriv", "--pdeathsig", "KILL", *self._argv()]
        environment = commands.tagged_environment(journal.tag)
        self._began_s = time.monotonic()
        with (self._folder / "qemu").open("wb") as said:
            journal.note("process", QEMU)
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment, start_new_session=True
            )
        if (known := processes.identify(self._process.pid)) is not None:
            journal.note("process", QEMU, pid=str(known.pid), start=str(known.start_ticks))

    def _argv(self) -> list[str]:
        options = self._options
        virtual = options.time == "virtual"
        # The layout changes where things lie in the kernel's memory, and what its hashes are seeded with.
        padding = "x" * (7 * options.layout % 97)
        command_line = (*QUICK_BOOT, *options.command_line, f"perfcheck.layout={options.layout}{padding}")
        return [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *self._machine(),
            *(("-accel", "tcg", "-icount", f"shift={options.shift},sleep=off", "-rtc", "clock=vm", "-cpu", CPU)
              if virtual else ("-accel", "kvm", "-cpu", "host")),
            "-seed", str(1 + options.layout), "-smp", "1",
            "-kernel", str(bootable(self._kernel)), "-initrd", str(self._folder / "initrd"),
            "-append", " ".join(command_line),
            "-chardev", f"file,id=console,path={in_option(self._folder / 'console')}", "-serial", "chardev:console",
            "-chardev", f"file,id=report,path={in_option(self._folder / 'report')}", "-serial", "chardev:report",
            "-chardev", f"file,id=lines,path={in_option(self._folder / 'lines')}", "-serial", "chardev:lines",
            "-chardev", "stdio,id=monitor,signal=off", "-mon", "chardev=monitor,mode=readline",
            *options.arguments,
        ]  # fmt: skip

    def _machine(self) -> list[str]:
        """Return the machine's kind and memory, and what it maps: never written, and shared by all guests that do."""
        options = self._options
        if not options.mapped:
            return ["-machine", "q35", "-m", str(options.memory_mb)]
        sizes = [path.stat().st_size for path in options.mapped]
        most_mb = options.memory_mb + sum(sizes) // 2**20 + 2048
        argv = ["-machine", "q35,nvdimm=on", "-m", f"{options.memory_mb},slots={len(sizes)},maxmem={most_mb}M"]
        for number, (path, size) in enumerate(zip(options.mapped, sizes, strict=True)):
            backend = f"memory-backend-file,id=mapped{number},mem-path={in_option(path)},size={size}"
            argv += ["-object", f"{backend},share=off,readonly=on"]
            argv += ["-device", f"nvdimm,id=pmem{number},memdev=mapped{number},unarmed=on"]
        return argv

    def wait(
        self, steps: int, told: Callable[[JobReport], None] | None, stopping: Callable[[], bool],
        said: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Wait for the guest's end; GuestDied where it ends otherwise, or not in time."""
        assert self._process is not None  # noqa: S101 - started
        seen = 0
        begun = False
        heard_s = 0.0
        while self._process.poll() is None:
            time.sleep(_LOOK_S)
            lines = self._new_lines()
            for line in lines:
                said(line)
            if stopping():
                raise Stopped("the guest was stopped")
            self.wall_s = time.monotonic() - self._began_s
            spent_s = self._spent_s()
            report = self.report()
            if report.begun and not begun:
                begun, self.boot_s = True, self.wall_s
            if lines or not begun or len(report.steps) > seen:
                heard_s = spent_s
            if told is not None and len(report.steps) > seen:
                told(report)
            seen = len(report.steps)
            limit_s = self._options.limit_s if begun else self._options.boot_limit_s
            what = f"step {seen + 1} of {steps}" if begun else "boot"
            if spent_s > limit_s:
                self._hang(f"it did not come to the end of its {what} within {limit_s:.0f} s")
            if spent_s - heard_s > self._options.silent_limit_s:
                self._hang(f"nothing was heard of its {what} for {self._options.silent_limit_s:.0f} s")
        for line in self._new_lines():
            said(line)
        self.wall_s = time.monotonic() - self._began_s
        report = self.report()
        if report.failed:
            raise self._died(f"its files cannot be mounted: {report.failed}")
        if not report.ended:
            raise self._died(self._how_it_ended())

    def _spent_s(self) -> float:
        """Return what the limits are of: time, or in virtual time CPU time."""
        assert self._process is not None  # noqa: S101 - started
        if self._options.time == "real":
            return self.wall_s
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0.0
        user, system = fields.rpartition(")")[2].split()[11:13]
        return max((int(user) + int(system)) / _TICKS, self.wall_s / STARVED)

    def _hang(self, how: str) -> NoReturn:
        """End a guest that hangs; GuestDied with where it was."""
        self._backtrace()
        what = "" if self._options.time == "real" else " of CPU time"
        raise self._died(f"{how}{what}", hung=True)

    def _new_lines(self) -> list[str]:
        """Return the whole lines of the third serial port that were not returned yet."""
        written = self._read("lines")[self._seen_lines :]
        whole = written[: written.rfind(b"\n") + 1]
        self._seen_lines += len(whole)
        return [line.decode(errors="replace").rstrip("\r") for line in whole.splitlines()]

    def _how_it_ended(self) -> str:
        assert self._process is not None  # noqa: S101 - started
        status = self._process.returncode
        lines = self._read("qemu").decode(errors="replace").splitlines()
        # Its monitor has a prompt of its own.
        said = [line for line in lines if line.strip() and not line.startswith(("(qemu)", "QEMU "))]
        last = f": {said[-1]}" if said else ""
        if status < 0:
            return f"its process was ended by signal {-status}{last}"
        return f"QEMU ended with status {status}{last}" if status else "it ended before its job did"

    def _died(self, otherwise: str, *, hung: bool = False) -> GuestDied:
        console = self.console()
        death = death_of(console)
        if death is None or (hung and "NMI" in death.reason):
            return GuestDied(self._kernel.name, otherwise, death.lines if death else last_lines(console))
        return GuestDied(self._kernel.name, death.reason, death.lines, panicked=True)

    def _backtrace(self) -> None:
        """Have a guest that hangs say where: a non-maskable interrupt makes it panic, and panics print the stack."""
        assert self._process is not None  # noqa: S101 - started
        assert self._process.stdin is not None  # noqa: S101 - piped
        with contextlib.suppress(OSError):
            self._process.stdin.write(b"nmi\n")
            self._process.stdin.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_BACKTRACE_S)

    def end(self) -> None:
        """End the process, where it has not ended."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()

    def report(self) -> JobReport:
        """Return what the guest has reported so far."""
        return job.parse(self._read("report"))

    def console(self) -> str:
        """Return what the guest's kernel has written."""
        return self._read("console").decode(errors="replace")

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return b""

"""Files of this machine that go into a guest, by the path that they have there."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels.archive import LINKS
from perfcheck.system import commands

NO_FILES: Final = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/usr/share/lintian")
"""What no program reads."""
_LIBRARY: Final = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_MISSING: Final = re.compile(r"^\s*(\S+) => not found$", re.MULTILINE)
_ELF: Final = b"\x7fELF"
_SHEBANG: Final = re.compile(rb"#!\s*(/\S+)(?:[ \t]+(\S+))?")
_LDD_S: Final = 120.0
_LDD_AT_ONCE: Final = 500
_DPKG_S: Final = 60.0


class MachineFiles:
    """Files, links and empty folders of this machine; what is added twice is there once.

    In the guest /bin, /sbin, /lib and /lib64 are links into /usr, whether or not they are here.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._found: dict[str, Path] = {}

    @property
    def paths(self) -> Mapping[str, Path]:
        """Return this machine's file for each path in the guest, sorted; those paths have no leading slash."""
        return dict(sorted(self._found.items()))

    def add(self, path: Path) -> None:
        """Add a file, a link with the file that it leads to, or an empty folder; others are left out."""
        try:
            mode = path.lstat().st_mode
        except OSError:
            return
        inside = inside_guest(path)
        if inside in self._found or not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            return
        self._found[inside] = path
        if stat.S_ISLNK(mode):
            target = path.parent / path.readlink()
            if target.is_file():
                self.add(target)

    def add_below(self, folder: Path, without: Collection[str] = ()) -> None:
        """Add all below a folder, except what has one of these names."""
        for path in below(folder, without):
            self.add(path)

    def add_programs(self, programs: Iterable[Path]) -> None:
        """Add programs, each script with the programs that interpret it."""
        for program in programs:
            self.add(program)
            for interpreter in _interpreters(program):
                self.add(interpreter)

    def add_libraries(self, required: Collection[Path] = ()) -> None:
        """Add the shared libraries of all that is here, as the dynamic linker finds them.

        LabError where one is missing that a program of `required` is linked with.
        """
        linked = [path for path in self._found.values() if not path.is_symlink() and _begins_with(path, _ELF)]
        must = {os.path.realpath(path) for path in required}
        for program, text in _linked_with(linked):
            missing = _MISSING.search(text)
            if missing is not None and os.path.realpath(program) in must:
                raise LabError(f"{program} cannot go into a guest: its library {missing[1]} is not installed")
            for name in _LIBRARY.findall(text):
                self.add(Path(name))

    def digest(self, *more: str) -> str:
        """Return a digest of all names, sizes and times, and of these texts."""
        found = hashlib.blake2b("\n".join(more).encode(), digest_size=12)
        for inside, path in self.paths.items():
            status = path.lstat()
            found.update(f"{inside}\0{path}\0{status.st_mode}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return found.hexdigest()


def inside_guest(path: Path) -> str:
    """Return the path that a file of this machine has in a guest, without the leading slash."""
    inside = str(Path(os.path.realpath(path.parent)) / path.name)[1:]
    first, slash, rest = inside.partition("/")
    return f"{LINKS[first]}/{rest}" if slash and first in LINKS else inside


def below(folder: Path, without: Collection[str] = ()) -> Iterator[Path]:
    """Yield files, links and empty folders below a folder that all users can read, in one order."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    if not entries:
        yield folder
    for entry in entries:
        if entry.name in without:
            continue
        if entry.is_symlink():
            yield Path(entry.path)
        elif entry.is_dir():
            if entry.stat().st_mode & stat.S_IXOTH:
                yield from below(Path(entry.path), without)
        elif entry.is_file() and entry.stat().st_mode & stat.S_IROTH:
            yield Path(entry.path)


def packaged_with(programs: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files of the Debian packages that programs are of, such as their plugins; none without dpkg."""
    try:
        query = commands.find("dpkg-query")
    except Unavailable:
        return ()
    names = {name for program in programs for name in (str(program), os.path.realpath(program))}
    # Packages name files as they were before /bin became a link.
    names |= {name.removeprefix("/usr") for name in names if name.startswith(("/usr/bin/", "/usr/sbin/"))}
    owned = _output([query, "-S", *sorted(names)])
    packages = sorted({line.partition(": ")[0] for line in owned if ": /" in line and "," not in line})
    listed = _output([query, "-L", *packages]) if packages else []
    return tuple(Path(line) for line in listed if line.startswith("/") and not line.startswith(NO_FILES))


def _output(argv: list[str]) -> list[str]:
    """Return the lines that a command writes; a status that is not 0 says only that something was not found."""
    done = commands.finish(commands.popen(argv), argv, timeout_s=_DPKG_S, error=LabError)
    return done.stdout.decode(errors="replace").splitlines()


def _begins_with(path: Path, begin: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(begin)) == begin
    except OSError:
        return False


def _interpreters(program: Path) -> Iterator[Path]:
    """Yield the programs that a script's first line names; `env` finds the second one in PATH."""
    try:
        with program.open("rb") as file:
            named = _SHEBANG.match(file.read(256))
    except OSError:
        return
    if named is None:
        return
    interpreter = Path(os.fsdecode(named[1]))
    yield interpreter
    if interpreter.name == "env" and named[2] is not None:
        try:
            yield Path(commands.find(os.fsdecode(named[2])))
        except Unavailable:
            return


def _linked_with(programs: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield what ldd says of each program."""
    for begin in range(0, len(programs), _LDD_AT_ONCE):
        chosen = programs[begin : begin + _LDD_AT_ONCE]
        argv = ["ldd", *map(str, chosen)]
        done = commands.finish(commands.popen(argv), argv, timeout_s=_LDD_S, error=LabError)
        text = done.stdout.decode(errors="replace")
        if len(chosen) == 1:
            yield chosen[0], text
            continue
        parts = re.split(r"^(/\S.*):$", text, flags=re.MULTILINE)
        yield from ((Path(name), said) for name, said in zip(parts[1::2], parts[2::2], strict=True))

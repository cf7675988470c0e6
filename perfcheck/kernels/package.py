"""Takes a kernel out of a Debian package (deb(5)), which somebody else made and may have made to do harm.

Nothing is extracted by its own name: the image, the config and the modules are written where this module wants them,
all else is only looked at.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from perfcheck.errors import CouldNotMeasure, UsageError
from perfcheck.kernels.parts import Parts, is_wanted, opened
from perfcheck.model.printable import printable
from perfcheck.system import commands

MAGIC: Final = b"!<arch>\n"
_MAX_CONTROL_BYTES: Final = 1 << 20
_MAX_HEADER_BYTES: Final = 1 << 20
"""What tarfile may read between two files; it keeps long names in memory."""
_END_TIMEOUT_S: Final = 60.0
_LONGEST_NAME: Final = 60


def is_package(path: Path) -> bool:
    """Return whether a file begins as a Debian package does; UsageError where it cannot be read."""
    with opened(path) as stream:
        return stream.read(len(MAGIC)) == MAGIC


def package_fields(path: Path) -> tuple[str, str]:
    """Return name and version of a package; UsageError where it has none."""
    with _members(path, "--ctrl-tarfile") as members:
        for member, content in members:
            if member.isreg() and member.name in {"./control", "control"} and member.size <= _MAX_CONTROL_BYTES:
                fields = _fields(content.read().decode("utf-8", "replace"))
                if "Package" in fields and "Version" in fields:
                    return fields["Package"], fields["Version"]
    raise UsageError(f"{path}: not a Debian package: it has no name and version")


def _fields(control: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in control.splitlines() if not line[:1].isspace())
    return {name: printable(value.strip())[:200] for name, colon, value in pairs if colon}


def add_package(parts: Parts, path: Path) -> None:
    """Add what a package has of a kernel; UsageError for a package that has something no kernel's has."""
    releases: set[str] = set()
    with _members(path, "--fsys-tarfile") as members:
        for member, content in members:
            parts.count(member.size)
            name = _safe_name(path, member)
            match name.parts:
                case ("boot", file) if file.startswith("vmlinuz-"):
                    parts.add_image(_regular(path, member, content))
                case ("boot", file) if file.startswith("config-"):
                    parts.add_config(_regular(path, member, content))
                # Debian's place for both since 6.19.
                case ("lib", "modules", _, "vmlinuz") | ("usr", "lib", "modules", _, "vmlinuz"):
                    parts.add_image(_regular(path, member, content))
                case ("lib", "modules", _, "config") | ("usr", "lib", "modules", _, "config"):
                    parts.add_config(_regular(path, member, content))
                case ("lib", "modules", release, *rest) | ("usr", "lib", "modules", release, *rest) if rest:
                    if member.isdir() or rest[0] in {"build", "source"} or not is_wanted(PurePosixPath(*rest)):
                        continue
                    releases.add(release)
                    if len(releases) > 1:
                        raise UsageError(f"{path}: has modules of several kernels: {', '.join(sorted(releases))}")
                    parts.add_module_file(PurePosixPath(*rest), _regular(path, member, content))


def _safe_name(path: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Return a member's name; UsageError for one that would lead out of the package, and for a device."""
    name = PurePosixPath(member.name)
    shown = ascii(member.name[:_LONGEST_NAME])
    if _leads_out(name) or "\0" in member.name:
        raise UsageError(f"{path}: refused: {shown} is a path out of the package")
    if member.issym() and _leads_out(name.parent / member.linkname) and name.name not in {"build", "source"}:
        raise UsageError(f"{path}: refused: {shown} is a link out of the package")
    if member.islnk() and _leads_out(PurePosixPath(member.linkname)):
        raise UsageError(f"{path}: refused: {shown} is a link out of the package")
    if member.isdev():
        raise UsageError(f"{path}: refused: {shown} is a device or pipe")
    return name


def _leads_out(name: PurePosixPath) -> bool:
    depth = 0
    for part in name.parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or part == "/":
            return True
    return name.is_absolute()


def _regular(path: Path, member: tarfile.TarInfo, content: IO[bytes] | None) -> IO[bytes]:
    if content is None or not member.isreg():
        raise UsageError(f"{path}: refused: {member.name[:_LONGEST_NAME]!a} is not a regular file")
    return content


class _Metered:
    """A stream that may not give more than is allowed: tarfile itself sets no limit to names and extensions."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = _MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self.left -= len(block)
        if self.left < 0:
            raise tarfile.ReadError("the header of a file is too long")
        return block


@contextmanager
def _members(path: Path, part: str) -> Iterator[Iterator[tuple[tarfile.TarInfo, IO[bytes]]]]:
    """Yield the files of one of a package's two archives, each with its content, as they come."""
    argv = ["dpkg-deb", part, str(path)]
    process = commands.popen(argv)
    stdout = cast("IO[bytes]", process.stdout)
    try:
        metered = _Metered(stdout)
        try:
            with tarfile.open(fileobj=metered, mode="r|", encoding="utf-8") as archive:  # type: ignore[call-overload]
                yield _each(archive, metered)
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise UsageError(f"{path}: {_why(commands.kill(process), error)}") from None
        _drain(stdout, path)
        done = commands.finish(process, argv, timeout_s=_END_TIMEOUT_S, error=CouldNotMeasure)
        if done.returncode != 0:
            raise UsageError(f"{path}: {_why(done.stderr, None)}")
    finally:
        commands.kill(process)


def _drain(stream: IO[bytes], path: Path) -> None:
    """Read the rest, after the archive's end or after what was wanted, so that dpkg-deb can end well."""
    if len(stream.read(_MAX_HEADER_BYTES)) == _MAX_HEADER_BYTES:
        raise UsageError(f"{path}: not a whole Debian package: more data after its end")


def _each(archive: tarfile.TarFile, metered: _Metered) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for member in archive:
        metered.left = member.size + _MAX_HEADER_BYTES
        content = archive.extractfile(member) if member.isreg() else None
        yield member, content  # type: ignore[misc]


def _why(said: bytes, error: Exception | None) -> str:
    words = said.decode(errors="replace").strip().splitlines()
    reason = words[-1].removeprefix("dpkg-deb: error: ") if words else str(error)
    return f"not a whole Debian package: {reason[:200]}"

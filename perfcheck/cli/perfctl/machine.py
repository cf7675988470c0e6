"""Checks that what the options name is there: processes, interfaces, cgroups, namespaces, files."""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perfcheck.cli.perfctl.values import hint
from perfcheck.errors import UsageError
from perfcheck.model.units import shown
from perfcheck.system import netns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfcheck.model.interval import LiveRequest

CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERS: Final = "cgroup.procs"
_NS_GET_NSTYPE: Final = 0xB703
"""ioctl_ns(2)"""
_CLONE_NEWNET: Final = 0x40000000
_PROC: Final = Path("/proc")


def resolved(request: LiveRequest) -> LiveRequest:
    """Return a live request whose namespaces are names or paths and whose cgroup is a whole path, all of them there."""
    spaces = tuple(_namespace(each) for each in request.netns)
    paths = [netns.path_of(each) for each in spaces]
    inodes = [Path(path).stat().st_ino for path in paths]
    if len(set(inodes)) < len(inodes):
        raise UsageError("--netns: two values name the same network namespace; give it once")
    filters = request.filter
    if filters.pid is not None and not (_PROC / str(filters.pid)).is_dir():
        raise UsageError(f"--pid: there is no process {filters.pid}; see `ss -tp` for processes with connections")
    if filters.cgroup is not None:
        filters = replace(filters, cgroup=_cgroup(filters.cgroup))
    if filters.interface is not None:
        _check_interface(filters.interface, paths)
    return replace(request, filter=filters, netns=spaces)


def _namespace(text: str) -> str:
    """Return the name of `ip netns`, where it has one, or the path of the namespace of a path or a process."""
    named = netns.NETNS_DIR / text
    nearest = "; `ip netns` lists them"
    if text.isdecimal() and text.isascii() and not named.exists():
        place, missing = Path(f"/proc/{text}/ns/net"), f"there is no process {text}"
    elif "/" in text:
        place, missing = Path(text).absolute(), f"there is no file {shown(text)}"
    else:
        known = sorted(each.name for each in _entries(netns.NETNS_DIR))
        place, missing = named, f"there is no network namespace {shown(text)}"
        nearest = hint(text, known) or nearest
    try:
        is_there = place.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except PermissionError:
        raise UsageError(
            f"--netns: {shown(str(place))} cannot be opened; run as root in the first PID namespace"
        ) from None
    except OSError:
        raise UsageError(f"--netns: {missing}{nearest}") from None
    if not is_there or not _is_network(place):
        raise UsageError(f"--netns: {shown(text)} is not a network namespace; `ip netns` lists them")
    return place.name if place.parent == netns.NETNS_DIR else str(place)


def _is_network(place: Path) -> bool:
    """Return whether a namespace's file is that of a network namespace; all kinds are of one file system."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    finally:
        os.close(descriptor)


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _cgroup(text: str) -> str:
    below = Path(text)
    if below.is_relative_to(CGROUPS):
        below = below.relative_to(CGROUPS)
    elif below.is_absolute():
        below = below.relative_to("/")
    folder = CGROUPS / below
    if ".." in below.parts:
        raise UsageError(f"--cgroup: expected a path below {CGROUPS} without '..', got {shown(text)}")
    if not folder.is_dir():
        known = [each.name for each in _entries(folder.parent) if each.is_dir()]
        raise UsageError(f"--cgroup: there is no cgroup {shown(str(folder))}"
                         f"{hint(folder.name, known) or '; /proc/PID/cgroup has that of a process'}")  # fmt: skip
    if not (folder / _MEMBERS).exists():
        raise UsageError(f"--cgroup: {shown(str(folder))} is not a cgroup; /proc/PID/cgroup has a process's")
    return str(folder)


def _check_interface(name: str, paths: Sequence[str]) -> None:
    known: set[str] = set()
    if not paths:
        known = {each for _, each in socket.if_nameindex()}
    else:
        with netns.NetnsThread() as thread:
            for path in paths:
                try:
                    known |= {each for _, each in thread.inside(path, socket.if_nameindex)}
                except OSError:
                    return  # without the right to enter it, opening the collectors says what is missing
    if name not in known:
        where = " in --netns" if paths else ""
        raise UsageError(f"--interface: there is no interface {shown(name)}{where}"
                         f"{hint(name, sorted(known)) or '; `ip link` lists them'}")  # fmt: skip


def check_files(args: argparse.Namespace) -> None:
    """Raise UsageError where a recording is not there, or a file of results cannot be written."""
    recording: Path | None = args.recording
    output: Path | None = args.output_file
    history: Path | None = getattr(args, "history_file", None)
    saved: Path | None = getattr(args, "save", None)
    if recording is not None:
        _check_recording("--from", recording)
    textfile: Path | None = getattr(args, "prometheus_textfile", None)
    for option, file in (
        ("--output-file", output), ("--history-file", history), ("--save", saved), ("--report", args.report),
        ("--prometheus-textfile", textfile),
    ):  # fmt: skip
        if file is not None:
            check_writable(option, file)
    if output is not None and recording is not None and output.exists() and output.samefile(recording):
        raise UsageError("--output-file: is the recording of --from, which would be overwritten; name another file")


def _check_recording(option: str, file: Path) -> None:
    if not file.exists():
        raise UsageError(f"{option}: there is no file {shown(str(file))}; `perfctl record` writes recordings")
    if file.is_dir():
        raise UsageError(f"{option}: {shown(str(file))} is a folder; name the recording in it")
    if not os.access(file, os.R_OK):
        raise UsageError(f"{option}: {shown(str(file))} cannot be read; check its permissions")


def check_writable(option: str, file: Path) -> None:
    """Raise UsageError unless the file can be made or written."""
    folder = file.parent
    if file.is_dir():
        raise UsageError(f"{option}: {shown(str(file))} is a folder; add a file name")
    if not folder.is_dir():
        raise UsageError(f"{option}: there is no folder {shown(str(folder))}; make it first, or name another one")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise UsageError(f"{option}: {shown(str(file))} cannot be written; check the permissions, or name another file")

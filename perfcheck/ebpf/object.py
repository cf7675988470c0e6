"""Puts a compiled image into the kernel: maps, typed tracepoints, iterators; and takes it out again."""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.ebpf import functions, kprobe, libbpf
from perfcheck.ebpf.image import Image, MapImage, ProgramImage
from perfcheck.ebpf.ringbuf import MappedRing
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.errors import Unavailable

_INSTRUCTION: Final = struct.Struct("<BBhi")
_PSEUDO_MAP_FD: Final = 1
_ATTACH: Final = {
    "tp_btf": libbpf.ATTACH_RAW_TP, "iter": libbpf.ATTACH_ITER, "fentry": libbpf.ATTACH_FENTRY,
    "fexit": libbpf.ATTACH_FEXIT,
}  # fmt: skip
_FUNCTIONS: Final = frozenset({"fentry", "fexit", "kprobe", "kretprobe"})
_MAP_ITERATORS: Final = frozenset({"bpf_sk_storage_map"})
_PROBES: Final = frozenset({"kprobe", "kretprobe"})
SCALARS: Final = {
    "char": "S1", "signed char": "i1", "unsigned char": "u1", "short": "i2", "unsigned short": "u2", "int": "i4",
    "unsigned int": "u4", "long": "i8", "unsigned long": "u8", "long long": "i8", "unsigned long long": "u8",
    "_Bool": "?",
}  # fmt: skip


def dtype_of(layout: str) -> np.dtype[Any]:
    """Make a numpy type of BCC's JSON description of a C type: `"int"` or `[name, [[member, type, [n]]...], kind]`."""
    return _dtype(json.loads(layout))


def _dtype(description: Any) -> np.dtype[Any]:
    if isinstance(description, str):
        return np.dtype(SCALARS[description])
    fields: list[Any] = []
    for name, kind, *length in description[1]:
        one = _dtype(kind)
        fields.append((name, one, tuple(length[0])) if length else (name, one))
    return np.dtype(fields, align=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that is loaded; it runs while `link_fd` is open (-1: detached)."""

    name: str
    prog_fd: int
    link_fd: int


class BpfObject:
    """All maps and programs of an image, loaded and attached; closes what it made when loading fails."""

    def __init__(
        self, image: Image, sizes: Mapping[str, int], optional: Collection[str] = (),
        clock: RunClock | None = None, sampled: Collection[str] = (),
    ) -> None:  # fmt: skip
        """Load; `sizes` gives maps' numbers of elements, `optional` targets whose absence is tolerated.

        `clock` times the programs; of them, `sampled` are those that may be detached and attached meanwhile.
        """
        self._lib = libbpf.Libbpf()
        self._clock = RunClock() if clock is None else clock
        self._fds: dict[str, int] = {}
        self._views: dict[str, tuple[mmap.mmap, npt.NDArray[Any]]] = {}
        self._images = {one.name: replace(one, max_entries=sizes.get(one.name, one.max_entries)) for one in image.maps}
        self.programs: dict[str, Program] = {}
        self.missing: list[str] = []
        try:
            for one in self._images.values():
                self._fds[one.name] = self._create(one)
            for program in image.programs:
                self._load(program, program.name in optional)
            fds = {name: program.prog_fd for name, program in self.programs.items()}
            self._clock.watch(tuple(fds.values()), [fd for name, fd in fds.items() if name in sampled])
        except BaseException:
            self.close()
            raise

    @property
    def timed(self) -> bool:
        """Whether the kernel times the programs."""
        return not self._clock.refused

    def _create(self, image: MapImage) -> int:
        btf_fd = -1
        try:
            if image.type == libbpf.MAP_SK_STORAGE:
                btf_fd = self._lib.btf_load(libbpf.storage_btf(image.value_bytes))
            return self._lib.map_create(
                image.type, image.name, image.key_bytes, image.value_bytes, image.max_entries, image.flags,
                (btf_fd, 1, 4) if btf_fd >= 0 else None,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"BPF map {image.name}", str(error), _fix(error)) from error
        finally:
            if btf_fd >= 0:
                os.close(btf_fd)

    def _load(self, image: ProgramImage, optional: bool) -> None:
        prog_fd = -1
        try:
            prog_fd = self._put_in(image)
            link_fd = self._attach(image, prog_fd)
        except (OSError, Unavailable) as error:
            if prog_fd >= 0:
                os.close(prog_fd)
            # A hook may be missing; a program that the verifier refuses is a mistake of ours, but for functions:
            # kernels that cannot trace them refuse there, too.
            if optional and (image.kind in _FUNCTIONS or not isinstance(error, libbpf.VerifierError)):
                self.missing.append(image.name)
                return
            if isinstance(error, OSError):
                why = f"{error} {getattr(error, 'log', '')}".strip()
                raise Unavailable(f"{image.kind}/{image.target}", why, _fix(error)) from error
            raise
        self.programs[image.name] = Program(name=image.name, prog_fd=prog_fd, link_fd=link_fd)

    def _attach(self, image: ProgramImage, prog_fd: int) -> int:
        if image.kind == "iter":
            if image.target not in _MAP_ITERATORS:
                return self._lib.link_create(prog_fd, 0, libbpf.ATTACH_ITER)
            return self._lib.attach_map_iterator(prog_fd, self._iterated())
        if image.kind in _PROBES:
            return kprobe.attach(self._lib, prog_fd, image.target, at_return=image.kind == "kretprobe")
        return self._lib.attach_tracepoint(prog_fd)

    def _put_in(self, image: ProgramImage) -> int:
        code = self._linked(image)
        if image.kind in _PROBES:
            kprobe.require_source()
            return self._lib.prog_load(image.target, code, 0, 0, kind=kprobe.PROG_KPROBE)
        attach = _ATTACH[image.kind]
        if image.btf_id or image.kind not in _FUNCTIONS:
            _require_hook(image)
            return self._lib.prog_load(image.target, code, attach, image.btf_id)
        with functions.found(image.target) as location:
            return self._lib.prog_load(image.target, code, attach, location.btf_id, btf_fd=location.btf_fd)

    def _iterated(self) -> int:
        return next(self._fds[one.name] for one in self._images.values() if one.type == libbpf.MAP_SK_STORAGE)

    def _linked(self, image: ProgramImage) -> bytes:
        """Put the maps' descriptors into the instructions."""
        code = bytearray(image.code)
        for index, name in image.maps.items():
            opcode, registers, offset, _ = _INSTRUCTION.unpack_from(code, index * _INSTRUCTION.size)
            registers = registers & 0xF | _PSEUDO_MAP_FD << 4
            _INSTRUCTION.pack_into(code, index * _INSTRUCTION.size, opcode, registers, offset, self._fds[name])
        return bytes(code)

    def view(self, name: str) -> npt.NDArray[Any]:
        """Return an array map's elements as memory that user space and kernel share (BPF_F_MMAPABLE)."""
        if name not in self._views:
            image = self._images[name]
            dtype = dtype_of(image.value_layout)
            if dtype.itemsize != image.value_bytes:
                raise Unavailable(
                    f"BPF map {name}", f"its element has {image.value_bytes} bytes, not {dtype.itemsize}",
                    "report this: the compiler lays the struct out unexpectedly",
                )  # fmt: skip
            padded = -image.value_bytes % 8
            if padded:
                dtype = np.dtype([("value", dtype), ("pad", "u1", (padded,))])
            memory = mmap.mmap(self._fds[name], -(-dtype.itemsize * image.max_entries // mmap.PAGESIZE) * mmap.PAGESIZE)
            self._views[name] = memory, np.frombuffer(memory, dtype, image.max_entries)
        return self._views[name][1]

    def ring(self, name: str) -> MappedRing:
        """Map a ring buffer for reading; the type of its records is what its declaration says."""
        image = self._images[name]
        return MappedRing(self._fds[name], image.max_entries, dtype_of(image.value_layout))

    def replace_keys(self, name: str, old: Collection[int], new: Mapping[int, int]) -> None:
        """Make a hash map of 32-bit keys and values hold `new` after it held the keys `old`."""
        for key in set(old) - set(new):
            self._lib.map_delete(self._fds[name], key.to_bytes(4, "little"))
        for key, value in new.items():
            self._lib.map_update(self._fds[name], key.to_bytes(4, "little"), value.to_bytes(4, "little"))

    def put(self, name: str, key: bytes, value: bytes) -> None:
        """Set one element of a hash map."""
        self._lib.map_update(self._fds[name], key, value)

    def clear(self, name: str) -> None:
        """Delete all elements of a hash map."""
        self._lib.map_clear(self._fds[name], self._images[name].key_bytes)

    def run_iterator(self, target: str) -> bytes:
        """Run an iterator's program once for each element; give what it wrote."""
        return self._lib.run_iterator(self.programs[target].link_fd)

    def open_iterator(self, target: str) -> int:
        """Return a descriptor whose first read(2) runs an iterator's program; it is good for one."""
        return self._lib.open_iterator(self.programs[target].link_fd)

    def detach(self, target: str) -> int:
        """Let a program run no more; gives its descriptor, by which it may be attached again."""
        program = self.programs[target]
        if program.link_fd >= 0:
            os.close(program.link_fd)
            self.programs[target] = replace(program, link_fd=-1)
        return program.prog_fd

    def attach(self, target: str) -> None:
        """Let a detached program run again."""
        program = self.programs[target]
        if program.link_fd < 0:
            self.programs[target] = replace(program, link_fd=self._lib.attach_tracepoint(program.prog_fd))

    def counters(self) -> dict[str, libbpf.RunCounters]:
        """Run time and calls of each program since it was loaded; estimated where they run often (RunClock).

        Calls that the kernel skipped are exact.
        """
        counted = self._clock.counters({name: program.prog_fd for name, program in self.programs.items()})
        return {name: self._with_missed(self.programs[name], one) for name, one in counted.items()}

    def _with_missed(self, program: Program, counted: libbpf.RunCounters) -> libbpf.RunCounters:
        """What a kprobe skipped the kernel counts apart from what the program did."""
        if program.name.partition("/")[0] not in _PROBES or program.link_fd < 0:
            return counted
        return replace(counted, missed=counted.missed + (kprobe.missed(self._lib, program.link_fd) or 0))

    def run_ns(self, *, without: Collection[str] = ()) -> int:
        """Run time of all programs since they were loaded, as it was known about a second ago at the latest.

        Those named in `without` are left out.
        """
        chosen = [program.prog_fd for name, program in self.programs.items() if name not in without]
        return self._clock.known_ns(chosen)

    def map_bytes(self) -> int:
        """Memory that the kernel keeps for the maps, as it accounts for it."""
        return sum(libbpf.map_memory(fd) for fd in self._fds.values())

    def _descriptors(self) -> Iterator[int]:
        for program in self.programs.values():
            yield from (fd for fd in (program.link_fd, program.prog_fd) if fd >= 0)
        yield from self._fds.values()

    def close(self) -> None:
        """Detach and unload; safe to call twice."""
        self._clock.forget([program.prog_fd for program in self.programs.values()])
        for fd in self._descriptors():
            os.close(fd)
        self.programs.clear()
        self._fds.clear()
        self._views.clear()


def _require_hook(image: ProgramImage) -> None:
    if not image.btf_id:
        raise Unavailable(f"{image.kind}/{image.target}", "this kernel has no such hook", "use a newer kernel")


def _fix(error: OSError) -> str:
    if isinstance(error, libbpf.VerifierError) and error.log:
        return "report this, with the output of `uname -r`: the kernel's verifier does not accept the program"
    if error.errno in {1, 13}:
        return "run as root (CAP_BPF and CAP_PERFMON), outside a container that forbids bpf(2)"
    return "a kernel of 5.13 or later with CONFIG_BPF_SYSCALL=y, CONFIG_BPF_EVENTS=y and CONFIG_DEBUG_INFO_BTF=y"

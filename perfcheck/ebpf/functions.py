"""Functions of the kernel and of its modules, for programs that attach to them if the kernel allows it."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from perfcheck.ebpf import cache, kprobe
from perfcheck.ebpf.libbpf import ATTACH_FENTRY, Libbpf
from perfcheck.errors import Unavailable
from perfcheck.system.modules import loaded_modules

FUNCTIONS: Final = ("fib_table_lookup", "fib6_table_lookup", "nf_conntrack_in")
"""What has been asked for once is looked up together: reading the kernel's types takes longest."""
MODULES: Final[Mapping[str, str]] = MappingProxyType({"nf_conntrack_in": "nf_conntrack"})
"""Where functions are that a kernel may have in a module."""
_FIX: Final = (
    "use a kernel with CONFIG_FUNCTION_TRACER=y and CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y, such as Debian's"
)
_FIX_KPROBE: Final = "use a kernel with CONFIG_KPROBE_EVENTS=y, and modprobe the module that has the function"
_RETURN_0: Final = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BtfLocation:
    """Where a function's type is: its id in the BTF of `btf_fd`, 0 being the kernel's own."""

    btf_id: int
    btf_fd: int


@contextlib.contextmanager
def found(name: str) -> Iterator[BtfLocation]:
    """Return where a function's type is, valid in the block; Unavailable where the running kernel does not have it."""
    lib = Libbpf()
    names = FUNCTIONS if name in FUNCTIONS else (name,)
    try:
        known = cache.numbers(cache.FUNCTIONS, names, lib.kernel_functions)
    except OSError as error:
        raise Unavailable(name, str(error), _FIX) from error
    location = BtfLocation(btf_id=known[name], btf_fd=0) if name in known else _in_module(lib, name)
    try:
        yield location
    finally:
        if location.btf_fd:
            os.close(location.btf_fd)


def _in_module(lib: Libbpf, name: str) -> BtfLocation:
    module = MODULES.get(name)
    if module is None:
        raise Unavailable(name, "this kernel's BTF has no such function", "use another kernel, such as Debian's")
    try:
        return BtfLocation(btf_id=lib.module_function(module, name), btf_fd=lib.module_btf(module))
    except OSError as error:
        raise Unavailable(
            name,
            f"the function is neither in the kernel nor in the module {module}: {error.strerror}",
            f"modprobe {module}",
        ) from error


class Attachment(StrEnum):
    """How a program is attached to a function's begin and return."""

    FENTRY = "fentry"
    """fentry and fexit, through the function tracer: typed, and the cheaper one."""
    KPROBE = "kprobe"
    """kprobe and kretprobe."""

    @property
    def kinds(self) -> tuple[str, str]:
        """`ProgramImage.kind` of the begin and of the return."""
        return ("fentry", "fexit") if self is Attachment.FENTRY else ("kprobe", "kretprobe")


def attachment_to(name: str, only: Attachment | None = None) -> Attachment:
    """Return how the function is traced here, fentry first; tried by attaching a program that does nothing.

    `only` leaves no choice. Unavailable, with each one's reason, where nothing works. The kernel's answer is kept
    until it has loaded other modules.
    """
    if only is not None:
        refusal = _refusal(name, only, loaded_modules())
        if refusal is not None:
            raise refusal
        return only
    try:
        return attachment_to(name, Attachment.FENTRY)
    except Unavailable as refused:
        try:
            return attachment_to(name, Attachment.KPROBE)
        except Unavailable as lacking:
            why = f"{refused.why}; kprobes do not work either: {lacking.why}"
            raise Unavailable(refused.what, why, refused.fix) from lacking


@functools.lru_cache(maxsize=64)
def _refusal(name: str, attachment: Attachment, modules: frozenset[str]) -> Unavailable | None:
    del modules
    try:
        _TRIES[attachment](name)
    except Unavailable as refusal:
        return refusal
    return None


def _try_fentry(name: str) -> None:
    lib = Libbpf()
    with found(name) as location, contextlib.ExitStack() as stack:
        try:
            prog_fd = lib.prog_load(name, _RETURN_0, ATTACH_FENTRY, location.btf_id, btf_fd=location.btf_fd)
            stack.callback(os.close, prog_fd)
            stack.callback(os.close, lib.attach_tracepoint(prog_fd))
        except OSError as error:
            why = f"the kernel refuses fentry programs: {os.strerror(error.errno or 0)}"
            raise Unavailable(f"fentry/{name}", why, _FIX) from error


def _try_kprobe(name: str) -> None:
    kprobe.require_source()
    lib = Libbpf()
    with contextlib.ExitStack() as stack:
        try:
            prog_fd = lib.prog_load(name, _RETURN_0, 0, 0, kind=kprobe.PROG_KPROBE)
            stack.callback(os.close, prog_fd)
            stack.callback(os.close, kprobe.attach(lib, prog_fd, name, at_return=True))
        except OSError as error:
            raise Unavailable(f"kprobe/{name}", os.strerror(error.errno or 0), _FIX_KPROBE) from error


_TRIES: Final[Mapping[Attachment, Callable[[str], None]]] = MappingProxyType(
    {Attachment.FENTRY: _try_fentry, Attachment.KPROBE: _try_kprobe}
)

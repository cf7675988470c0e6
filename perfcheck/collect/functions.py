"""Functions of the kernel and of its modules, to which programs are attached (fentry, fexit) where the kernel can."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from perfcheck.collect import cache
from perfcheck.collect.libbpf import ATTACH_FENTRY, Libbpf
from perfcheck.errors import Unavailable

FUNCTIONS: Final = ("fib_table_lookup", "fib6_table_lookup", "nf_conntrack_in")
"""What has been asked for once is looked up together: reading the kernel's types takes longest."""
MODULES: Final[Mapping[str, str]] = MappingProxyType({"nf_conntrack_in": "nf_conntrack"})
"""Where functions are that a kernel may have in a module."""
_FIX: Final = (
    "use a kernel that traces functions (CONFIG_FUNCTION_TRACER=y and CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y),"
    " such as Debian's"
)
_RETURN_0: Final = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a function's type is: its id in the BTF of `btf_fd`, 0 being the kernel's own."""

    btf_id: int
    btf_fd: int


@contextlib.contextmanager
def found(name: str) -> Iterator[Place]:
    """Give a function's place, valid in the block; Unavailable where the running kernel does not have it."""
    lib = Libbpf()
    names = FUNCTIONS if name in FUNCTIONS else (name,)
    try:
        known = cache.numbers("functions", names, lib.kernel_functions)
    except OSError as error:
        raise Unavailable(name, str(error), _FIX) from error
    place = Place(btf_id=known[name], btf_fd=0) if name in known else _in_module(lib, name)
    try:
        yield place
    finally:
        if place.btf_fd:
            os.close(place.btf_fd)


def _in_module(lib: Libbpf, name: str) -> Place:
    module = MODULES.get(name)
    if module is None:
        raise Unavailable(name, "this kernel's types have no such function", "use another kernel, such as Debian's")
    try:
        return Place(btf_id=lib.module_function(module, name), btf_fd=lib.module_btf(module))
    except OSError as error:
        raise Unavailable(
            name, f"neither the kernel nor a module {module} has it: {error.strerror}", f"modprobe {module}"
        ) from error


def require_traceable(name: str) -> None:
    """Attach a program that does nothing to the function's begin, and take it off; Unavailable where that fails.

    The kernel's answer is kept for as long as this process lives.
    """
    if (refusal := _refusal(name)) is not None:
        raise refusal


@functools.cache
def _refusal(name: str) -> Unavailable | None:
    try:
        _try(name)
    except Unavailable as refusal:
        return refusal
    return None


def _try(name: str) -> None:
    lib, prog_fd, link_fd = Libbpf(), -1, -1
    with found(name) as place:
        try:
            prog_fd = lib.prog_load(name, _RETURN_0, ATTACH_FENTRY, place.btf_id, btf_fd=place.btf_fd)
            link_fd = lib.attach_tracepoint(prog_fd)
        except OSError as error:
            why = f"the kernel refuses a program at a function's begin (fentry): {os.strerror(error.errno or 0)}"
            raise Unavailable(f"fentry/{name}", why, _FIX) from error
        finally:
            for fd in (link_fd, prog_fd):
                if fd >= 0:
                    os.close(fd)

"""Compiles BPF sources with BCC, without kernel headers: run as a child process.

`python -m perfcheck.ebpf.compile TYPES SOURCE...` compiles the sources of one folder as one text, in the
order given, for the kernel with these types (BTF), and prints the image as JSON. LLVM takes 100 MB and ends the
process on an error, so it runs in a process of its own. The standard error of that process is exactly the compiler's
messages.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from perfcheck.ebpf import bcc as bcc_package
from perfcheck.ebpf import cache, kernel_header
from perfcheck.ebpf.btf import Btf, Kind
from perfcheck.ebpf.image import Image, MapImage, ProgramImage, to_json
from perfcheck.errors import CollectError, PerfcheckError
from perfcheck.system.printing import complain, say_json

_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_SYMBOLS: Final = "ffffffff81000000 T bpf_probe_read_kernel\n"  # any address that can be the kernel's
_INSTRUCTION: Final = struct.Struct("<BBhi")
_LOAD_64: Final = 0x18
_PSEUDO_MAP_FD: Final = 1
_ATOMIC_32: Final = 0xC3
_FETCH_ADD: Final = 0x01
_HOOKS: Final = {"tp_btf": "btf_trace_", "iter": "bpf_iter_", "fentry": "", "fexit": "", "kprobe": "", "kretprobe": ""}
_OURS: Final = "on_"
"""Before a kind for which BCC would attach functions so named by itself (`kprobe__`)."""

# What BCC's own headers need of the kernel's, and nothing else. BCC's copy of the UAPI bpf.h gives the rest.
_PRELUDE: Final = """
#pragma once
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8; typedef short __s16; typedef int __s32; typedef long long __s64;
typedef __u8 u8; typedef __u16 u16; typedef __u32 u32; typedef __u64 u64;
typedef __s8 s8; typedef __s16 s16; typedef __s32 s32; typedef __s64 s64;
typedef __u16 __be16; typedef __u32 __be32; typedef __u64 __be64;
typedef __u16 __le16; typedef __u32 __le32; typedef __u64 __le64;
typedef __u16 __sum16; typedef __u32 __wsum;
typedef __u64 __attribute__((aligned(8))) __aligned_u64;
typedef unsigned long size_t; typedef long ssize_t; typedef unsigned long uintptr_t;
typedef _Bool bool;
enum { false, true };
#define LINUX_VERSION_CODE 0x060000
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define CONFIG_BPF_SYSCALL 1
#define __maybe_unused __attribute__((unused))
"""
_EMPTY_HEADERS: Final = (
    "linux/kconfig.h", "linux/bpf_common.h", "linux/log2.h", "linux/version.h", "uapi/linux/bpf.h",
    "uapi/linux/if_packet.h", "uapi/linux/if_ether.h", "uapi/linux/ptrace.h", "asm/page.h",
)  # fmt: skip


def write_tree(root: Path, types: str) -> None:
    """Write the kernel tree that BCC_KERNEL_SOURCE names: just the headers that BCC includes."""
    include = root / "include"
    for name in _EMPTY_HEADERS:
        path = include / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#include <linux/types.h>\n")
    (include / "linux/types.h").write_text(_PRELUDE)
    (include / "kernel_types.h").write_text(types)


def hide_kernel_symbols() -> None:
    """Spare this process, which does nothing but compile, the reading of /proc/kallsyms.

    BCC reads all of it for each text, over 100,000 symbols in a third of the time that a text takes, to find out
    whether there is a bpf_probe_read_kernel; a kernel with typed tracepoints has it (both came with 5.5). So
    a file with that symbol alone is put in its place, in a mount namespace that ends with the process. Without
    CAP_SYS_ADMIN compiling just takes longer.
    """
    libc = ctypes.CDLL(None)
    with tempfile.NamedTemporaryFile("w", prefix="perfcheck-kallsyms-") as file:
        file.write(_SYMBOLS)
        file.flush()
        # Nothing of it may reach the namespace that we came from: mounts are made private first.
        if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None):
            return
        libc.mount(file.name.encode(), b"/proc/kallsyms", None, ctypes.c_ulong(_MS_BIND), None)


def compile_sources(sources: Sequence[Path], btf: Btf) -> Image:
    """Compile for the kernel of these types; BCC's messages go to standard error."""
    folder, label = sources[0].parent, " ".join(source.name for source in sources)
    # BCC rewrites accesses to maps in the main text only, so that sources cannot include one another.
    text = "\n".join(f'#line 1 "{source.name}"\n{source.read_text(encoding="utf-8")}' for source in sources)
    texts = [path.read_text(encoding="utf-8") for path in kernel_header.sources(*sources)]
    bcc = bcc_package.load()
    with tempfile.TemporaryDirectory(prefix="perfcheck-build-") as tree:
        write_tree(Path(tree), kernel_header.header(btf, texts))
        os.environ["BCC_KERNEL_SOURCE"] = tree
        flags = ["-I" + str(folder), "-I" + str(Path(tree) / "include"), "-Wno-unused-function"]
        try:
            module = bcc.BPF(text=text, cflags=flags)
        except Exception as error:  # BCC raises nothing more special
            raise CollectError(f"{label}: BCC cannot compile it: {error}") from error
        return _image(bcc, module, label, btf)


def _image(bcc: ModuleType, module: Any, source: str, btf: Btf) -> Image:
    fds = dict(_tables(bcc, module))
    names = {fd: table.name for fd, table in fds.items()}
    functions = tuple(_functions(bcc, module))
    hooks = hook_ids(btf, functions)
    programs = []
    for function in functions:
        kind, target = attached_to(function)
        code, maps = relocatable(module.dump_func(function.encode()), names)
        programs.append(ProgramImage(kind=kind, target=target, btf_id=hooks[function], code=code, maps=maps))
    return Image(source=source, maps=tuple(fds.values()), programs=tuple(programs))


def attached_to(function: str) -> tuple[str, str]:
    """Return the kind and the target that a function of bpf/ is named by: `tp_btf__X`, `on_kprobe__X`."""
    kind, _, target = function.partition("__")
    return kind.removeprefix(_OURS), target


def hook_ids(btf: Btf, functions: Sequence[str]) -> dict[str, int]:
    """Return what each function attaches to: a `btf_trace_` typedef or a function; 0 where it is missing."""
    wanted = {name: f"{_HOOKS[kind]}{target}" for name in functions for kind, target in [attached_to(name)]}
    found = btf.find((Kind.TYPEDEF, Kind.FUNC), wanted.values())
    return {name: found.get(hook, 0) for name, hook in wanted.items()}


def relocatable(code: bytes, map_names: dict[int, str]) -> tuple[bytes, dict[int, str]]:
    """Take the map descriptors out of the instructions; make 32-bit atomic adds fetching ones (bpf/tcp.bpf.c)."""
    result, maps = bytearray(code), {}
    at = 0
    while at < len(code):
        opcode, registers, offset, immediate = _INSTRUCTION.unpack_from(code, at)
        wide = opcode == _LOAD_64
        if wide and registers >> 4 == _PSEUDO_MAP_FD:
            maps[at // _INSTRUCTION.size] = map_names[immediate]
            _INSTRUCTION.pack_into(result, at, opcode, registers, offset, 0)
        elif opcode == _ATOMIC_32:
            _INSTRUCTION.pack_into(result, at, opcode, registers, offset, _FETCH_ADD)
        at += _INSTRUCTION.size * (2 if wide else 1)
    return bytes(result), maps


def _call(bcc: ModuleType, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(bcc.lib, name)
    function.restype = result
    function.argtypes = [ctypes.c_void_p, *(ctypes.c_size_t for _ in arguments[1:])]
    return function(*arguments)


def _functions(bcc: ModuleType, module: Any) -> Iterator[str]:
    for index in range(_call(bcc, "bpf_num_functions", ctypes.c_size_t, module.module)):
        yield _call(bcc, "bpf_function_name", ctypes.c_char_p, module.module, index).decode()


def _tables(bcc: ModuleType, module: Any) -> Iterator[tuple[int, MapImage]]:
    for index in range(_call(bcc, "bpf_num_tables", ctypes.c_size_t, module.module)):

        def table(what: str, result: Any = ctypes.c_size_t, index: int = index) -> Any:
            return _call(bcc, f"bpf_table_{what}", result, module.module, index)

        yield (
            table("fd_id", ctypes.c_int),
            MapImage(
                name=table("name", ctypes.c_char_p).decode(),
                type=table("type_id", ctypes.c_int),
                key_bytes=table("key_size_id"),
                value_bytes=table("leaf_size_id"),
                max_entries=table("max_entries_id"),
                flags=table("flags_id", ctypes.c_int),
                value_layout=table("leaf_desc_id", ctypes.c_char_p).decode(),
            ),
        )


def main(arguments: list[str]) -> int:
    """Compile and print; status 1 with the reason on standard error."""
    try:
        types, *paths = (Path(argument).resolve() for argument in arguments)
        btf = cache.kernel_types(types)
        hide_kernel_symbols()
        image = compile_sources(paths, btf)
    except PerfcheckError as error:
        complain(str(error))
        return 1
    say_json(to_json(image))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

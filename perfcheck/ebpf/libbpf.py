"""The few functions of libbpf (a dependency of BCC's own library) that the loader needs, through ctypes."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import Unavailable

PROG_SOCKET_FILTER: Final = 1  # BPF_PROG_TYPE_SOCKET_FILTER
PROG_TRACING: Final = 26  # BPF_PROG_TYPE_TRACING
ATTACH_RAW_TP: Final = 23  # BPF_TRACE_RAW_TP
ATTACH_FENTRY: Final = 24  # BPF_TRACE_FENTRY
ATTACH_FEXIT: Final = 25  # BPF_TRACE_FEXIT
ATTACH_ITER: Final = 28  # BPF_TRACE_ITER
MAP_SK_STORAGE: Final = 24
MAP_RINGBUF: Final = 27
F_NO_PREALLOC: Final = 1
_STATS_RUN_TIME: Final = 0
_BTF_KIND_FUNC: Final = 12
_MODULE_NAME_BYTES: Final = 64
_LOG_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 16
_NAME_CHARS: Final = 15  # BPF_OBJ_NAME_LEN less the NUL
_INSTRUCTION_BYTES: Final = 8
_PROG_INFO_BYTES: Final = 224
_RUN_COUNTERS: Final = struct.Struct("=QQQ")  # run_time_ns, run_cnt, recursion_misses
_RUN_COUNTERS_AT: Final = 192

_u32, _fd = ctypes.c_uint32, ctypes.c_int


class _MapOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("btf_fd", _u32),
        ("btf_key_type_id", _u32),
        ("btf_value_type_id", _u32),
        ("btf_vmlinux_value_type_id", _u32),
        ("inner_map_fd", _u32),
        ("map_flags", _u32),
        ("map_extra", ctypes.c_uint64),
        ("numa_node", _u32),
        ("map_ifindex", _u32),
    )


class _ProgOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_int),
        ("prog_btf_fd", _u32),
        ("prog_flags", _u32),
        ("prog_ifindex", _u32),
        ("kern_version", _u32),
        ("attach_btf_id", _u32),
        ("attach_prog_fd", _u32),
        ("attach_btf_obj_fd", _u32),
        ("fd_array", ctypes.c_void_p),
        ("func_info", ctypes.c_void_p),
        ("func_info_cnt", _u32),
        ("func_info_rec_size", _u32),
        ("line_info", ctypes.c_void_p),
        ("line_info_cnt", _u32),
        ("line_info_rec_size", _u32),
        ("log_level", _u32),
        ("log_size", _u32),
        ("log_buf", ctypes.c_char_p),
    )


class _BtfInfo(ctypes.Structure):
    _fields_ = (  # struct bpf_btf_info
        ("btf", ctypes.c_uint64),
        ("btf_size", _u32),
        ("id", _u32),
        ("name", ctypes.c_uint64),
        ("name_len", _u32),
        ("kernel_btf", _u32),
    )


class _LinkOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("flags", _u32),
        ("iter_info", ctypes.c_void_p),
        ("iter_info_len", _u32),
        ("target_btf_id", _u32),
    )


@dataclass(frozen=True, slots=True)
class RunCounters:
    """What the kernel counts of one program; `missed` are runs that it skipped to avoid recursion."""

    run_ns: int
    calls: int
    missed: int


class VerifierError(OSError):
    """The kernel refused a program; `log` is the end of the verifier's log."""

    def __init__(self, errno_: int, program: str, log: str) -> None:
        """Keep the log's tail, where the reason stands."""
        super().__init__(errno_, f"{program}: {os.strerror(errno_)}")
        self.log = log


def _sized(opts: ctypes.Structure) -> ctypes.Structure:
    opts.sz = ctypes.sizeof(opts)
    return opts


class Libbpf:
    """libbpf, loaded; each call raises OSError with the kernel's error number."""

    def __init__(self, name: str = "libbpf.so.1") -> None:
        """Load the library; raise Unavailable where it is missing."""
        try:
            self._lib = ctypes.CDLL(name, use_errno=True)
        except OSError as error:
            raise Unavailable("libbpf", str(error), "apt-get install libbpf1 (python3-bpfcc brings it)") from error
        self._lib.libbpf_set_print(None)

    def _call(self, function: str, *arguments: object) -> int:
        result: int = getattr(self._lib, function)(*arguments)
        if result < 0:
            # libbpf 1.x gives the negative error number itself.
            raise OSError(-result, f"{function}: {os.strerror(-result)}")
        return result

    def btf_load(self, blob: bytes) -> int:
        """Load a BTF blob; give its descriptor."""
        return self._call("bpf_btf_load", blob, ctypes.c_size_t(len(blob)), None)

    def map_create(
        self, kind: int, name: str, key_bytes: int, value_bytes: int, max_entries: int, flags: int,
        btf: tuple[int, int, int] | None = None,
    ) -> int:  # fmt: skip
        """Create a map; `btf` is (descriptor, key type, value type). Give its descriptor."""
        opts = _sized(_MapOpts(map_flags=flags))
        if btf:
            opts.btf_fd, opts.btf_key_type_id, opts.btf_value_type_id = btf
        return self._call(
            "bpf_map_create", kind, name[:_NAME_CHARS].encode(), _u32(key_bytes), _u32(value_bytes), _u32(max_entries),
            ctypes.byref(opts),
        )  # fmt: skip

    def map_update(self, fd: int, key: bytes, value: bytes) -> None:
        """Set one element."""
        self._call("bpf_map_update_elem", _fd(fd), key, value, ctypes.c_uint64(0))

    def map_delete(self, fd: int, key: bytes) -> None:
        """Delete one element."""
        self._call("bpf_map_delete_elem", _fd(fd), key)

    def map_clear(self, fd: int, key_bytes: int) -> None:
        """Delete all elements of a hash map."""
        key = ctypes.create_string_buffer(key_bytes)
        # Without a key to start from the kernel gives the first one; ENOENT (negative) means that there is none.
        while self._lib.bpf_map_get_next_key(_fd(fd), None, key) == 0:
            self._lib.bpf_map_delete_elem(_fd(fd), key)

    def kernel_functions(self, names: Sequence[str]) -> dict[str, int]:
        """Return functions' ids in the kernel's own BTF, without those that it does not have."""
        base = self._btf("btf__load_vmlinux_btf")
        try:
            found = {name: self._lib.btf__find_by_name_kind(base, name.encode(), _BTF_KIND_FUNC) for name in names}
        finally:
            self._lib.btf__free(base)
        return {name: number for name, number in found.items() if number > 0}

    def module_function(self, module: str, name: str) -> int:
        """Return a function's id in the BTF of a module; OSError where that is not loaded, or has none of that name."""
        base = self._btf("btf__load_vmlinux_btf")
        try:
            own = self._btf("btf__load_module_btf", module.encode(), base)
            try:
                return self._call("btf__find_by_name_kind", own, name.encode(), _u32(_BTF_KIND_FUNC))
            finally:
                self._lib.btf__free(own)
        finally:
            self._lib.btf__free(base)

    def _btf(self, function: str, *arguments: object) -> ctypes.c_void_p:
        load = getattr(self._lib, function)
        load.restype = ctypes.c_void_p
        found = load(*arguments)
        if not found:
            number = ctypes.get_errno()
            raise OSError(number, f"{function}: {os.strerror(number)}")
        return ctypes.c_void_p(found)

    def module_btf(self, module: str) -> int:
        """Return a descriptor of a loaded module's BTF; OSError (ENOENT) where there is none."""
        number = _u32(0)
        while True:
            self._call("bpf_btf_get_next_id", number, ctypes.byref(number))
            fd = self._call("bpf_btf_get_fd_by_id", number)
            name = ctypes.create_string_buffer(_MODULE_NAME_BYTES)
            info = _BtfInfo(name=ctypes.addressof(name), name_len=len(name))
            try:
                self._call(
                    "bpf_obj_get_info_by_fd", _fd(fd), ctypes.byref(info), ctypes.byref(_u32(ctypes.sizeof(info)))
                )
            except OSError:
                os.close(fd)
                raise
            if info.kernel_btf and name.value == module.encode():
                return fd
            os.close(fd)

    def prog_load(
        self, name: str, code: bytes, attach_type: int, btf_id: int, *, kind: int = PROG_TRACING, btf_fd: int = 0
    ) -> int:
        """Load a program; raise VerifierError with the reason where the kernel refuses it.

        `btf_fd` is the BTF of the module whose function `btf_id` is; 0: the kernel's own.
        """
        opts = _ProgOpts(expected_attach_type=attach_type, attach_btf_id=btf_id, attach_btf_obj_fd=btf_fd)
        try:
            return self._prog_load(kind, name, code, opts, None)
        except OSError as refused:
            # A log that does not fit makes another error of it.
            number, log = refused.errno or 0, ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return self._prog_load(kind, name, code, opts, log)
        except OSError as error:
            raise VerifierError(number, name, log.value.decode(errors="replace")[-2000:]) from error

    def _prog_load(
        self, kind: int, name: str, code: bytes, opts: ctypes.Structure, log: ctypes.Array[ctypes.c_char] | None
    ) -> int:
        _sized(opts)
        if log is not None:
            opts.log_level, opts.log_size = 1, len(log)
            opts.log_buf = ctypes.cast(log, ctypes.c_char_p)
        return self._call(
            "bpf_prog_load", kind, name[:_NAME_CHARS].encode(), b"GPL", code,
            ctypes.c_size_t(len(code) // _INSTRUCTION_BYTES), ctypes.byref(opts),
        )  # fmt: skip

    def attach_tracepoint(self, prog_fd: int) -> int:
        """Attach a typed tracepoint's or function's program; it stays attached while the descriptor is open."""
        return self._call("bpf_raw_tracepoint_open", None, _fd(prog_fd))

    def attach_map_iterator(self, prog_fd: int, map_fd: int) -> int:
        """Attach an iterator over a map's elements; give the link's descriptor."""
        info = _u32(map_fd)  # union bpf_iter_link_info { struct { __u32 map_fd; } map; }
        opts = _sized(_LinkOpts(iter_info=ctypes.cast(ctypes.byref(info), ctypes.c_void_p), iter_info_len=4))
        return self._call("bpf_link_create", _fd(prog_fd), _fd(0), ATTACH_ITER, ctypes.byref(opts))

    def link_create(self, prog_fd: int, target_fd: int, attach_type: int) -> int:
        """Attach a program to what another descriptor stands for; give the link's."""
        return self._call("bpf_link_create", _fd(prog_fd), _fd(target_fd), attach_type, None)

    def link_info(self, link_fd: int, most_bytes: int) -> bytes:
        """Read a link's struct bpf_link_info, as far as this kernel has it."""
        info = ctypes.create_string_buffer(most_bytes)
        size = _u32(most_bytes)
        self._call("bpf_obj_get_info_by_fd", _fd(link_fd), info, ctypes.byref(size))
        return info.raw[: size.value]

    def open_iterator(self, link_fd: int) -> int:
        """Return a descriptor whose first read(2) runs an iterator's program for each element."""
        return self._call("bpf_iter_create", _fd(link_fd))

    def run_iterator(self, link_fd: int) -> bytes:
        """Run an iterator's program once for each element; give what it wrote (bpf_seq_write)."""
        fd = self.open_iterator(link_fd)
        written = bytearray()
        try:
            while part := os.read(fd, _READ_BYTES):
                written += part
        finally:
            os.close(fd)
        return bytes(written)

    def enable_stats(self) -> int:
        """Let the kernel time programs for as long as the descriptor is open (BPF_ENABLE_STATS)."""
        return self._call("bpf_enable_stats", _STATS_RUN_TIME)

    def run_counters(self, prog_fd: int) -> RunCounters:
        """Read run time, calls and skipped calls of a program since it was loaded."""
        info = ctypes.create_string_buffer(_PROG_INFO_BYTES)
        size = _u32(_PROG_INFO_BYTES)
        self._call("bpf_obj_get_info_by_fd", _fd(prog_fd), info, ctypes.byref(size))
        return RunCounters(*_RUN_COUNTERS.unpack_from(info, _RUN_COUNTERS_AT))


def map_memory(fd: int) -> int:
    """Read how much memory the kernel keeps for a map (`memlock` of /proc/self/fdinfo)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:  # noqa: PTH123 - one line of procfs
        return next((int(line.split()[1]) for line in file if line.startswith("memlock:")), 0)


def storage_btf(value_bytes: int) -> bytes:
    """Return the BTF that the kernel demands of a socket storage map: a 32-bit key (type 1), an opaque value (4)."""
    types: Sequence[bytes] = (
        struct.pack("<IIII", 1, 1 << 24, 4, 1 << 24 | 32),  # 1: int, signed, 32 bits
        struct.pack("<IIII", 5, 1 << 24, 1, 8),  # 2: byte
        struct.pack("<IIIIII", 0, 3 << 24, 0, 2, 1, value_bytes),  # 3: byte[value_bytes]
        struct.pack("<IIIIII", 10, 4 << 24 | 1, value_bytes, 16, 3, 0),  # 4: struct of it
    )
    strings = b"\0int\0byte\0value\0raw\0"
    body = b"".join(types)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings)) + body + strings

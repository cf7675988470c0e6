"""bpf/histogram.h and bpf/scope.bpf.c as the kernel runs them, against the scale that user space computes."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.collect.base import histogram
from perfcheck.ebpf import cache

PROG_TYPE_RAW_TRACEPOINT = 17
HEADERS = """
#include "kernel_types.h"
#include "perfcheck.h"
#include "histogram.h"
"""
PROGRAM = """
int tp_btf__none(u64 *ctx)
{
	return FUNCTION(ctx[0]);
}
"""
FUNCTIONS = {"bucket_of": HEADERS, "bucket_number": (cache.sources() / "scope.bpf.c").read_text()}
"""The core's, which branches, and the other layers', which does not; each with what it needs before it."""


class RunOpts(ctypes.Structure):
    """struct bpf_test_run_opts, as far as it is used."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


@pytest.fixture(scope="module", params=FUNCTIONS)
def kernel_bucket(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[int], int]]:
    """Return a function that runs the kernel's."""
    folder = tmp_path_factory.mktemp("bucket")
    for header in cache.sources().glob("*.h"):
        shutil.copy(header, folder)
    source = folder / "bucket.bpf.c"
    source.write_text(FUNCTIONS[request.param] + PROGRAM.replace("FUNCTION", request.param))
    argv = [sys.executable, "-m", "perfcheck.ebpf.compile", str(cache.VMLINUX), str(source)]
    image = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout)
    (program,) = image["programs"]
    code = bytes.fromhex(program["code"])
    lib = ctypes.CDLL("libbpf.so.1")
    fd = lib.bpf_prog_load(PROG_TYPE_RAW_TRACEPOINT, b"bucket", b"GPL", code, ctypes.c_size_t(len(code) // 8), None)
    assert fd >= 0, os.strerror(-fd)

    def bucket_of(value: int) -> int:
        argument = ctypes.c_uint64(value)
        opts = RunOpts(sz=ctypes.sizeof(RunOpts), ctx_in=ctypes.addressof(argument), ctx_size_in=8)
        status = lib.bpf_prog_test_run_opts(fd, ctypes.byref(opts))
        assert status == 0, os.strerror(-status)
        return int(opts.retval)

    yield bucket_of
    os.close(fd)


@settings(max_examples=500)
@given(value=st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 200_000)))
def test_kernel_and_user_space_agree_on_every_bucket(value: int, kernel_bucket: Callable[[int], int]) -> None:
    assert kernel_bucket(value) == histogram.bucket_of(value)


@pytest.mark.parametrize("shift", range(32))
def test_they_agree_on_both_sides_of_every_octave(shift: int, kernel_bucket: Callable[[int], int]) -> None:
    for value in (2**shift - 1, 2**shift, 2**shift + 1):
        assert kernel_bucket(value) == histogram.bucket_of(value)

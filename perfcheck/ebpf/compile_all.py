"""Compiles several texts at once into the cache; runs as a child process, while the parent does other work.

`python -m perfcheck.ebpf.compile_all JSON`. The JSON is `{"texts": [...], "enumerators": {label: [name, ...]}, "types":
BTF}`, a text `{"sources": [...], "place": ..., "lock": ...}`: the lock is an inherited descriptor that nobody else may
hold until that text is compiled. The kernel's types and the compiler are read once. Each text then has a process of its
own, because LLVM ends the process on an error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from perfcheck.ebpf import bcc as bcc_package
from perfcheck.ebpf import cache
from perfcheck.ebpf import compile as compiling
from perfcheck.ebpf.btf import Btf
from perfcheck.ebpf.image import to_json
from perfcheck.errors import PerfcheckError
from perfcheck.system.printing import complain

_TIMEOUT_S: Final = 120


def _compile(one: Mapping[str, Any], btf: Btf) -> None:
    image = compiling.compile_sources([Path(source) for source in one["sources"]], btf)
    cache.store(Path(one["place"]), to_json(image))


def _fork(one: Mapping[str, Any], waiting: Sequence[Mapping[str, Any]], btf: Btf) -> None:
    """Compile in a process of its own, which alone holds the lock from now on."""
    if os.fork():
        os.close(one["lock"])
        return
    status = 1
    try:
        for other in waiting:
            os.close(other["lock"])
        signal.alarm(_TIMEOUT_S)
        _compile(one, btf)
        status = 0
    except PerfcheckError as error:
        complain(str(error))
    finally:
        os._exit(status)


def main(arguments: Sequence[str]) -> int:
    """Compile all; status 1 where one of them failed."""
    (text,) = arguments
    request = json.loads(text)
    wanted = request["texts"]
    types = Path(request["types"])
    btf = cache.kernel_types(types)
    compiling.hide_kernel_symbols()
    bcc_package.load()
    for index, one in enumerate(wanted):
        _fork(one, wanted[index + 1 :], btf)
    for label, names in request["enumerators"].items():
        cache.numbers(label, names, btf.enumerators, types=types)
    return max(os.wait()[1] != 0 for _ in wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

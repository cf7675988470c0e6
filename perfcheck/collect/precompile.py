"""Compiles several texts at once into the cache: run as a child process, beside one that has other things to do.

`python -m perfcheck.collect.precompile JSON`: a list of `{"sources": [...], "place": ..., "lock": ...}`, the
lock being an inherited descriptor that nobody else may hold until that text is compiled. The kernel's types
and the compiler are read once; each text then has a process of its own, as LLVM ends one on an error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from perfcheck.collect import bcc_package, build, cache, dropreasons
from perfcheck.collect.btf import Btf
from perfcheck.collect.image import to_json
from perfcheck.errors import PerfcheckError
from perfcheck.system.printing import complain

_TIMEOUT_S: Final = 120


def _compile(one: Mapping[str, Any], btf: Btf) -> None:
    image = build.compile_sources([Path(source) for source in one["sources"]], btf)
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
    wanted = json.loads(text)
    btf = cache.kernel_types()
    build.hide_kernel_symbols()
    bcc_package.load()
    for index, one in enumerate(wanted):
        _fork(one, wanted[index + 1 :], btf)
    # Whoever asked for programs of the layers will ask for these next.
    dropreasons.look_up(btf)
    return max(os.wait()[1] != 0 for _ in wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

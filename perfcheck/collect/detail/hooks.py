"""The hooks of detail mode's stations, and the functions that replace tracepoints that older kernels lack."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from perfcheck.collect.base.availability import by_another, lacking
from perfcheck.collect.declared import DETAIL
from perfcheck.ebpf.image import Image
from perfcheck.system.checks import Check

SUBSTITUTES: Final = DETAIL.instead
_FIX: Final = "use a newer kernel, or one that traces functions (fentry), such as Debian's"


def chosen(image: Image) -> Image:
    """Leave out each tracepoint that the kernel does not have, and functions where it has the tracepoint."""
    have = {program.name for program in image.programs if program.btf_id}
    left_out = {function if tracepoint in have else tracepoint for tracepoint, function in SUBSTITUTES.items()}
    return replace(image, programs=tuple(one for one in image.programs if one.name not in left_out))


def parts(loaded: Collection[str]) -> tuple[Check, ...]:
    """Name detail mode's metrics that the programs which are loaded do not give, or give by functions."""
    absent = [one for one, function in SUBSTITUTES.items() if one not in loaded and function not in loaded]
    instead = {one: function for one, function in SUBSTITUTES.items() if function in loaded}
    return (*lacking("detail", absent, _FIX), *by_another("detail", instead))

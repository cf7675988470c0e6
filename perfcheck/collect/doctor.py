"""What the measurement core needs from this machine, as `perfcheck doctor` shows it."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from perfcheck.collect.base.availability import InParts
from perfcheck.collect.kernel import machine
from perfcheck.ebpf import bcc as bcc_package
from perfcheck.ebpf.check import require_bpf_rights
from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.model.seams import Collector
from perfcheck.system.checks import Check, checked


def all_checks(collectors: Iterable[Collector]) -> tuple[Check, ...]:
    """Check BPF's parts, then try each collector itself, opened and closed again, and what only some machines have."""
    return (
        checked("CAP_BPF and CAP_PERFMON", require_bpf_rights),
        checked("libbpf", Libbpf),
        checked("BCC", bcc_package.find),
        *(checked(collector.name, lambda collector=collector: _attach(collector)) for collector in collectors),  # type: ignore[misc]
        *(checked(part, functools.partial(machine.require_part, part)) for part in machine.PARTS),
    )


def _attach(collector: Collector) -> tuple[Check, ...]:
    collector.check()
    try:
        collector.open()
        return collector.parts() if isinstance(collector, InParts) else ()
    finally:
        collector.close()

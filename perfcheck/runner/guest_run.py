"""Measures a scenario in a guest that boots a kernel of the store; the host gets the record back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from perfcheck.collect import compiled_for
from perfcheck.errors import CollectError, CouldNotMeasure
from perfcheck.kernels.full_image import OwnFiles, full_image
from perfcheck.kernels.guest import GuestOptions, Time, boot
from perfcheck.kernels.job import JobReport, Step
from perfcheck.kernels.machine_files import below
from perfcheck.kernels.store import Kernel
from perfcheck.model.printable import printable
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.runner.guest_needs import needs_of
from perfcheck.runner.guest_request import ANSWER, Request, read_answer
from perfcheck.runner.options import RunOptions
from perfcheck.system.programs import LOAD, built, kept_as

MEMORY_MB: Final = 3072
UNPACKED_MB: Final = 6144
"""With the file systems in it, of a kernel that cannot map them."""
SHIFT: Final = 0
"""An instruction takes 1 ns: the guest is as fast as slow machines are, and carries the links of most scenarios."""
HUNG_TASKS: Final = "sysctl.kernel.hung_task_panic=1"
"""A process that waits for ever in the kernel ends the guest, with its stack."""
_REQUEST: Final = "var/lib/perfcheck/request"
_CACHE: Final = "var/cache/perfcheck"
_FOLDER: Final = "/run/perfcheck-guest"
_ANSWER: Final = f"{_FOLDER}/{ANSWER}"
_EVENTS: Final = f"{_FOLDER}/events"
_SERIES: Final = f"{_FOLDER}/series"
_PORT: Final = "/dev/ttyS2"
_SETTLED: Final = 3
"""Steps up to the measurement."""
_ATTEMPTS: Final = 3
"""At each run: what does not count is made again."""
_AROUND_S: Final = 60.0
"""Of the guest's time for each run, beside the traffic: links proved again, and calm waited for."""
_SLOWER: Final = 12.0
"""How many seconds of CPU time a second of the guest may take: as many as busy ones do on a slow machine."""
_START_S: Final = 120.0
"""Of CPU time, for Python to begin, and programs to be attached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPlace:
    """Where a scenario is measured: the kernel, and what time is in the guest."""

    kernel: Kernel
    time: Time = "virtual"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestResult:
    """What a guest has measured: the record, and the bytes of the files beside it where they were asked for."""

    record: RunRecord
    events: bytes
    series: bytes


def measured_in_guest(
    place: GuestPlace, scenario: Scenario, options: RunOptions, stage: Callable[[str, int, int], None]
) -> GuestResult:  # fmt: skip
    """Boot a guest, measure the scenario in it, and return what it measured.

    `stage` is told what begins, how many runs are done, and of how many. GuestDied for a guest that does not come to
    the end; CouldNotMeasure for what the guest itself could not measure.
    """
    kernel = place.kernel
    stage(f"making the image of {kernel.name}", 0, scenario.repeat)
    own = _own_files(kernel, scenario, options)
    image = full_image(kernel, own)
    virtual_s, silent_s = limits_s(scenario)
    steps = _steps(options, virtual_s)
    guest = GuestOptions(
        time=place.time, shift=SHIFT, memory_mb=MEMORY_MB if image.mapped else UNPACKED_MB, mapped=image.mapped,
        limit_s=_SLOWER * virtual_s, silent_limit_s=silent_s, command_line=(HUNG_TASKS,),
    )  # fmt: skip

    def told(report: JobReport) -> None:
        if len(report.steps) == _SETTLED - 1:
            stage(f"starting perfcheck in the guest ({kernel.name})", 0, scenario.repeat)

    stage(f"booting {kernel.name}", 0, scenario.repeat)
    found = boot(kernel, image.write, steps, guest, told, said=lambda line: pass_on(line, stage))
    answer, *files = (report.content for report in found.report.steps[_SETTLED:])
    events, series = (files.pop(0) if asked is not None else b"" for asked in (options.events, options.series))
    return GuestResult(record=_record(answer, kernel), events=events, series=series)


def limits_s(scenario: Scenario) -> tuple[float, float]:
    """Return how long all may take in the guest's time, and how long CPU time may pass between two stages."""
    longest_s = max((_seconds(entry.spec) for entry in scenario.traffic), default=0.0)
    each_s = scenario.warmup_ns / 1e9 + longest_s + _AROUND_S
    return _START_S + scenario.repeat * _ATTEMPTS * each_s, _START_S + _SLOWER * each_s


def _seconds(spec: object) -> float:
    known = [getattr(spec, name, None) for name in ("duration_ns", "timeout_ns")]
    return max((each / 1e9 for each in known if isinstance(each, int)), default=0.0)


def _own_files(kernel: Kernel, scenario: Scenario, options: RunOptions) -> OwnFiles:
    directory = Path.cwd()
    needs = needs_of(scenario, directory)
    request = Request(scenario=scenario, options=_options_inside(options), directory=str(directory))
    contents = {_REQUEST: request.to_bytes()}
    if kernel.btf is not None:
        measure = scenario.measure
        # Cost is measured without any program in the kernel (runner/cost.py).
        mode = "summary" if measure.mode == "cost" else measure.mode
        compiled = compiled_for(kernel.btf, measure.layers, mode, events=options.events is not None)
        contents |= {f"{_CACHE}/{name}": content for name, content in compiled.items()}
    if any(entry.load is not None for entry in scenario.traffic):
        # A guest has no compiler.
        contents[f"{_CACHE}/{kept_as(LOAD)}"] = built(LOAD)
    rules = [path for folder in options.rule_dirs for path in below(folder)]
    return OwnFiles(contents=contents, files=(*needs.files, *rules), programs=needs.programs)


def _options_inside(options: RunOptions) -> RunOptions:
    """Return what of a session's options matters in the guest; the rest is applied to the scenario, or the host's."""
    return RunOptions(
        rule_dirs=tuple(folder.absolute() for folder in options.rule_dirs),
        events=None if options.events is None else Path(_EVENTS),
        series=None if options.series is None else Path(_SERIES),
    )


def _steps(options: RunOptions, timeout_s: float) -> list[Step]:
    python = [sys.executable, "-P", "-m", "perfcheck.runner.in_guest", f"/{_REQUEST}", _FOLDER, _PORT]
    files = [_ANSWER, *(file for file, asked in ((_EVENTS, options.events), (_SERIES, options.series)) if asked)]
    return [
        Step(kind="run", arguments=("ip", "link", "set", "lo", "up")),
        Step(kind="run", arguments=("mkdir", _FOLDER)),
        Step(kind="run", arguments=("env", "PYTHONHASHSEED=0", *python), timeout_s=timeout_s),
        *(Step(kind="read", arguments=(file,)) for file in files),
    ]


def pass_on(line: str, stage: Callable[[str, int, int], None]) -> None:
    """Pass a line of the guest on as a stage; what is none is left out."""
    try:
        found = json.loads(line)
        stage(printable(str(found["text"])[:200]), int(found["done"]), int(found["total"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return


def _record(answer: bytes, kernel: Kernel) -> RunRecord:
    found = read_answer(answer)
    if found.failure:
        raise CouldNotMeasure(f"in a guest with kernel {kernel.name}: {found.failure}")
    try:
        return RunRecord.model_validate_json(found.record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise CollectError(f"the guest's record cannot be read: {printable(first['msg'])}") from None

"""The report of a session: processes that measure keep their records in a folder, and the last one writes it."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

import pytest

from perfcheck.errors import PerfcheckError
from perfcheck.output.jsonl import JsonLinesOutput
from perfcheck.plugin import options
from perfcheck.plugin.workers import RECORDS, SHARED_KEY
from perfcheck.system.defects import defect_line
from perfcheck.system.printing import complain, say


def kept_for_report(config: pytest.Config) -> JsonLinesOutput:
    """Return what keeps this process' records; without pytest-xdist the report is written when the session is over."""
    shared = getattr(config, "workerinput", {}).get(SHARED_KEY)
    if shared is not None:
        return JsonLinesOutput(Path(shared) / RECORDS)
    folder = tempfile.mkdtemp(prefix="perfcheck-report-")
    config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    if hasattr(config, "workerinput"):
        complain("perfcheck: a pytest-xdist worker on another machine cannot take part in --perfcheck-report")
    else:
        config.add_cleanup(partial(write_final_report, config, Path(folder)))
    return JsonLinesOutput(Path(folder) / RECORDS)


def write_final_report(config: pytest.Config, folder: Path) -> None:
    """Write the report of the records in a folder; what goes wrong is told, and is no failure of a test."""
    from perfcheck.report.when_over import write_kept

    try:
        chosen = options.read(config)
        if chosen.report_path is not None and write_kept(folder / RECORDS, chosen.report_path, strict=chosen.strict):
            say(f"perfcheck: report written to {chosen.report_path}")
    except PerfcheckError as error:
        complain(f"perfcheck: {error}")
    except Exception as error:  # noqa: BLE001 - a defect; the session is over, and its results stand
        complain(f"perfcheck: the report was not written: {defect_line(error)}")

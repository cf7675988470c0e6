"""pytest-xdist: the controller's side, small enough to be loaded in runs without scenarios."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import pytest

SHARED_KEY: Final = "perfcheck_shared"
"""In workerinput: the folder in which the workers of a session share what was measured."""

GROUP: Final = "perfcheck"
"""One xdist group for all that measures: it cannot be done side by side, so one worker takes it all."""

LEFT_OUT_KEY: Final = "perfcheck_left_out"
"""In workeroutput: how many scenarios the worker deselected; all workers collect the same."""

RECORDS: Final = "records.jsonl"
"""In the shared folder: the records of all workers, where the session has a report."""

_FOLDER: Final = pytest.StashKey[str]()
_LEFT_OUT: Final = pytest.StashKey[int]()


def share_with_worker(
    config: pytest.Config,
    workerinput: MutableMapping[str, Any],
    spec: Any,
    at_end: Callable[[Path], None] | None = None,
) -> None:
    """Tell a worker of this machine the shared folder, which is gone when the controller ends.

    `spec` is execnet's of the worker. `at_end` is called with the folder before it goes. On another machine
    the folder would be another one, which nobody removes.
    """
    if not spec.popen or spec.via:
        return
    if _FOLDER not in config.stash:
        folder = tempfile.mkdtemp(prefix="perfcheck-session-")
        config.stash[_FOLDER] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        if at_end is not None:
            config.add_cleanup(lambda: at_end(Path(folder)))
    workerinput[SHARED_KEY] = config.stash[_FOLDER]


def note_left_out(config: pytest.Config, count: int) -> None:
    """Keep how many scenarios were deselected; a worker tells its controller, which prints the summary."""
    config.stash[_LEFT_OUT] = count
    if hasattr(config, "workeroutput"):
        config.workeroutput[LEFT_OUT_KEY] = count


def left_out(config: pytest.Config) -> int:
    """Return how many scenarios were deselected, here or by the workers."""
    return config.stash.get(_LEFT_OUT, 0)

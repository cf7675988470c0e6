"""pytest-xdist: the controller's side, small enough to be loaded in runs without scenarios."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import MutableMapping
from typing import Any, Final

import pytest

SHARED_KEY: Final = "perfcheck_shared"
"""In workerinput: the folder in which the workers of a session share what was measured."""

GROUP: Final = "perfcheck"
"""One xdist group for all that measures: it cannot be done side by side, so one worker takes it all."""

_FOLDER: Final = pytest.StashKey[str]()


def share_with_worker(config: pytest.Config, workerinput: MutableMapping[str, Any]) -> None:
    """Tell a worker the shared folder, which is gone when the controller ends."""
    if _FOLDER not in config.stash:
        folder = tempfile.mkdtemp(prefix="perfcheck-session-")
        config.stash[_FOLDER] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    workerinput[SHARED_KEY] = config.stash[_FOLDER]

"""Rows that wait on the disk until a trial is over, so that memory does not grow with its length."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_AT_ONCE: Final = 1 << 16
"""Rows of a block that is read back."""


class Spool:
    """Rows of one type in a file without a name."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        """Make the file; OSError where there is no room for one."""
        self._dtype = dtype
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the trial

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows; OSError where the disk is full."""
        self._file.write(rows.tobytes())

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """Yield all rows in order, in blocks."""
        self._file.flush()
        place = 0
        size = self._dtype.itemsize * _AT_ONCE
        while True:
            self._file.seek(place)
            part = self._file.read(size)
            if not part:
                return
            place += len(part)
            yield np.frombuffer(part, self._dtype)

    def close(self) -> None:
        """Remove the file; safe to call twice."""
        self._file.close()

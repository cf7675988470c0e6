"""A file without a name in any folder; processes of this machine open it by its path in /proc."""

from __future__ import annotations

import os
from pathlib import Path


class MemoryFile:
    """A file in memory; implements model.seams.HostFile."""

    def __init__(self, label: str, content: bytes = b"") -> None:
        """Make it; it is gone with `close`, and with this process."""
        self._fd = os.memfd_create(label)
        if content:
            with open(self._fd, "wb", closefd=False) as file:
                file.write(content)

    @property
    def folder(self) -> str:
        """The folder that it is in."""
        return f"/proc/{os.getpid()}/fd"

    @property
    def name(self) -> str:
        """Its name in that folder."""
        return str(self._fd)

    @property
    def path(self) -> Path:
        """Folder and name."""
        return Path(self.folder) / self.name

    def content(self) -> bytes:
        """Read all of it."""
        return self.path.read_bytes()

    def close(self) -> None:
        """Free it; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

"""Temporary: replaced by the store's own module."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    name: str
    release: str
    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"

    @property
    def config(self) -> Path | None:
        return self.folder / "config"

    @property
    def btf(self) -> Path | None:
        return self.folder / "btf"


class KernelStore:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, directory: Path | None = None) -> Self:
        return cls(
            directory or Path(os.environ.get("PERFCHECK_KERNELS") or Path.home() / ".local/share/perfcheck/kernels")
        )

    def get(self, name: str) -> Kernel:
        import json

        folder = self.folder / name
        return Kernel(name=name, release=json.loads((folder / "kernel.json").read_text())["release"], folder=folder)

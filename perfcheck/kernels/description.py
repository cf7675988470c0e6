"""What the store keeps of a kernel beside its files: kernel.json."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from perfcheck.errors import UnreadableFile, UsageError
from perfcheck.kernels.names import RELEASE, is_name
from perfcheck.system.bounded_read import read_bounded_text
from perfcheck.system.json_bounds import json_fault

FILE: Final = "kernel.json"
_MAX_BYTES: Final = 1 << 16


def _a_name(name: str) -> str:
    if not is_name(name):
        raise ValueError("not a name")
    return name


def _a_release(release: str) -> str:
    if RELEASE.fullmatch(release) is None:
        raise ValueError("not a release")
    return release


_Text = Annotated[str, Field(max_length=4500)]


class Description(BaseModel):
    """A kernel of the store, as its file describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: Annotated[str, AfterValidator(_a_name)]
    release: Annotated[str, AfterValidator(_a_release)]
    flavour: Annotated[str, Field(max_length=40)]
    origin: _Text
    package_version: _Text | None
    image_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    added_at: datetime

    def write(self, folder: Path) -> None:
        """Write the file into a kernel's folder; OSError as it came."""
        text = json.dumps(self.model_dump(mode="json", by_alias=True), indent=1)
        (folder / FILE).write_text(f"{text}\n", encoding="ascii")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the file of a kernel's folder; UsageError where it is missing or damaged."""
        path = folder / FILE
        try:
            text = read_bounded_text(path, _MAX_BYTES)
        except UnreadableFile as error:
            raise UsageError(str(error)) from None
        fault = json_fault(text)
        if fault is not None:
            raise UsageError(f"{path}: damaged: {fault}")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            raise UsageError(f"{path}: damaged: {f'{where}: ' if where else ''}{first['msg']}") from None

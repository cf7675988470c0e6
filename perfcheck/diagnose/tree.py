"""The decision tree: from a symptom to causes by questions that a person would ask, with what each question read.

The tree is data (`rules/tree.yaml`). It decides nothing: it is the readable account of what the diagnosis rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from perfcheck.diagnose.condition import Condition
from perfcheck.diagnose.evaluation import Reading, facts, holds, why_unknown
from perfcheck.model.causes import CAUSES


class BranchForm(BaseModel):
    """One question, and the questions that follow where the answer is yes."""

    asks: Annotated[str, Field(min_length=1, max_length=200)]
    when: str
    causes: tuple[str, ...] = ()
    branches: tuple[BranchForm, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    @field_validator("causes")
    @classmethod
    def _known_causes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for cause in value:
            if cause not in CAUSES:
                raise ValueError(f"{cause!r} is not a cause")
        return value


class TreeForm(BaseModel):
    """The file `tree.yaml`."""

    schema_version: Literal[1] = Field(alias="schema")
    tree: tuple[BranchForm, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One question with its checked condition."""

    asks: str
    condition: Condition
    causes: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a question came out: `taken` is None where it could not be told; `read` are the values that decided."""

    depth: int
    branch: Branch
    taken: bool | None
    read: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line: `    yes  segments are lost: tcp.retrans_pct (1.2 %) > 0.1 % -> random_loss`."""
        word = {True: "yes", False: "no", None: "?"}[self.taken]
        said = f": {', '.join(self.read)}" if self.read else ""
        leads = f" -> {', '.join(self.branch.causes)}" if self.taken and self.branch.causes else ""
        return f"{'    ' * self.depth}{word:<4} {self.branch.asks}{said}{leads}"


def walked(tree: tuple[Branch, ...], reading: Reading, depth: int = 0) -> Iterator[Answer]:
    """Yield the answer to each question that was asked: those of the first level, and those behind a yes."""
    for branch in tree:
        taken = holds(branch.condition, reading)
        if taken is None:
            read = tuple(f"needs {lack}" for lack in why_unknown(branch.condition, reading)[:1])
        else:
            read = facts(branch.condition, reading, wanted=taken)
        yield Answer(depth=depth, branch=branch, taken=taken, read=read)
        if taken:
            yield from walked(branch.branches, reading, depth + 1)

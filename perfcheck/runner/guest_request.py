"""What the host asks of a perfcheck inside a guest, and what that answers."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import CollectError
from perfcheck.model.scenario import Scenario
from perfcheck.runner.options import RunOptions

ANSWER: Final = "answer"
"""Name of the answer's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One scenario with the session's options applied, and the folder in which its commands run."""

    scenario: Scenario
    options: RunOptions
    directory: str

    def to_bytes(self) -> bytes:
        """Return the request for the same perfcheck in a guest.

        It is made and read by one version of perfcheck. The other direction is JSON: what a guest says is not trusted.
        """
        return pickle.dumps(self)


def read_request(content: bytes) -> Request:
    """Read what the host has written."""
    request = pickle.loads(content)  # noqa: S301 - in a guest, written by its host
    if not isinstance(request, Request):
        raise TypeError(f"expected a request, got {type(request).__name__}")
    return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A run record as JSON, or why there is none."""

    record: str = ""
    failure: str = ""

    def to_bytes(self) -> bytes:
        """Return one line of JSON."""
        return json.dumps({"record": self.record, "failure": self.failure}).encode() + b"\n"


def read_answer(content: bytes) -> Answer:
    """Read what a guest has answered; CollectError for anything else."""
    try:
        found = json.loads(content)
        return Answer(record=str(found["record"]), failure=str(found["failure"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CollectError(f"the guest's answer cannot be read: {error}") from None

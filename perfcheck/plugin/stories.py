"""What GitHub's job summary says of a scenario, on its way to the reporter."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from perfcheck.model.record import RunRecord
from perfcheck.output.cases import Case
from perfcheck.output.story import story_of


def sent_stories(record: RunRecord, cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Return a record's story as plain types; nothing outside GitHub, where nobody reads it."""
    return [asdict(story_of(record, tuple(cases)))] if os.environ.get("GITHUB_ACTIONS") else []

"""docs/diagnosis.md says of each cause how it is tested, in the words of the interventions that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from perfcheck.confirm import Intervention, shipped_interventions

PAGE: Final = Path(__file__).parents[2] / "docs" / "diagnosis.md"


@pytest.mark.parametrize("intervention", shipped_interventions().values(), ids=lambda each: each.cause)
def test_the_table_has_the_intervention(intervention: Intervention) -> None:
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{intervention.cause}` | ")]
    if intervention.cannot is not None:
        assert f"cannot be tested: {intervention.cannot}" in row
        return
    assert f"| {intervention.relief} |" in row
    for move in intervention.moves:
        assert f"`{move.metric}` {move.wanted_pct:+.0f} %" in row

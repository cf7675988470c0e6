"""The test that is running; small enough to be loaded in runs without scenarios."""

from __future__ import annotations

from typing import Final

import pytest

_CURRENT: Final = pytest.StashKey[pytest.Item]()


def set_current_item(item: pytest.Item) -> None:
    """Note the test that begins."""
    item.config.stash[_CURRENT] = item


def current_item(config: pytest.Config) -> pytest.Item:
    """Return the test that is being run, or that was run last."""
    return config.stash[_CURRENT]

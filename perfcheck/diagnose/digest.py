"""A short name of what a condition says, so that numbers that were fitted on another text are not used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

_WORD: Final = re.compile(r"(?<![\w.])[a-z][a-z_]*(?![\w.(])")


def digest_of(texts: Sequence[str], terms: Mapping[str, str]) -> str:
    """Return ten hexadecimal digits of the texts and of all terms that they use, directly or by other terms."""
    used: dict[str, None] = {}
    waiting = list(texts)
    while waiting:
        for word in _WORD.findall(waiting.pop()):
            if word in terms and word not in used:
                used[word] = None
                waiting.append(terms[word])
    said = [" ".join(text.split()) for text in texts]
    said += [f"{name} = {terms[name]}" for name in sorted(used)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:10]

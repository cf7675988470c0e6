"""Finds matches of regular expressions, as a program: `python -I -S find_matches.py FILE`.

FILE holds a JSON object with `text` and `patterns`. On standard output comes a list of matched groups for each
pattern. An expression can take time without end, which nothing inside of a Python process can stop. So this runs in
a process of its own, and whoever starts it sets a limit.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings

MOST = 100_000
"""Matches of one pattern; the last ones count."""


def main() -> int:
    """Read the file, write the matches."""
    warnings.simplefilter("ignore")
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import than all of this
        asked = json.load(file)
    found = [_matches(pattern, asked["text"]) for pattern in asked["patterns"]]
    said = json.dumps(found).encode()
    while said:
        said = said[os.write(1, said) :]
    return 0


def _matches(pattern: str, text: str) -> list[str]:
    compiled = re.compile(pattern, re.MULTILINE)
    group = "value" if "value" in compiled.groupindex else 1
    return [match[group] for match in compiled.finditer(text) if match[group] is not None][-MOST:]


if __name__ == "__main__":
    sys.exit(main())

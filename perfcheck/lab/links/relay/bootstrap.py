"""Starts the relay process without the packages around it: `python -I -S bootstrap.py CONTROL_FD PLAN_FD`.

The parents' `__init__` modules would import the laboratory (validation, netlink), which takes ten times
as long as the relay itself; so they are put in place empty, with their paths.
"""

from __future__ import annotations

import sys

PACKAGES = ("perfcheck.lab.links", "perfcheck.lab", "perfcheck")


def main() -> int:
    """Lay out the package's frame and run the relay."""
    path = _parent(_parent(__file__))
    for name in PACKAGES:
        module = type(sys)(name)
        module.__path__ = [path]
        sys.modules[name] = module
        path = _parent(path)
    from perfcheck.lab.links.relay import process

    return process.main()


def _parent(path: str) -> str:
    return path.rpartition("/")[0]  # pathlib takes longer to import than all of the relay


if __name__ == "__main__":
    sys.exit(main())

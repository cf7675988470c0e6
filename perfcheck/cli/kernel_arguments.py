"""The arguments of `perfcheck kernel`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from perfcheck.cli.kernels import add_kernel, fetch_kernel, list_kernels, remove_kernels
from perfcheck.kernels.folders import STORE_VARIABLE
from perfcheck.kernels.names import FLAVOURS, check_name
from perfcheck.runner.option_values import for_argparse, path

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction[Any]

_STORE: Final = (
    f"The store is ${STORE_VARIABLE}, else $XDG_DATA_HOME/perfcheck/kernels, else ~/.local/share/perfcheck/kernels."
)
_FETCH: Final = """\
Fetches a kernel of Debian's with its modules, types (BTF) and config into the store. The machine's own apt lists are
used; other suites, and machines without lists, get lists of their own in ~/.cache/perfcheck/apt. Packages must be
signed by Debian's keys. Nothing of the system is changed, and root is not needed."""
_FETCH_EXAMPLES: Final = """\
examples:
  perfcheck kernel fetch 6.12                             the newest 6.12, flavour cloud
  perfcheck kernel fetch 6.1.0-56 --flavour generic --name old
  perfcheck kernel fetch --list --suite trixie-backports"""
_ADD: Final = """\
Adds a kernel to the store: a Debian package, an image with its modules, or the folder of a kernel that was built there.
The release is read from the image. Modules of an image are taken from /lib/modules/RELEASE. Those of a built tree are
taken from where they were built; nothing of the tree is run."""
_ADD_EXAMPLES: Final = """\
examples:
  perfcheck kernel add linux-image-6.12.107+deb12-cloud-amd64_6.12.107-1_amd64.deb
  perfcheck kernel add /boot/vmlinuz-6.8.0-48-generic
  perfcheck kernel add ~/src/linux --name patched"""
_LIST_EXAMPLES: Final = """\
examples:
  perfcheck kernel list
  perfcheck kernel list --json"""
_REMOVE_EXAMPLES: Final = """\
examples:
  perfcheck kernel remove 6.12.107-cloud
  perfcheck kernel remove old patched"""

_name = for_argparse(check_name)


def add_kernel_commands(subparsers: _Subparsers) -> None:
    """Add `perfcheck kernel` with its actions."""
    kernel = subparsers.add_parser(
        "kernel", help="the kernels that guests boot: fetch, add, list, remove",
        description=f"Keeps kernels by name in a store of the user's. {_STORE}",
    )  # fmt: skip
    actions: _Subparsers = kernel.add_subparsers(required=True, metavar="ACTION")
    _add_fetch(actions)
    adding = _action(actions, "add", "add a package, an image with its modules, or a built source tree", _ADD,
                     _ADD_EXAMPLES)  # fmt: skip
    adding.add_argument("path", type=path, metavar="PATH", help="a .deb, a vmlinuz (bzImage), or a built tree")
    adding.add_argument(
        "--modules", type=path, metavar="DIR|DEB", action="append", default=[],
        help="the modules, if they are elsewhere: a folder such as /lib/modules/RELEASE, or a package that has them; "
        "can be repeated",
    )  # fmt: skip
    _add_name(adding, "default: made of the release")
    adding.set_defaults(command=add_kernel)
    listing = _action(actions, "list", "list the kernels of the store", "Lists the kernels of the store.",
                      _LIST_EXAMPLES)  # fmt: skip
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=list_kernels)
    removing = _action(actions, "remove", "remove kernels, and what was made of them",
                       "Removes kernels with all that was made of them: all of the named ones, or none.",
                       _REMOVE_EXAMPLES)  # fmt: skip
    removing.add_argument("names", nargs="+", type=_name, metavar="NAME", help="names as `perfcheck kernel list` has")
    removing.set_defaults(command=remove_kernels)


def _add_fetch(actions: _Subparsers) -> None:
    fetching = _action(actions, "fetch", "fetch a kernel from Debian", _FETCH, _FETCH_EXAMPLES)
    fetching.add_argument(
        "release", nargs="?", metavar="RELEASE",
        help="6.12 (the newest of this series), or an exact one: 6.12.107+deb12, 6.1.0-56, 6.1.192",
    )  # fmt: skip
    fetching.add_argument(
        "--flavour", choices=FLAVOURS, help="cloud (small, boots fast), generic or rt (default: cloud)"
    )
    fetching.add_argument(
        "--suite",
        metavar="SUITE",
        help="a suite of Debian's, e.g. trixie or bookworm-backports (default: this machine's)",
    )
    fetching.add_argument(
        "--mirror",
        metavar="URL",
        help="a Debian mirror (default: the one of this machine's apt); without security updates",
    )
    _add_name(fetching, "default: made of the release, e.g. 6.12.107-cloud")
    fetching.add_argument("--list", action="store_true", help="list what can be fetched, and fetch nothing")
    fetching.set_defaults(command=fetch_kernel)


def _add_name(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--name", type=_name, metavar="NAME", help=f"its name in the store ({default})")


def _action(actions: _Subparsers, name: str, text: str, description: str, examples: str) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{description}\n{_STORE}", epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    return action

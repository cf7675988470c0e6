"""The sysctls that a scenario may set: those that belong to a network namespace."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"net(\.[A-Za-z0-9_:/-]+)+")

_HOST_WIDE: Final = re.compile(
    r"""net\.(
        core\.(
            bpf_jit_\w+ | busy_poll | busy_read | default_qdisc | dev_weight\w* | devconf_inherit_init_net
            | fb_tunnels_only_for_init_net | flow_limit_\w+ | gro_normal_batch | high_order_alloc_disable
            | max_skb_frags | mem_pcpu_rsv | message_burst | message_cost | netdev_\w+ | rps_sock_flow_entries
            | skb_defer_max | warnings | [rw]mem_(default|max)
        )
        | ipv4\.(
            fib_sync_mem | inet_peer_\w+ | ipfrag_secret_interval | tcp_(available|allowed)_\w+ | tcp_low_latency
            | tcp_max_orphans | tcp_mem | udp_mem | tcp_ehash_entries | udp_hash_entries
            | route\.( error_\w+ | gc_\w+ | max_size | redirect_\w+ )
        )
        | ipv6\.( ip6frag_secret_interval | mld_max_msf | mld_qrv )
        | netfilter\.( nf_conntrack_buckets | nf_conntrack_count | nf_conntrack_expect_max | nf_conntrack_max
            | nf_log_all_netns )
        | nf_conntrack_max
    )""",
    re.VERBOSE,
)
"""Found by comparing /proc/sys/net of the first namespace with a new one's: missing there, or read-only."""


def refusal(key: str, *, machine: bool = False) -> str | None:
    """Say why a host of the lab cannot have this sysctl, or None where it may; the lab has the last word.

    A real `machine`, which the file names, may also be given what applies to the whole machine.
    """
    if not key.startswith("net."):
        return (
            "expected a sysctl that begins with net.; the others apply to the whole machine, and perfcheck does not "
            "change them"
        )
    if not _NAME.fullmatch(key):
        return "expected a sysctl's name such as net.ipv4.tcp_rmem"
    if _HOST_WIDE.fullmatch(key) and not machine:
        return (
            "this sysctl applies to the whole machine, or is read-only in a host of the lab; "
            "perfcheck does not change it"
        )
    return None

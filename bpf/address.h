/* SPDX-License-Identifier: GPL-2.0 */
/* Addresses of sockets and packets. */
#pragma once

#define AF_INET6 10

struct pc_address {
	u64 high, low;		/* as in the packet; IPv4 in the low half */
};

INLINE void read_ends(struct sock *sk, struct pc_address *local, struct pc_address *remote)
{
	struct sock_common *common = &sk->__sk_common;

	local->high = remote->high = 0;
	local->low = common->skc_rcv_saddr;
	remote->low = common->skc_daddr;
#ifdef HAS_sock_common__skc_v6_rcv_saddr
	if (common->skc_family == AF_INET6) {
		struct pc_address mapped;

		bpf_probe_read_kernel(&mapped, sizeof(mapped), &common->skc_v6_daddr);
		if (!mapped.high && (u32)mapped.low == bpf_htonl(0xffff))
			return;
		*remote = mapped;
		bpf_probe_read_kernel(&mapped, sizeof(mapped), &common->skc_v6_rcv_saddr);
		*local = mapped;
		/* Halves as in a packet, where the first 8 bytes are the high one. */
	}
#endif
}

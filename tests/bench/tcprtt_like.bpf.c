// SPDX-License-Identifier: GPL-2.0
/*
 * What BCC's tcprtt does for each segment with a histogram a remote address, at the tracepoint that
 * every kernel has: BCC turns each field read into a helper call, the histogram is a hash.
 */
#include "kernel_types.h"

struct remote_slot {
	u64 address;
	u64 slot;
};

struct latency {
	u64 sum, count;
};

BPF_HISTOGRAM(histogram, struct remote_slot);
BPF_HASH(latencies, u64, struct latency);

RAW_TRACEPOINT_PROBE(tcp_probe)
{
	struct tcp_sock *tp = (struct tcp_sock *)ctx->args[0];
	struct sock_common *common = (struct sock_common *)ctx->args[0];
	struct remote_slot key = {};
	struct latency none = {}, *latency;
	u32 srtt = 0, address = 0;

	bpf_probe_read_kernel(&srtt, sizeof(srtt), &tp->srtt_us);
	bpf_probe_read_kernel(&address, sizeof(address), &common->skc_daddr);
	srtt >>= 3;
	key.address = address;
	key.slot = bpf_log2l(srtt);
	histogram.atomic_increment(key);
	latency = latencies.lookup_or_try_init(&key.address, &none);
	if (latency) {
		lock_xadd(&latency->sum, srtt);
		lock_xadd(&latency->count, 1);
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Whose events count: what the sources of all layers beside TCP have in common.
 *
 * A function `tp_btf__X` runs at tracepoint X, typed through BTF: it reads the kernel's structs
 * directly. Each layer is loaded for itself and has maps of its own, these two included.
 */
#include "kernel_types.h"
#include "perfcheck.h"
#include "histogram.h"
#include "layers.h"

BPF_F_TABLE("array", u32, struct pc_scope, scope, 1, BPF_F_MMAPABLE);
BPF_TABLE("hash", u32, u32, namespaces, PC_HOSTS);	/* inode number -> number of the host */

INLINE struct pc_scope *scope_from(u32 phase)
{
	u32 zero = 0;
	struct pc_scope *found = scope.lookup(&zero);

	if (found && found->phase < phase)
		found = 0;
	/* The caller's check has to be one of the pointer, which is all that the verifier can follow. */
	asm volatile("" : "+r"(found));
	return found;
}

/* The scope while anything is to be measured; 0 otherwise. */
INLINE struct pc_scope *tracking(void)
{
	return scope_from(PC_TRACK);
}

/* The scope while events count; 0 before the warm-up is over, and between trials. */
INLINE struct pc_scope *counting(void)
{
	return scope_from(PC_COUNT);
}

/* Number of the host whose network namespace this is, from 1; 0: it is nobody's of the lab. */
INLINE u32 host_of(struct pc_scope *within, u32 netns)
{
	u32 *host;

	if (within->everywhere)
		return 1;
	if (!(within->namespaces_seen >> (netns & 63) & 1))
		return 0;
	host = namespaces.lookup(&netns);
	return host ? *host + 1 : 0;
}

/* The number that a device's or socket's network namespace has in /proc/PID/ns/net. */
#define NETNS(possible_net) ((possible_net).net ? (possible_net).net->ns.inum : 0)

/*
 * An atomic add of 32 bits. The loader makes each of them a fetching one (tcp.bpf.c), which leaves
 * the former value in the register: the compiler has to know.
 */
INLINE u32 fetch_add(u32 *counter, u32 value)
{
	asm volatile("lock *(u32 *)(%1 + 0) += %0" : "+r"(value) : "r"(counter) : "memory");
	return value;
}

/* ---- distributions ---- */

/* Below PC_BUCKETS for any value. */
INLINE u32 bucket_number(u32 value)
{
	return bucket_of(value) & (PC_BUCKET_SLOTS - 1);
}

/* Where only one CPU writes. */
INLINE void distribution_add(struct pc_distribution *to, u32 value)
{
	spread_add(&to->spread, value);
	to->counts[bucket_number(value)]++;
}

/* `weight` times, where CPUs share it; the extremes may miss a race. */
INLINE void distribution_share(struct pc_distribution *to, u32 value, u32 weight)
{
	lock_xadd(&to->spread.total, (u64)value * weight);
	extremes_add(&to->spread, value);
	fetch_add(&to->counts[bucket_number(value)], weight);
}

/* ns that fit 32 bits: 4.3 s and all that is longer. */
INLINE u32 short_ns(u64 ns)
{
	return ns > ~0U ? ~0U : ns;
}

/*
 * The IP layer: look-ups of routes. The tracepoints give the result, not the time it took; a look-up
 * without a result names no device, so that its host is not known: the host's own counters have those.
 */

BPF_F_TABLE("array", u32, struct pc_lookups, lookups, 1, BPF_F_MMAPABLE);

INLINE void count_lookup(struct pc_scope *within, u32 netns, u32 ipv6)
{
	u32 zero = 0;
	struct pc_lookups *sums;

	if (!host_of(within, netns))
		return;
	sums = lookups.lookup(&zero);
	if (!sums)
		return;
	if (ipv6)
		lock_xadd(&sums->ipv6, 1);
	else
		lock_xadd(&sums->ipv4, 1);
}

int tp_btf__fib_table_lookup(u64 *ctx)
{
	struct fib_nh_common *hop = (struct fib_nh_common *)ctx[2];
	struct pc_scope *within = counting();

	if (within && hop && hop->nhc_dev)
		count_lookup(within, NETNS(hop->nhc_dev->nd_net), 0);
	return 0;
}

/* A kernel may have IPv6 as a module, whose types are elsewhere. */
#if defined(HAS_fib6_result__f6i) && defined(HAS_netns_ipv6__fib6_null_entry)
/* One event a table; the entry says whether it was found in that one. */
int tp_btf__fib6_table_lookup(u64 *ctx)
{
	struct net *net = (struct net *)ctx[0];
	struct fib6_result *result = (struct fib6_result *)ctx[1];
	struct pc_scope *within = counting();

	if (within && result->f6i != net->ipv6.fib6_null_entry)
		count_lookup(within, net->ns.inum, 1);
	return 0;
}
#endif

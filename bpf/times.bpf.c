/*
 * How long functions of the kernel take, by fentry and fexit or, where the kernel refuses these, by kprobe and
 * kretprobe: an optional tier, loaded where the kernel traces functions. Each collector has maps of its own: one
 * distribution, of its functions together.
 *
 * A call is known by the address of an argument that lies on its caller's stack, so that one that
 * interrupts another, or that goes on on another CPU, is not taken for it. A kretprobe no longer has the
 * arguments: there it is where the stack pointer stands once the call has returned.
 */

BPF_F_TABLE("array", u32, struct pc_call, calls, PC_CALLS, 0);
BPF_F_TABLE("array", u32, struct pc_distribution, durations, 1, BPF_F_MMAPABLE);

/*
 * A pointer argument as a number: the verifier allows no arithmetic with what it knows to be a pointer. Where it
 * lies has a register of its own: the compiler would read the argument through it as well, which is refused.
 */
#define ADDRESS_OF(ctx, number)								\
	({										\
		u64 *_at, _address = 0;							\
											\
		asm volatile("%0 = %1\n\t%0 += %2" : "=r"(_at) : "r"(ctx), "i"(8 * (number)));	\
		bpf_probe_read_kernel(&_address, sizeof(_address), _at);		\
		_address;								\
	})

INLINE struct pc_call *call_of(u64 address)
{
	u32 slot = (address * 0x9e3779b97f4a7c15ULL) >> (64 - PC_CALLS_BITS);

	return calls.lookup(&slot);
}

INLINE void call_begins(u64 address, u64 first, u64 second)
{
	struct pc_call *call;

	/* What begins before the window opens may end in it. */
	if (!tracking())
		return;
	call = call_of(address);
	if (!call)
		return;
	call->address = address;
	call->arguments[0] = first;
	call->arguments[1] = second;
	call->began_ns = bpf_ktime_get_ns();
}

/* When the call began; 0: not known. */
INLINE u64 call_ends(u64 address)
{
	struct pc_call *call = call_of(address);

	if (!call || call->address != address)
		return 0;
	call->address = 0;
	return call->began_ns;
}

INLINE void count_duration(struct pc_scope *within, u32 netns, u64 began_ns, u64 ended_ns)
{
	u32 zero = 0;
	struct pc_distribution *found;

	if (!host_of(within, netns))
		return;
	if (!began_ns) {
		lock_xadd(&within->lost, 1);
		return;
	}
	found = durations.lookup(&zero);
	if (found)
		distribution_share(found, short_ns(ended_ns - began_ns), 1);
}

/* int fib_table_lookup(table, flow, result, flags) */
int fentry__fib_table_lookup(u64 *ctx)
{
	call_begins(ADDRESS_OF(ctx, 2), 0, 0);
	return 0;
}

int fexit__fib_table_lookup(u64 *ctx)
{
	u64 ended_ns = bpf_ktime_get_ns(), began_ns = call_ends(ADDRESS_OF(ctx, 2));
	struct fib_result *result = (struct fib_result *)ctx[2];
	struct pc_scope *within = counting();

	/* Without a route no device, and so no host, is named. */
	if (within && !(s32)ctx[4] && result->nhc && result->nhc->nhc_dev)
		count_duration(within, NETNS(result->nhc->nhc_dev->nd_net), began_ns, ended_ns);
	return 0;
}

#if defined(HAS_fib6_result__f6i) && defined(HAS_netns_ipv6__fib6_null_entry)
/* int fib6_table_lookup(net, table, oif, flow, result, strict) */
int fentry__fib6_table_lookup(u64 *ctx)
{
	call_begins(ADDRESS_OF(ctx, 4), 0, 0);
	return 0;
}

int fexit__fib6_table_lookup(u64 *ctx)
{
	u64 ended_ns = bpf_ktime_get_ns(), began_ns = call_ends(ADDRESS_OF(ctx, 4));
	struct net *net = (struct net *)ctx[0];
	struct fib6_result *result = (struct fib6_result *)ctx[4];
	struct pc_scope *within = counting();

	if (within && result->f6i != net->ipv6.fib6_null_entry)
		count_duration(within, net->ns.inum, began_ns, ended_ns);
	return 0;
}
#endif

#ifdef HAS_nf_hook_state__net
/* unsigned int nf_conntrack_in(skb, state), in a module where the kernel has it as one */
int fentry__nf_conntrack_in(u64 *ctx)
{
	call_begins(ADDRESS_OF(ctx, 1), 0, 0);
	return 0;
}

int fexit__nf_conntrack_in(u64 *ctx)
{
	u64 ended_ns = bpf_ktime_get_ns(), began_ns = call_ends(ADDRESS_OF(ctx, 1));
	struct nf_hook_state *state = (struct nf_hook_state *)ctx[1];
	struct pc_scope *within = counting();

	if (within && state->net)
		count_duration(within, state->net->ns.inum, began_ns, ended_ns);
	return 0;
}
#endif

#ifdef HAS_pt_regs__di
/* ---- by kprobe and kretprobe, on x86: `sp` is 8 higher once the return address has been taken from the stack ---- */

/* When the call that returns began, and with what; 0: not known, which counts as lost. */
INLINE u64 returning(struct pc_scope *within, u64 address, u64 *first, u64 *second)
{
	struct pc_call *call = call_of(address);

	if (!call || call->address != address) {
		lock_xadd(&within->lost, 1);
		return 0;
	}
	call->address = 0;
	*first = call->arguments[0];
	*second = call->arguments[1];
	return call->began_ns;
}

/* Nothing is known of the types here: each pointer is followed by a helper. */
#define FOLLOW(pointer, from, member) bpf_probe_read_kernel(&(pointer), sizeof(pointer), &(from)->member)

INLINE void count_in(struct pc_scope *within, struct net *net, u64 began_ns, u64 ended_ns)
{
	u32 netns = 0;

	if (!FOLLOW(netns, net, ns.inum))
		count_duration(within, netns, began_ns, ended_ns);
}

int on_kprobe__fib_table_lookup(struct pt_regs *ctx)
{
	call_begins(ctx->sp + 8, ctx->dx, 0);
	return 0;
}

int on_kretprobe__fib_table_lookup(struct pt_regs *ctx)
{
	u64 ended_ns = bpf_ktime_get_ns(), began_ns, found = 0, none = 0;
	struct pc_scope *within = counting();
	struct fib_nh_common *nhc = 0;
	struct net_device *dev = 0;
	struct net *net = 0;

	if (!within)
		return 0;
	began_ns = returning(within, ctx->sp, &found, &none);
	if (!began_ns || (s32)ctx->ax)
		return 0;
	if (!FOLLOW(nhc, (struct fib_result *)found, nhc) && !FOLLOW(dev, nhc, nhc_dev) && !FOLLOW(net, dev, nd_net.net))
		count_in(within, net, began_ns, ended_ns);
	return 0;
}

#if defined(HAS_fib6_result__f6i) && defined(HAS_netns_ipv6__fib6_null_entry)
int on_kprobe__fib6_table_lookup(struct pt_regs *ctx)
{
	call_begins(ctx->sp + 8, ctx->r8, ctx->di);
	return 0;
}

int on_kretprobe__fib6_table_lookup(struct pt_regs *ctx)
{
	u64 ended_ns = bpf_ktime_get_ns(), began_ns, found = 0, net = 0;
	struct pc_scope *within = counting();
	struct fib6_info *route = 0, *none = 0;

	if (!within)
		return 0;
	began_ns = returning(within, ctx->sp, &found, &net);
	if (!began_ns || FOLLOW(route, (struct fib6_result *)found, f6i) ||
	    FOLLOW(none, (struct net *)net, ipv6.fib6_null_entry) || route == none)
		return 0;
	count_in(within, (struct net *)net, began_ns, ended_ns);
	return 0;
}
#endif

#ifdef HAS_nf_hook_state__net
int on_kprobe__nf_conntrack_in(struct pt_regs *ctx)
{
	call_begins(ctx->sp + 8, ctx->si, 0);
	return 0;
}

int on_kretprobe__nf_conntrack_in(struct pt_regs *ctx)
{
	u64 ended_ns = bpf_ktime_get_ns(), began_ns, state = 0, none = 0;
	struct pc_scope *within = counting();
	struct net *net = 0;

	if (!within)
		return 0;
	began_ns = returning(within, ctx->sp, &state, &none);
	if (began_ns && !FOLLOW(net, (struct nf_hook_state *)state, net))
		count_in(within, net, began_ns, ended_ns);
	return 0;
}
#endif
#endif

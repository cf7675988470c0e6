/*
 * The network card's layer: how long softirqs of the network wait and run, and what NAPI polls get done.
 *
 * A CPU's softirqs serve the whole machine, whosever packets they are, and so do these figures. All of
 * one CPU's state is written on that CPU. Nothing here runs once a packet: what devices did with each
 * their own counters tell.
 */

BPF_F_TABLE("array", u32, struct pc_softirq, softirqs, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_napi, napi, 1, BPF_F_MMAPABLE);

/* This CPU's record of NET_TX or NET_RX; 0 for other vectors. */
INLINE struct pc_softirq *softirq_of(u32 vector)
{
	u32 index = 2 * bpf_get_smp_processor_id() + (vector - NET_TX_SOFTIRQ);

	return vector - NET_TX_SOFTIRQ < 2 ? softirqs.lookup(&index) : 0;
}

int tp_btf__softirq_raise(u64 *ctx)
{
	struct pc_softirq *softirq = softirq_of(ctx[0]);

	/* Raised again before it was served it waits since the first time. */
	if (softirq && !softirq->raised_ns && tracking())
		softirq->raised_ns = bpf_ktime_get_ns();
	return 0;
}

int tp_btf__softirq_entry(u64 *ctx)
{
	struct pc_softirq *softirq = softirq_of(ctx[0]);
	struct pc_scope *within;
	u64 now;

	if (!softirq || !tracking())
		return 0;
	now = bpf_ktime_get_ns();
	within = counting();
	if (within && softirq->raised_ns && softirq->raised_ns >= within->window_ns)
		distribution_add(&softirq->delay_ns, short_ns(now - softirq->raised_ns));
	softirq->raised_ns = 0;
	softirq->entered_ns = now;
	return 0;
}

int tp_btf__softirq_exit(u64 *ctx)
{
	struct pc_softirq *softirq = softirq_of(ctx[0]);
	struct pc_scope *within;
	u64 spent_ns;

	if (!softirq || !softirq->entered_ns)
		return 0;
	within = counting();
	if (within && softirq->entered_ns >= within->window_ns) {
		spent_ns = bpf_ktime_get_ns() - softirq->entered_ns;
		distribution_add(&softirq->run_ns, short_ns(spent_ns));
	}
	softirq->entered_ns = 0;
	return 0;
}

/* The poll of a device of the lab, or of the CPU's backlog, which has no device and serves them all. */
int tp_btf__napi_poll(u64 *ctx)
{
	struct napi_struct *polled = (struct napi_struct *)ctx[0];
	u32 work = ctx[1], budget = ctx[2], cpu = bpf_get_smp_processor_id();
	struct pc_scope *within = counting();
	struct pc_napi *sums;

	if (!within)
		return 0;
	if (polled->dev && !host_of(within, NETNS(polled->dev->nd_net)))
		return 0;
	sums = napi.lookup(&cpu);
	if (!sums)
		return 0;
	sums->polls++;
	sums->full += work >= budget;
	distribution_add(&sums->work, work);
	return 0;
}

/*
 * Events: moments that are rare and explain much, told one by one beside the sums of the other layers.
 *
 * The programs run at tracepoints that fire at such moments alone, except for the wait for a CPU. They are loaded only
 * where events are asked for. Each kind has a budget on each CPU (a token bucket): beyond it events are
 * counted and not told, so that a flood costs little more than its counting.
 */
#include "events.h"
#include "filter.h"

struct told_table_t {
	int key;
	struct pc_told leaf;
	void *(*ringbuf_reserve)(u64);
	void (*ringbuf_submit)(void *, u64);
	u32 max_entries;
};
__attribute__((section("maps/ringbuf"))) struct told_table_t events = { .max_entries = 1 << 16 };

BPF_F_TABLE("array", u32, struct pc_budget, budget, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_bucket, buckets, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_wait, waits, PC_EVENT_TASKS, BPF_F_MMAPABLE);

static struct tcp_sock *(*skc_to_tcp_sock)(void *sk) = (void *)BPF_FUNC_skc_to_tcp_sock;

/* Of a live machine; which process a flow is of, user space knows. */
BPF_F_TABLE("array", u32, struct pc_filter, filter, 1, BPF_F_MMAPABLE);

INLINE struct pc_filter *ends_wanted(void)
{
	u32 zero = 0;
	struct pc_filter *found = filter.lookup(&zero);

	return found && found->by_ends ? found : 0;
}

INLINE struct pc_budget *budget_of(void)
{
	u32 zero = 0;

	return budget.lookup(&zero);
}

/*
 * Count an event, and give room for it where its kind has budget left on this CPU. The counters are atomic, since an
 * interrupt may tell of an event while a task does; the time may then be a token out.
 */
INLINE struct pc_told *tell(struct pc_scope *within, u8 kind, u32 host, u64 ns)
{
	u32 cpu = bpf_get_smp_processor_id(), index = kind * within->cpus + cpu, ordinal;
	struct pc_budget *allowed = budget_of();
	struct pc_bucket *bucket = buckets.lookup(&index);
	struct pc_told *told;
	u64 now, due;

	if (!bucket || !allowed)
		return 0;
	ordinal = fetch_add(&bucket->seen, 1);
	now = bpf_ktime_get_ns();
	due = bucket->next_ns;
	if (due > now + allowed->burst_ns)
		return 0;
	told = events.ringbuf_reserve(sizeof(struct pc_told));
	if (!told) {
		fetch_add(&bucket->no_room, 1);
		return 0;
	}
	bucket->next_ns = (due > now ? due : now) + allowed->interval_ns;
	fetch_add(&bucket->told, 1);
	__builtin_memset(told, 0, sizeof(*told));
	told->ns = ns;
	told->ordinal = ordinal;
	told->cpu = cpu;
	told->host = host;
	told->kind = kind;
	return told;
}

/* Number of the socket's host; 0: it is not to be told of. */
INLINE u32 host_of_socket(struct pc_scope *within, struct sock *sk)
{
	struct pc_filter *wanted = ends_wanted();

	if (wanted && !socket_ends_pass(wanted, sk))
		return 0;
	return host_of(within, NETNS(sk->__sk_common.skc_net));
}

/* The flow in the direction in which the socket sends. */
INLINE void name_flow(struct pc_told *told, struct sock *sk)
{
	struct pc_address local, remote;

	read_ends(sk, &local, &remote);
	told->source = local;
	told->target = remote;
	told->source_port = sk->__sk_common.skc_num;
	told->target_port = bpf_ntohs(sk->__sk_common.skc_dport);
	told->protocol = PROTOCOL_TCP;
	told->flow = flow_of(PROTOCOL_TCP, &local, &remote, told->source_port, told->target_port);
}

INLINE void describe_socket(struct pc_told *told, struct sock *sk, struct tcp_sock *tp)
{
	name_flow(told, sk);
	told->srtt_us = tp->srtt_us >> 3;
	told->cwnd_segs = tp->snd_cwnd;
	told->inflight_segs = tp->packets_out + tp->retrans_out - tp->sacked_out - tp->lost_out;
}

INLINE struct pc_told *tell_of_socket(u8 kind, struct sock *sk, struct tcp_sock *tp)
{
	struct pc_scope *within = counting();
	u32 host = within ? host_of_socket(within, sk) : 0;
	struct pc_told *told;

	if (!host)
		return 0;
	told = tell(within, kind, host, bpf_ktime_get_ns());
	if (told)
		describe_socket(told, sk, tp);
	return told;
}

/* ---- TCP ---- */

int tp_btf__tcp_retransmit_skb(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct tcp_sock *tp = skc_to_tcp_sock(sk);
	struct tcp_skb_cb segment;
	struct pc_told *told;
	u32 state;

	told = tp && was_retransmitted(ctx) ? tell_of_socket(PC_RETRANSMIT, sk, tp) : 0;
	if (!told)
		return 0;
	bpf_probe_read_kernel(&segment, sizeof(segment), skb->cb);
	told->seq = segment.seq;
	told->length = payload_of(&segment);
	told->segments = segment.tcp_gso_segs;
	told->tcp_flags = segment.tcp_flags;
	state = sk->__sk_common.skc_state;
	if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
		told->value = PC_SYN;
	else if (tp->inet_conn.icsk_ca_state == TCP_CA_Loss)
		told->value = PC_AFTER_RTO;
	else if (tp->inet_conn.icsk_ca_state == TCP_CA_Recovery)
		told->value = PC_FAST;
	else
		told->value = PC_TLP;
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}

/* A connection that is not yet a socket: what it has of one begins alike. */
int tp_btf__tcp_retransmit_synack(u64 *ctx)
{
	struct sock *listener = (struct sock *)ctx[0];
	struct request_sock *request = (struct request_sock *)ctx[1];
	struct pc_scope *within = counting();
	u32 host = within ? host_of_socket(within, listener) : 0;
	struct pc_told *told = host ? tell(within, PC_RETRANSMIT, host, bpf_ktime_get_ns()) : 0;

	if (!told)
		return 0;
	name_flow(told, (struct sock *)request);
	told->value = PC_SYNACK;
	told->segments = 1;
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}

/* The socket's own state is still the one before. The timer may run off where the state is Loss already. */
int tp_btf__tcp_cong_state_set(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u32 state = (u8)ctx[1], before;
	struct tcp_sock *tp = skc_to_tcp_sock(sk);
	struct pc_told *told;

	if (!tp)
		return 0;
	before = tp->inet_conn.icsk_ca_state;
	if (state == TCP_CA_Loss) {
		told = tell_of_socket(PC_RTO, sk, tp);
		if (told) {
			told->seq = tp->snd_una;
			told->before = before;
			events.ringbuf_submit(told, NO_WAKEUP);
		}
	}
	told = state != before ? tell_of_socket(PC_CA_STATE, sk, tp) : 0;
	if (told) {
		told->seq = tp->snd_una;
		told->value = state;
		told->before = before;
		events.ringbuf_submit(told, NO_WAKEUP);
	}
	return 0;
}

int tp_btf__tcp_receive_reset(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct tcp_sock *tp = skc_to_tcp_sock(sk);
	struct pc_told *told = tp ? tell_of_socket(PC_RST_RECEIVED, sk, tp) : 0;

	if (!told)
		return 0;
	told->value = sk->__sk_common.skc_state;
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}

/* ---- packets ---- */

/* The packet's flow, where it is one that can be read. */
INLINE void describe_packet(struct pc_told *told, struct sk_buff *skb)
{
	struct pc_packet packet = {};

	if (!parse_packet(&packet, skb, skb->network_header))
		return;
	told->flow = packet.flow;
	told->source = packet.source;
	told->target = packet.target;
	told->source_port = packet.source_port;
	told->target_port = packet.target_port;
	told->seq = packet.seq;
	told->length = packet.length;
	told->segments = packet.segments;
	told->protocol = packet.protocol;
	told->tcp_flags = packet.tcp_flags;
}

/* A packet whose ends cannot be read passes no filter. */
INLINE bool packet_passes(struct sk_buff *skb)
{
	struct pc_filter *wanted = ends_wanted();
	struct pc_packet packet = {};

	if (!wanted)
		return true;
	return parse_packet(&packet, skb, skb->network_header) &&
	       ends_pass(wanted, &packet.source, &packet.target, packet.source_port, packet.target_port,
			 family_of(&packet.source, &packet.target));
}

INLINE u32 host_of_packet(struct pc_scope *within, struct sk_buff *skb)
{
	if (!packet_passes(skb))
		return 0;
	if (skb->dev)
		return host_of(within, NETNS(skb->dev->nd_net));
	return skb->sk ? host_of(within, NETNS(skb->sk->__sk_common.skc_net)) : 0;
}

int tp_btf__kfree_skb(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct pc_scope *within = counting();
	u32 host = within ? host_of_packet(within, skb) : 0;
	struct pc_told *told = host ? tell(within, PC_DROP, host, bpf_ktime_get_ns()) : 0;

	if (!told)
		return 0;
	describe_packet(told, skb);
	told->value = ctx[2];
	if (skb->dev)
		told->ifindex = skb->dev->ifindex;
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}

/* A socket that resets its connection has given its port back already, and remembers it. */
INLINE void name_closed(struct pc_told *told, struct sock *sk)
{
	struct tcp_sock *tp = skc_to_tcp_sock(sk);

	name_flow(told, sk);
	if (tp)
		told->source_port = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
	told->flow = flow_of(PROTOCOL_TCP, &told->source, &told->target, told->source_port, told->target_port);
}

/* Segments that belong to no socket are answered with a reset, too: the packet that is answered names the flow. */
int tp_btf__tcp_send_reset(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct pc_scope *within = counting();
	struct pc_told *told;
	u32 host = 0;

	if (!within)
		return 0;
	if (sk)
		host = host_of_socket(within, sk);
	else if (skb)
		host = host_of_packet(within, skb);
	told = host ? tell(within, PC_RST_SENT, host, bpf_ktime_get_ns()) : 0;
	if (!told)
		return 0;
	if (skb)
		describe_packet(told, skb);
	else if (sk)
		name_closed(told, sk);
	if (sk)
		told->value = sk->__sk_common.skc_state;
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}

/* Raw and packet sockets; the flow is the packet's, which need not be theirs. */
int tp_btf__sock_rcvqueue_full(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct pc_scope *within = counting();
	u32 host = within ? host_of_socket(within, sk) : 0;
	struct pc_told *told = host ? tell(within, PC_RCVQ_FULL, host, bpf_ktime_get_ns()) : 0;

	if (!told)
		return 0;
	describe_packet(told, (struct sk_buff *)ctx[1]);
	told->value = sk->sk_rcvbuf;
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}

/* Kernels before 6.9 give the socket alone. The packet itself is told of by kfree_skb. */
int tp_btf__udp_fail_queue_rcv_skb(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[1];
	struct pc_scope *within = counting();
	u32 host = within ? host_of_socket(within, sk) : 0;
	struct pc_told *told = host ? tell(within, PC_RCVQ_FULL, host, bpf_ktime_get_ns()) : 0;

	if (!told)
		return 0;
	told->protocol = PROTOCOL_UDP;
	told->target_port = sk->__sk_common.skc_num;
	told->value = sk->sk_rcvbuf;
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}

/* ---- waits for a CPU ---- */

#ifdef HAS_task_struct__sched_info	/* CONFIG_SCHED_INFO */

INLINE u32 host_of_task(struct pc_scope *within, struct task_struct *task)
{
	struct nsproxy *proxy;

	/* Kernel threads have no memory of their own. */
	if (!task->mm || task->tgid == within->own_tgid)
		return 0;
	proxy = task->nsproxy;
	return proxy && proxy->net_ns ? host_of(within, proxy->net_ns->ns.inum) : 0;
}

/* What a task's account of waiting grew by since it left the CPU last was its wait for this turn. */
int tp_btf__sched_switch(u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[1];
	struct pc_scope *within = counting();
	u32 host, index = task->pid & (PC_EVENT_TASKS - 1);
	u64 waited_ns, ran_ns, run_delay_ns, runtime_ns;
	struct pc_budget *allowed;
	struct pc_wait *known;
	struct pc_told *told;

	if (!within)
		return 0;
	host = host_of_task(within, task);
	known = host ? waits.lookup(&index) : 0;
	allowed = budget_of();
	if (!known || !allowed)
		return 0;
	run_delay_ns = task->sched_info.run_delay;
	runtime_ns = task->se.sum_exec_runtime;
	waited_ns = known->pid == task->pid ? run_delay_ns - known->run_delay_ns : 0;
	ran_ns = runtime_ns - known->runtime_ns;
	known->pid = task->pid;
	known->run_delay_ns = run_delay_ns;
	known->runtime_ns = runtime_ns;
	if (!waited_ns || waited_ns < allowed->runq_ns)
		return 0;
	told = tell(within, PC_RUNQ, host, bpf_ktime_get_ns() - ran_ns);
	if (!told)
		return 0;
	told->pid = task->pid;
	told->value = short_ns(waited_ns) / 1000;
	bpf_probe_read_kernel(told->comm, sizeof(told->comm), task->comm);
	events.ringbuf_submit(told, NO_WAKEUP);
	return 0;
}
#endif

/*
 * Detail mode's anomalies: what is rare and explains much. They are told whatever share of the packets is followed.
 */

BPF_F_TABLE("array", u32, struct pc_wait, waits, PC_DETAIL_TASKS, BPF_F_MMAPABLE);

INLINE void tell_segment(u8 kind, struct sock *sk, u32 seq, u32 length, u32 segments, u32 value)
{
	struct pc_scope *within = counting();
	struct pc_followed *known;
	struct pc_event *event;
	struct tcp_sock *tp;

	if (!within)
		return;
	tp = skc_to_tcp_sock(sk);
	known = tp ? follow_socket(within, sk, tp) : 0;
	if (!known)
		return;
	event = reserve(kind, host_of(within, NETNS(sk->__sk_common.skc_net)), bpf_ktime_get_ns());
	if (!event)
		return;
	describe_bytes(event, known->out, seq, length, 0);
	event->segments = segments;
	event->value = value;
	events.ringbuf_submit(event, NO_WAKEUP);
}

int tp_btf__tcp_retransmit_skb(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct tcp_sock *tp = skc_to_tcp_sock(sk);
	struct tcp_skb_cb segment;
	u32 length;

	if (!tp)
		return 0;
	bpf_probe_read_kernel(&segment, sizeof(segment), skb->cb);
	length = segment.end_seq - segment.seq - !!(segment.tcp_flags & (TCP_SYN | TCP_FIN));
	tell_segment(PC_AT_RETRANSMIT, sk, segment.seq, length, segment.tcp_gso_segs, tp->inet_conn.icsk_ca_state);
	return 0;
}

/* Also where the socket was in this state already: the timer ran off once more. */
int tp_btf__tcp_cong_state_set(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct tcp_sock *tp = skc_to_tcp_sock(sk);

	if (tp && (u8)ctx[1] == TCP_CA_Loss)
		tell_segment(PC_AT_RTO, sk, tp->snd_una, 0, 0, TCP_CA_Loss);
	return 0;
}

/* A packet met its end: with its flow, where it is one that can be read. */
INLINE void tell_packet(u8 kind, struct sk_buff *skb, u32 host, u32 value, u32 unnamed)
{
	struct pc_detail *ctl = detail_of();
	struct pc_packet packet = {};
	struct pc_event *event;

	if (!ctl)
		return;
	if (!read_packet(&packet, ctl, skb, skb->network_header)) {
		/* It may be one that nobody asked for. */
		if (ctl->protocol || ctl->port || ctl->addresses)
			return;
		packet.flow = packet.seq = packet.length = packet.protocol = 0;
	}
	event = reserve(kind, host, bpf_ktime_get_ns());
	if (!event)
		return;
	describe(event, &packet);
	event->lot = 0;
	event->value = value;
	if (unnamed)
		event->protocol = 0;
	events.ringbuf_submit(event, NO_WAKEUP);
}

int tp_btf__kfree_skb(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct pc_scope *within = counting();
	u32 host = 0;

	if (!within)
		return 0;
	if (skb->dev)
		host = host_of(within, NETNS(skb->dev->nd_net));
	else if (skb->sk)
		host = host_of(within, NETNS(skb->sk->__sk_common.skc_net));
	if (host)
		tell_packet(PC_AT_DROP, skb, host, ctx[2], 0);
	return 0;
}

/* Raw and packet sockets: the packet's protocol is not theirs. */
int tp_btf__sock_rcvqueue_full(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct pc_scope *within = counting();
	u32 host = within ? host_of(within, NETNS(sk->__sk_common.skc_net)) : 0;

	if (host)
		tell_packet(PC_AT_RCVQ_FULL, (struct sk_buff *)ctx[1], host, sk->sk_rcvbuf, 1);
	return 0;
}

/* Kernels before 6.9 give the socket alone. The packet itself is told of by kfree_skb. */
int tp_btf__udp_fail_queue_rcv_skb(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[1];
	struct pc_scope *within = counting();
	u32 host = within ? host_of(within, NETNS(sk->__sk_common.skc_net)) : 0, port = sk->__sk_common.skc_num;
	struct pc_detail *ctl = detail_of();
	struct pc_event *event;

	if (!host || !ctl || ctl->addresses)
		return 0;
	if ((ctl->protocol && ctl->protocol != PROTOCOL_UDP) || (ctl->port && ctl->port != port))
		return 0;
	event = reserve(PC_AT_RCVQ_FULL, host, bpf_ktime_get_ns());
	if (!event)
		return 0;
	describe_bytes(event, 0, port, 0, 0);
	event->value = sk->sk_rcvbuf;
	event->protocol = PROTOCOL_UDP;
	events.ringbuf_submit(event, NO_WAKEUP);
	return 0;
}

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
	u32 host, index = task->pid & (PC_DETAIL_TASKS - 1);
	u64 waited_ns, ran_ns, run_delay_ns, runtime_ns;
	struct pc_event *event;
	struct pc_detail *ctl;
	struct pc_wait *known;

	if (!within)
		return 0;
	host = host_of_task(within, task);
	known = host ? waits.lookup(&index) : 0;
	ctl = detail_of();
	if (!known || !ctl)
		return 0;
	run_delay_ns = task->sched_info.run_delay;
	runtime_ns = task->se.sum_exec_runtime;
	waited_ns = known->pid == task->pid ? run_delay_ns - known->run_delay_ns : 0;
	ran_ns = runtime_ns - known->runtime_ns;
	known->pid = task->pid;
	known->run_delay_ns = run_delay_ns;
	known->runtime_ns = runtime_ns;
	if (!waited_ns || waited_ns < ctl->runq_us * 1000ULL)
		return 0;
	event = reserve(PC_AT_RUNQ, host, bpf_ktime_get_ns() - ran_ns);
	if (!event)
		return 0;
	describe_bytes(event, 0, task->pid, 0, 0);
	event->value = waited_ns / 1000;
	event->protocol = 0;
	events.ringbuf_submit(event, NO_WAKEUP);
	return 0;
}
#endif

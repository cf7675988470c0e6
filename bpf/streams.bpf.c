/*
 * Detail mode's stations of a TCP stream: the application writes, TCP receives, wakes, the application reads.
 *
 * What an application is woken for and reads is told by the position that was reached, not by packets. All of
 * these run with the socket locked.
 */

/* What is known of the lab's socket that is to be followed; 0: it is not. */
INLINE struct pc_followed *follow_socket(struct pc_scope *within, struct sock *sk, struct tcp_sock *tp)
{
	struct pc_followed *known = followed.sk_storage_get(sk, 0, 0);
	struct pc_address local, remote;
	struct pc_detail *ctl;
	u16 from, to;

	if (known && known->trial == within->trial)
		return known->wanted ? known : 0;
	ctl = detail_of();
	if (!ctl || !host_of(within, NETNS(sk->__sk_common.skc_net)))
		return 0;
	known = followed.sk_storage_get(sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!known) {
		lock_xadd(&within->lost, 1);
		return 0;
	}
	from = sk->__sk_common.skc_num;
	to = bpf_ntohs(sk->__sk_common.skc_dport);
	read_ends(sk, &local, &remote);
	known->out = flow_of(PROTOCOL_TCP, &local, &remote, from, to);
	known->in = flow_of(PROTOCOL_TCP, &remote, &local, to, from);
	known->ready = tp->rcv_nxt;
	known->read = tp->copied_seq;
	known->wanted = !filtered_out(ctl, PROTOCOL_TCP, from, to, &local, &remote);
	known->trial = within->trial;
	return known->wanted ? known : 0;
}

/* Bytes [seq, seq + length) of the flow passed a station of the socket. */
INLINE void bytes_station(u8 kind, struct pc_scope *within, struct sock *sk, u64 flow, u32 seq, u32 length, u32 told)
{
	struct pc_detail *ctl = detail_of();
	u32 lot = least_lot(flow, seq, length);
	struct pc_event *event;

	if (!ctl || lot >= ctl->keep)
		return;
	event = reserve(kind, host_of(within, NETNS(sk->__sk_common.skc_net)), bpf_ktime_get_ns());
	if (!event)
		return;
	describe_bytes(event, flow, told, length, lot);
	events.ringbuf_submit(event, NO_WAKEUP);
}

/*
 * Where the kernel has no tracepoint for them, functions take the place of three of these (fentry, fexit): they
 * begin, or end, where the tracepoint would be, and have the same arguments as far as they are used.
 */

INLINE int app_writes(struct sock *sk, struct msghdr *message)
{
	struct pc_scope *within = counting();
	struct tcp_sock *tp;
	struct pc_followed *known;
	u32 seq;

	if (!within)
		return 0;
	tp = skc_to_tcp_sock(sk);
	known = tp ? follow_socket(within, sk, tp) : 0;
	if (!known)
		return 0;
	seq = tp->write_seq;
	bytes_station(PC_AT_WRITE, within, sk, known->out, seq, message->msg_iter.count, seq);
	return 0;
}

int tp_btf__tcp_sendmsg_locked(u64 *ctx)
{
	return app_writes((struct sock *)ctx[0], (struct msghdr *)ctx[1]);
}

int fentry__tcp_sendmsg_locked(u64 *ctx)
{
	return app_writes((struct sock *)ctx[0], (struct msghdr *)ctx[1]);
}

int tp_btf__tcp_probe(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct pc_scope *within = counting();
	struct tcp_skb_cb segment;
	struct pc_followed *known;
	struct tcp_sock *tp;
	u32 length;

	if (!within)
		return 0;
	bpf_probe_read_kernel(&segment, sizeof(segment), skb->cb);
	length = segment.end_seq - segment.seq - !!(segment.tcp_flags & (TCP_SYN | TCP_FIN));
	/* Acknowledgements alone are most of what a sender gets. */
	if (!length)
		return 0;
	tp = skc_to_tcp_sock(sk);
	known = tp ? follow_socket(within, sk, tp) : 0;
	if (known)
		bytes_station(PC_AT_RX_TCP, within, sk, known->in, segment.seq, length, segment.seq);
	return 0;
}

INLINE int app_is_woken(struct sock *sk)
{
	struct pc_scope *within = counting();
	struct tcp_sock *tp;
	struct pc_followed *known;
	u32 next, before;

	if (!within)
		return 0;
	tp = skc_to_tcp_sock(sk);
	known = tp ? follow_socket(within, sk, tp) : 0;
	if (!known)
		return 0;
	before = known->ready;
	next = tp->rcv_nxt;
	if (before == next)
		return 0;
	known->ready = next;
	bytes_station(PC_AT_READY, within, sk, known->in, before, next - before, next);
	return 0;
}

int tp_btf__sk_data_ready(u64 *ctx)
{
	return app_is_woken((struct sock *)ctx[0]);
}

int fentry__sock_def_readable(u64 *ctx)
{
	return app_is_woken((struct sock *)ctx[0]);
}

INLINE int app_has_read(struct sock *sk)
{
	struct pc_scope *within = counting();
	struct tcp_sock *tp;
	struct pc_followed *known;
	u32 next, before;

	if (!within)
		return 0;
	tp = skc_to_tcp_sock(sk);
	known = tp ? follow_socket(within, sk, tp) : 0;
	if (!known)
		return 0;
	before = known->read;
	next = tp->copied_seq;
	if (before == next)
		return 0;
	known->read = next;
	bytes_station(PC_AT_READ, within, sk, known->in, before, next - before, next);
	return 0;
}

int tp_btf__sock_recv_length(u64 *ctx)
{
	int got = ctx[1], flags = ctx[2];

	if (got <= 0 || flags & PEEK)
		return 0;
	return app_has_read((struct sock *)ctx[0]);
}

/* What only peeks takes nothing. */
int fexit__tcp_recvmsg(u64 *ctx)
{
	return app_has_read((struct sock *)ctx[0]);
}

/* Told whatever share of the packets is followed: each trial compares them with the hosts' own counters. */
int tp_btf__tcp_retransmit_skb(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct pc_scope *within = counting();
	struct pc_followed *known;
	struct tcp_skb_cb segment;
	struct pc_event *event;
	struct tcp_sock *tp;

	if (!within || !was_retransmitted(ctx))
		return 0;
	tp = skc_to_tcp_sock(sk);
	known = tp ? follow_socket(within, sk, tp) : 0;
	if (!known)
		return 0;
	event = reserve(PC_AT_RETRANSMIT, host_of(within, NETNS(sk->__sk_common.skc_net)), bpf_ktime_get_ns());
	if (!event)
		return 0;
	bpf_probe_read_kernel(&segment, sizeof(segment), skb->cb);
	describe_bytes(event, known->out, segment.seq, payload_of(&segment), 0);
	event->segments = segment.tcp_gso_segs;
	event->value = tp->inet_conn.icsk_ca_state;
	events.ringbuf_submit(event, NO_WAKEUP);
	return 0;
}

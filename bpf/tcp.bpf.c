// SPDX-License-Identifier: GPL-2.0
/* The TCP layer: what each connection did, summed up in the kernel (connections.bpf.c says which). */

/* ---- segments ---- */

/* Once a connection; what finds no room is counted in lost_samples when it is to be counted. */
INLINE void allot_histograms(struct pc_record *record)
{
	struct pc_control *ctl = active_control();

	if (!ctl)
		return;
	record->histogram = fetch_inc(&ctl->histograms) + 1;
	record->rtt_spread.minimum = record->srtt_spread.minimum = ~0U;
	record->cwnd_spread.minimum = record->inflight_spread.minimum = ~0U;
	record->slow_rtt_spread.minimum = ~0U;
}

INLINE struct pc_histograms *histograms_of(struct pc_record *record)
{
	u32 index = record->histogram - 1;

	return histograms.lookup(&index);
}

INLINE void count_samples(struct pc_record *record)
{
	struct pc_histograms *set;

	if (!record->histogram)
		allot_histograms(record);
	set = histograms_of(record);
	if (set)
		add_samples(record, set);
	else
		spread_samples(record);
}

INLINE void sample(struct pc_record *record, struct tcp_sock *tp)
{
	u64 pacing_rate = tp->inet_conn.icsk_inet.sk.sk_pacing_rate;
	u32 pending = record->pending & (PC_PENDING - 1);
	struct pc_sample *one = &record->samples[pending];

	/* On a live machine short connections are many, and have their few samples here alone. */
	if (!record->histogram && !is_live())
		allot_histograms(record);
	one->rtt = tp->rack.mstamp ? tp->rack.rtt_us : PC_NO_VALUE;
	one->srtt = tp->srtt_us >> 3;
	one->cwnd = tp->snd_cwnd;
	one->inflight = tp->packets_out + tp->retrans_out - tp->sacked_out - tp->lost_out;
	if (pacing_rate != ~0ULL) {
		record->pacing_total += pacing_rate;
		record->pacing_samples++;
	}
	if (tp->snd_wnd > record->snd_wnd_bytes)
		record->snd_wnd_bytes = tp->snd_wnd;
	record->pending = (pending + 1) & (PC_PENDING - 1);
	if (pending == PC_PENDING - 1)
		count_samples(record);
}

/* The warm-up's too: that is where most connections have it. */
INLINE void sample_slow_start(struct pc_record *record, struct tcp_sock *tp)
{
	struct pc_histograms *set;

	if (is_live() || !in_slow_start(tp))
		return;
	if (!record->histogram)
		allot_histograms(record);
	set = histograms_of(record);
	if (set)
		HISTOGRAM_ADD(record, slow_rtt, set->slow_start, PC_RTT_BUCKETS, tp->rack.rtt_us);
	else
		record->lost_samples++;
}

/* Sample the connection if something was acknowledged since the last time. */
INLINE void sample_delivery(struct pc_record *record, struct tcp_sock *tp)
{
	u32 delivered = tp->delivered;
	bool is_new = delivered != record->delivered;

	if (is_new && tp->snd_cwnd < tp->snd_ssthresh)
		sample_slow_start(record, tp);
	record->delivered = delivered;
	if (in_window(record, tp) && is_new)
		sample(record, tp);
}

/* A segment arrived at an established socket; what is read is the state before it. */
int tp_btf__tcp_probe(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct tcp_sock *tp = skc_to_tcp_sock(sk);
	struct pc_record *record;

	if (!tp)
		return 0;
	record = find_or_admit(sk, tp);
	if (!record)
		return 0;
	record->last_ns = socket_clock(tp);
	sample_delivery(record, tp);
	if (record->in_window && all_is_on_the_way(tp))
		record->sndbuf_ns += sndbuf_limited_ns(record, tp, bpf_ktime_get_ns());
	return 0;
}

int tp_btf__tcp_retransmit_skb(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct tcp_sock *tp = skc_to_tcp_sock(sk);
	struct pc_record *record = find(sk);
	u32 segs, state, opened;

	if (!tp || !record)
		return 0;
	/* total_retrans has this skb's segments already, however many segments one skb carries. */
	segs = tp->total_retrans - record->total_retrans;
	record->total_retrans = tp->total_retrans;
	opened = record->in_window;
	state = sk->__sk_common.skc_state;
	if (state == TCP_SYN_SENT || state == TCP_SYN_RECV) {
		record->whole_events.retrans_syn_segs += segs;
		read_names(record, tp);
		return 0;
	}
	if (!in_window(record, tp))
		return 0;
	if (!opened) {
		/* This one opens the window, and is the first in it. */
		record->base.retrans_segs -= segs;
		record->base.segs_out -= segs;
		record->base.data_segs_out -= segs;
	}
	state = tp->inet_conn.icsk_ca_state;
	if (state == TCP_CA_Loss)
		record->window_events.retrans_rto_segs += segs;
	else if (state == TCP_CA_Recovery)
		record->window_events.retrans_fast_segs += segs;
	else
		record->window_events.retrans_tlp_segs += segs;
	return 0;
}

int tp_btf__tcp_cong_state_set(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u64 state = (u8)ctx[1], old, now;
	struct tcp_sock *tp = skc_to_tcp_sock(sk);
	struct pc_record *record = find(sk);

	if (!tp || !record || !in_window(record, tp))
		return 0;
	old = record->state;
	if (old == state || old >= PC_CA_STATES || state >= PC_CA_STATES)
		return 0;
	KEEP_CHECKED(old);
	now = socket_clock(tp);
	if (now < record->state_since_ns)
		now = record->state_since_ns;
	record->state_ns[old] += now - record->state_since_ns;
	record->state_since_ns = now;
	record->state_entries[state]++;
	record->state = state;
	if (tp->reordering > record->reordering_segs)
		record->reordering_segs = tp->reordering;
	return 0;
}

/* ---- the life of a connection ---- */

INLINE void on_syn_sent(struct sock *sk, struct tcp_sock *tp)
{
	struct pc_control *ctl = active_control();
	struct pc_record *record = ctl ? admit(ctl, sk, 0) : 0;

	if (!record)
		return;
	record->syn_ns = bpf_ktime_get_ns();
	record->total_retrans = tp->total_retrans;
	/* connect(2) is under way. */
	record->tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(record->comm, sizeof(record->comm));
}

/* listen(2) is under way: what the socket will accept is its task's. */
INLINE void on_listen(struct sock *sk)
{
	struct pc_filter *within = active_control() ? active_filter() : 0;
	u32 yes = 1;
	u64 port;

	if (!within || !within->by_task || !task_passes(within))
		return;
	port = port_key(sk->__sk_common.skc_net.net->ns.inum, sk->__sk_common.skc_num);
	chosen_ports.update(&port, &yes);
}

INLINE void on_established(struct sock *sk, struct tcp_sock *tp, u32 old)
{
	struct pc_control *ctl = active_control();
	u64 now = bpf_ktime_get_ns();
	struct pc_record *record;

	if (!ctl)
		return;
	record = find(sk);
	if (!record)
		record = admit(ctl, sk, now);
	if (!record)
		return;
	record->window_at_ns = now + ctl->warmup_ns;
	record->delivered = tp->delivered;
	record->total_retrans = tp->total_retrans;
	record->established_ns = now;
	record->last_ns = now;
	read_names(record, tp);
	if (!ctl->warmup_ns)
		open_window(record, tp, now);
	if (old == TCP_SYN_SENT) {
		record->handshake_us = record->syn_ns ? (now - record->syn_ns) / 1000 : 0;
	} else {
		record->passive = 1;
		record->synack_rtt_us = tp->srtt_us >> 3;
		record->whole_events.retrans_syn_segs = tp->total_retrans;
	}
}

/*
 * tcp_probe sees a segment before it counts, and sees none once an end has closed: what acknowledges the data of a short
 * connection changes its state, or came with the segment before. A FIN that is acknowledged alone is no delivery.
 */
INLINE void on_closing(struct sock *sk, struct tcp_sock *tp, u32 old)
{
	u32 fins = old != TCP_ESTABLISHED && old != TCP_CLOSE_WAIT;
	struct pc_record *record = find(sk);

	if (!record || tp->delivered - record->delivered <= fins)
		return;
	record->last_ns = tp->delivered_mstamp * 1000;
	sample_delivery(record, tp);
}

INLINE void on_close(struct sock *sk, struct tcp_sock *tp)
{
	struct pc_record *record = find(sk);

	if (!record)
		return;
	read_out(record, tp, bpf_ktime_get_ns());
	record->closed = 1;
}

int tp_btf__inet_sock_set_state(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u32 old = ctx[1], state = ctx[2];
	struct tcp_sock *tp = skc_to_tcp_sock(sk);

	if (!tp)
		return 0;
	if (old != TCP_SYN_SENT && old != TCP_SYN_RECV)
		on_closing(sk, tp, old);
	if (state == TCP_SYN_SENT)
		on_syn_sent(sk, tp);
	else if (state == TCP_ESTABLISHED)
		on_established(sk, tp, old);
	else if (state == TCP_CLOSE)
		on_close(sk, tp);
	else if (state == TCP_LISTEN)
		on_listen(sk);
	return 0;
}

/* A reset after our own close() cuts nothing off: some applications end every connection so. */
int tp_btf__tcp_receive_reset(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u32 state = sk->__sk_common.skc_state;
	struct pc_record *record = find(sk);

	if (!record)
		return 0;
	if (state == TCP_ESTABLISHED || state == TCP_SYN_SENT || state == TCP_SYN_RECV || state == TCP_CLOSE_WAIT)
		record->whole_events.resets++;
	else
		record->whole_events.resets_late++;
	return 0;
}

int tp_btf__tcp_send_reset(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct pc_record *record;

	/* Segments that belong to no socket are answered with a reset, too. */
	if (!sk)
		return 0;
	record = find(sk);
	if (record)
		record->whole_events.resets_sent++;
	return 0;
}

/* One call a socket of the trial that lives. */
int iter__bpf_sk_storage_map(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct pc_control *ctl = active_control();
	struct pc_socket *socket = ctx->value;
	struct sock *sk = ctx->sk;
	u32 index;

	if (!ctl || !socket || !sk || socket->generation != ctl->generation)
		return 0;
	index = socket->record;
	bring_up_to_date(records.lookup(&index), skc_to_tcp_sock(sk));
	return 0;
}

/* One call a socket of the network namespace in which it is read: where the kernel refuses iterators over maps. */
int iter__tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tp = common ? skc_to_tcp_sock(common) : 0;
	struct pc_control *ctl = active_control();
	struct pc_record *record;
	struct sock *sk;
	u32 state;

	if (!tp || !ctl)
		return 0;
	sk = (struct sock *)tp;
	record = find_stored(ctl, sk);
	state = sk->__sk_common.skc_state;
	/* On a live machine connections that are idle are shown, too. */
	if (!record && ctl->live && state != TCP_LISTEN && state != TCP_SYN_SENT && state != TCP_CLOSE) {
		record = adopt(ctl, sk, tp);
		if (record)
			open_window(record, tp, bpf_ktime_get_ns());
	}
	bring_up_to_date(record, tp);
	return 0;
}

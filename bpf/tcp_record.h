/* SPDX-License-Identifier: GPL-2.0 */
/* Fills a pc_record (perfcheck.h) from the kernel's tcp_sock. */
#pragma once

#define AF_INET6 10
#define SOCK_NOSPACE 2		/* bit of socket.flags */

static u64 (*jiffies64)(void) = (void *)BPF_FUNC_jiffies64;

/*
 * LLVM knows an atomic add that gives the old value only from -mcpu=v3, which BCC does not ask
 * for. The loader therefore makes each 32-bit atomic add a fetching one; only this one exists.
 */
INLINE u32 fetch_inc(u32 *counter)
{
	u32 value = 1;

	asm volatile("lock *(u32 *)(%1 + 0) += %0" : "+r"(value) : "r"(counter) : "memory");
	return value;
}

/* When the socket last sent or received anything: what TCP read from the clock itself. */
INLINE u64 socket_clock(struct tcp_sock *tp)
{
#ifdef HAS_tcp_sock__tcp_clock_cache
	return tp->tcp_clock_cache;
#else
	return tp->tcp_mstamp * 1000;
#endif
}

/* One of the three chronos; the one that runs counts up to now. */
#define CHRONO(tp, type, now)							\
	((tp)->chrono_stat[(type) - 1] +					\
	 ((tp)->chrono_type == (type) ? (now) - (tp)->chrono_start : 0))

#define PC_READ_COUNT(type, counter, member) counts->counter = tp->member;

INLINE void read_counts(struct pc_counts *counts, struct tcp_sock *tp)
{
	u32 now = jiffies64();

	PC_TCP_SOCK_COUNTS(PC_READ_COUNT)
	counts->busy_jiffies = CHRONO(tp, TCP_CHRONO_BUSY, now);
	counts->rwnd_limited_jiffies = CHRONO(tp, TCP_CHRONO_RWND_LIMITED, now);
	counts->sndbuf_limited_jiffies = CHRONO(tp, TCP_CHRONO_SNDBUF_LIMITED, now);
}

/*
 * How long the send buffer has kept the socket from sending, up to `now`: all that was written is on the way, the
 * congestion window has room, and someone who wanted to write found none in the buffer. Nothing of that has changed
 * since the socket last sent or received. SOCK_NOSPACE is set by a writer that blocks, by one that gets EAGAIN and by
 * poll(2) alike; TCP_CHRONO_SNDBUF_LIMITED runs only where it was set before the last segment left, which one that
 * blocks seldom does.
 */
INLINE u64 sndbuf_limited_ns(struct pc_record *record, struct tcp_sock *tp, u64 now)
{
	u64 since;
	struct socket *user;

	user = tp->inet_conn.icsk_inet.sk.sk_socket;
	if (!user || !(user->flags >> SOCK_NOSPACE & 1))
		return 0;
	if (tp->packets_out + tp->retrans_out - tp->sacked_out - tp->lost_out >= tp->snd_cwnd)
		return 0;
	since = socket_clock(tp);
	if (since < record->window_ns)
		since = record->window_ns;
	return now > since ? now - since : 0;
}

/*
 * What is quick to see, and seldom so where anything else limits. Less than a segment may be left: Nagle's algorithm
 * keeps it back until more is written.
 */
INLINE bool all_is_on_the_way(struct tcp_sock *tp)
{
	return tp->packets_out && tp->write_seq - tp->snd_nxt < tp->mss_cache;
}

/* TCP's byte counters include the FIN, which takes a sequence number but is no byte. */
INLINE void leave_out_fin(struct pc_counts *counts, struct tcp_sock *tp)
{
	struct sock_common *common = &tp->inet_conn.icsk_inet.sk.__sk_common;
	u32 state = common->skc_state;
	u32 fin_sent = state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK;

	if (fin_sent && tp->snd_una == tp->write_seq && counts->bytes_acked)
		counts->bytes_acked--;
	if (common->skc_flags >> SOCK_DONE & 1 && counts->bytes_received)
		counts->bytes_received--;
}

INLINE void read_names(struct pc_record *record, struct tcp_sock *tp)
{
	struct sock_common *common = &tp->inet_conn.icsk_inet.sk.__sk_common;

	record->family = common->skc_family;
	record->local_port = common->skc_num;
	record->remote_port = bpf_ntohs(common->skc_dport);
#ifdef HAS_sock_common__skc_v6_rcv_saddr
	if (record->family == AF_INET6) {
		bpf_probe_read_kernel(record->local, 16, &common->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(record->remote, 16, &common->skc_v6_daddr);
		return;
	}
#endif
	*(u32 *)record->local = common->skc_rcv_saddr;
	*(u32 *)record->remote = common->skc_daddr;
}

/* The window of measurement opens: counters count from here. */
INLINE void open_window(struct pc_record *record, struct tcp_sock *tp, u64 now)
{
	read_counts(&record->base, tp);
	/* What was sent again before, and found no place in a kind, belongs to none of the window's. */
	record->total_retrans = tp->total_retrans;
	record->in_window = 1;
	record->window_ns = now;
	record->state = tp->inet_conn.icsk_ca_state;
	record->state_since_ns = now;
}

/* Whether the warm-up is over; the first event to find it so opens the window. */
INLINE bool in_window(struct pc_record *record, struct tcp_sock *tp)
{
	u64 now;

	if (record->in_window)
		return true;
	/* The socket's own clock stands still while the socket is idle. */
	now = bpf_ktime_get_ns();
	if (!record->established_ns || now < record->window_at_ns)
		return false;
	open_window(record, tp, now);
	return true;
}

/* What waits at both sides, as ss(8) shows it, and the memory that it takes. */
INLINE void read_queues(struct pc_record *record, struct tcp_sock *tp)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	struct socket_alloc *user = (struct socket_alloc *)sk->sk_socket;
	struct dst_entry *route = sk->sk_dst_cache;

	if (user)
		bpf_probe_read_kernel(&record->inode, sizeof(record->inode), &user->vfs_inode.i_ino);
	record->sendq_bytes = tp->write_seq - tp->snd_una;
	record->recvq_bytes = tp->rcv_nxt - tp->copied_seq;
	record->sndbuf_bytes = sk->sk_sndbuf;
	record->rcvbuf_bytes = sk->sk_rcvbuf;
	record->wmem_bytes = sk->sk_wmem_queued;
	record->rmem_bytes = sk->sk_backlog.rmem_alloc.counter;
	record->rcv_wnd_bytes = tp->rcv_wnd;
	if (route && route->dev)
		record->ifindex = route->dev->ifindex;
}

/* Everything that is read once: at the close, or by the iterator while the socket lives. */
INLINE void read_out(struct pc_record *record, struct tcp_sock *tp, u64 now)
{
	struct tcp_congestion_ops *ops = tp->inet_conn.icsk_ca_ops;

	read_counts(&record->now, tp);
	leave_out_fin(&record->now, tp);
	record->end_ns = now;
	if (!record->family)
		read_names(record, tp);
	/* tcp_probe does not fire once the connection is being closed; what came since tells. */
	if (tp->delivered - record->delivered > 1)
		record->last_ns = tp->delivered_mstamp * 1000;
	record->outstanding_segs = tp->packets_out;
	record->sndbuf_last_ns = record->in_window && all_is_on_the_way(tp) ? sndbuf_limited_ns(record, tp, now) : 0;
	record->min_rtt_us = tp->rtt_min.s[0].v;
	record->rttvar_us = tp->mdev_us >> 2;
	record->ssthresh_segs = tp->snd_ssthresh;
	record->mss_bytes = tp->mss_cache;
	record->cwnd_segs = tp->snd_cwnd;
	record->srtt_us = tp->srtt_us >> 3;
	record->inflight_segs = tp->packets_out + tp->retrans_out - tp->sacked_out - tp->lost_out;
	read_queues(record, tp);
	record->rate_delivered_segs = tp->rate_delivered;
	record->rate_interval_us = tp->rate_interval_us;
	if (tp->reordering > record->reordering_segs)
		record->reordering_segs = tp->reordering;
	if (tp->snd_wnd > record->snd_wnd_bytes)
		record->snd_wnd_bytes = tp->snd_wnd;
	if (ops)
		bpf_probe_read_kernel(record->congestion, sizeof(record->congestion), ops->name);
}

/*
 * Whether an RTT of slow start is at hand; the caller has seen the window below the threshold. It may be there in
 * recovery and CWR, too. An algorithm with a cong_control of its own (BBR) has no threshold.
 */
INLINE bool in_slow_start(struct tcp_sock *tp)
{
	struct tcp_congestion_ops *ops = tp->inet_conn.icsk_ca_ops;
	u32 state = tp->inet_conn.icsk_ca_state;

	return ops && !ops->cong_control && state != TCP_CA_CWR && state != TCP_CA_Recovery && tp->rack.mstamp;
}

INLINE void bring_up_to_date(struct pc_record *record, struct tcp_sock *tp)
{
	if (tp && record && record->cookie && !record->closed)
		read_out(record, tp, bpf_ktime_get_ns());
}

/* Where there is no room for histograms the samples' sums and extremes are kept alone. */
INLINE void spread_samples(struct pc_record *record)
{
	struct pc_sample *one;
	u32 number;

	for (number = 0; number < PC_PENDING; number++) {
		one = &record->samples[number];
		if (one->rtt != PC_NO_VALUE)
			spread_add(&record->rtt_spread, one->rtt);
		spread_add(&record->srtt_spread, one->srtt);
		spread_add(&record->cwnd_spread, one->cwnd);
		spread_add(&record->inflight_spread, one->inflight);
	}
	record->lost_samples += PC_PENDING;
}

/* Count the samples that wait. */
INLINE void add_samples(struct pc_record *record, struct pc_histograms *set)
{
	struct pc_sample *one;
	u32 number;

	for (number = 0; number < PC_PENDING; number++) {
		one = &record->samples[number];
		if (one->rtt != PC_NO_VALUE)
			HISTOGRAM_ADD(record, rtt, set->times, PC_RTT_BUCKETS, one->rtt);
		HISTOGRAM_ADD(record, srtt, set->times, PC_RTT_BUCKETS, one->srtt);
		HISTOGRAM_ADD(record, cwnd, set->segs, PC_SEGS_BUCKETS, one->cwnd);
		HISTOGRAM_ADD(record, inflight, set->segs, PC_SEGS_BUCKETS, one->inflight);
	}
}

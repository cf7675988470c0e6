/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The contract between the measurement core and user space: what lies in the maps. User space
 * takes the layout from here (through the compiler), so nothing is declared twice. Members come in
 * an order that leaves no holes. Times are CLOCK_MONOTONIC in ns.
 */
#pragma once

#define PC_SUB_BITS 5		/* 32 buckets an octave: a bucket is 1/32 of its value wide */
#define PC_RTT_BUCKETS 704	/* up to 2^26 us = 67 s */
#define PC_SEGS_BUCKETS 416	/* up to 2^17 segments */
#define PC_SLOTS 65536		/* shortcuts from a socket to its record; a power of two */
#define PC_CA_STATES 5
#define PC_PENDING 8		/* samples that wait to be counted; a power of two */
#define PC_NO_VALUE 0xffffffff

/* One element; user space writes it at the begin of a trial. */
struct pc_control {
	u64 warmup_ns;		/* counted from each connection's establishment */
	u64 namespaces_seen;	/* bit (inum % 64) is set for each of `namespaces` */
	u64 lost_records;	/* sockets for which there was no room */
	u32 generation;		/* number of the trial; 0: measure nothing */
	u32 records;		/* next free element of `records` and of `histograms` */
	u32 histograms;
	/*
	 * Records that user space has read and emptied are used again: it puts their numbers into `freed_records` and
	 * counts them in `freed`; who takes one counts it in `taken`.
	 */
	u32 freed, taken;
	u32 live;		/* a machine that is nobody's lab: connections that are idle have records, too */
};

/* Socket storage: which record is the socket's, and of which trial. */
struct pc_socket {
	u32 generation, record;
};

/*
 * What tcp_sock itself counts since its birth: COUNT(type, counter, member of tcp_sock).
 *
 * A counter's name here is its name in user space (TcpSocket.counters), which takes names and types from the compiled
 * map. A line here, or a member of pc_window_events or pc_whole_events, is all of a counter; the catalogue's metric
 * that names it (perfcheck/model/catalogue/tcp.py) is all of its figure. 64-bit ones come first.
 */
#define PC_TCP_SOCK_COUNTS(COUNT)			\
	COUNT(u64, bytes_acked, bytes_acked)		\
	COUNT(u64, bytes_received, bytes_received)	\
	COUNT(u32, segs_out, segs_out)			\
	COUNT(u32, data_segs_out, data_segs_out)	\
	COUNT(u32, retrans_segs, total_retrans)		\
	COUNT(u32, lost_segs, lost)			\
	COUNT(u32, delivered_segs, delivered)		\
	COUNT(u32, delivered_ce_segs, delivered_ce)	\
	COUNT(u32, dsack_dups_segs, dsack_dups)		\
	COUNT(u32, reord_seen_events, reord_seen)	\
	COUNT(u32, ooo_segs, rcv_ooopack)

#define PC_MEMBER(type, counter, member) type counter;

struct pc_counts {
	PC_TCP_SOCK_COUNTS(PC_MEMBER)
	u32 busy_jiffies, rwnd_limited_jiffies, sndbuf_limited_jiffies;	/* tcp_sock.chrono_stat */
};

/* What programs count in the window of measurement. */
struct pc_window_events {
	u32 retrans_fast_segs, retrans_rto_segs, retrans_tlp_segs;	/* by the congestion state */
};

/* What programs count over the whole connection. */
struct pc_whole_events {
	u32 retrans_syn_segs;
	u32 resets, resets_late, resets_sent;	/* received before and after our own close; sent */
};

/* What a histogram's buckets do not tell. */
struct pc_spread {
	u64 total;
	u32 minimum, maximum;
};

/* What one segment told; rtt_us: PC_NO_VALUE where it gave none. */
struct pc_sample {
	u32 rtt, srtt, cwnd, inflight;
};

struct pc_record {
	/*
	 * The first cache line, and one of the two of `samples`, are what tcp_probe touches: with thousands
	 * of connections none of it is in the cache. Every PC_PENDING samples it counts them, and user space
	 * counts those that are left.
	 */
	u64 cookie;		/* 0: the record is free */
	u64 window_at_ns;	/* when the warm-up ends */
	u64 last_ns;		/* when the latest segment came */
	u64 pacing_total;	/* sum of the pacing rates sampled, in bytes/s */
	u32 pacing_samples;
	u32 histogram;		/* index + 1; 0: none yet */
	u32 delivered;		/* tcp_sock.delivered and total_retrans at the latest event */
	u32 total_retrans;
	u32 snd_wnd_bytes;	/* largest in the window */
	u32 in_window;
	u32 pending;		/* number of `samples` not yet counted */
	u32 lost_samples;	/* for which there was no room in `histograms` */
	struct pc_sample samples[PC_PENDING];

	struct pc_spread rtt_spread, srtt_spread, cwnd_spread, inflight_spread, slow_rtt_spread;
	u32 rtt_above, srtt_above, cwnd_above, inflight_above;	/* beyond the last bucket */
	u64 syn_ns, established_ns, end_ns;
	u64 window_ns;		/* when the window of measurement opened */
	struct pc_counts base, now;	/* at the begin of the window, and at the end */
	u64 state_ns[PC_CA_STATES], state_since_ns;
	u64 sndbuf_ns;		/* limited by the send buffer, and the part of it that lasts at the end */
	u64 sndbuf_last_ns;
	u32 state_entries[PC_CA_STATES];
	u32 state;
	struct pc_window_events window_events;
	struct pc_whole_events whole_events;
	u32 netns;
	u32 slow_rtt_above;
	u32 handshake_us, synack_rtt_us, min_rtt_us, rttvar_us, ssthresh_segs, mss_bytes;
	u32 reordering_segs, rate_delivered_segs, rate_interval_us, cwnd_segs, outstanding_segs;
	u32 closed, passive, family;
	u16 local_port, remote_port;
	u8 local[16], remote[16], congestion[16];
	/* At the latest look. */
	u32 srtt_us, inflight_segs, sendq_bytes, recvq_bytes, sndbuf_bytes, rcvbuf_bytes, wmem_bytes, rmem_bytes;
	u32 rcv_wnd_bytes, ifindex;
	u64 cgroup;
	u64 inode;		/* of the socket's file, by which /proc names its processes */
	u32 tgid;		/* who connected; 0: not known */
	char comm[16];
} __attribute__((aligned(64)));	/* each record begins with a cache line */

/*
 * Log-linear: values below 2^(PC_SUB_BITS+1) one a bucket, then 2^PC_SUB_BITS buckets an octave.
 * What is near in value lies side by side: with thousands of connections each cache line counts.
 */
struct pc_histograms {
	struct {
		u32 cwnd, inflight;
	} segs[PC_SEGS_BUCKETS];
	struct {
		u32 rtt, srtt;
	} times[PC_RTT_BUCKETS];
	struct {
		u32 slow_rtt;
	} slow_start[PC_RTT_BUCKETS];	/* apart from the others: touched in slow start alone */
};

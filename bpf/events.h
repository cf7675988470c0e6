/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The contract of events: what is rare and explains much, one record each in a ring buffer, in every mode.
 *
 * A record names its flow itself. That makes it twice as long as one of detail mode, and spares a table of flows, which
 * a flood of new ones would fill. With the ring's own header a record is a power of two long, so that user space reads
 * the ring as an array. Times are CLOCK_MONOTONIC in ns.
 */
#pragma once
#include "packet.h"

#define PC_EVENT_TASKS 8192	/* a power of two */

enum pc_told_kind {
	PC_RETRANSMIT = 1,	/* `seq length segments`; `value`: enum pc_retransmission */
	PC_RTO,			/* the retransmission timer ran off; `seq`: the first byte not acknowledged */
	PC_CA_STATE,		/* `value`: the congestion state entered; `before`: the one that was left */
	PC_DROP,		/* `value`: enum skb_drop_reason */
	PC_RCVQ_FULL,		/* a socket had no room; `value`: bytes that its receive buffer may hold */
	PC_RST_RECEIVED,	/* `value`: the socket's state */
	PC_RST_SENT,		/* `value`: the socket's state; 0: there was no socket */
	PC_RUNQ,		/* task `pid`, named `comm`, waited `value` us for a CPU, up to `ns` */
	PC_TOLD_KINDS
};

enum pc_retransmission { PC_FAST, PC_AFTER_RTO, PC_TLP, PC_SYN, PC_SYNACK };

struct pc_told {
	u64 ns;
	u64 flow;		/* as in detail mode, source first; 0: none */
	struct pc_address source, target;
	u16 source_port, target_port;
	u32 ordinal;		/* number of the event among those of its kind and CPU, told or not, from 0 */
	u32 seq, length;
	u32 value, before;
	u32 srtt_us, cwnd_segs, inflight_segs;	/* of the flow's socket; 0: it was not at hand */
	u32 pid;
	u32 ifindex;
	u16 segments, cpu;
	u8 host;		/* its number, from 1 */
	u8 kind;
	u8 protocol;
	u8 tcp_flags;
	char comm[16];
};

/* One a kind and CPU: kind * number of CPUs + CPU. `seen` = `told` + `no_room` + what was sampled out. */
struct pc_bucket {
	u64 next_ns;		/* when the next event would be due at the budget's rate */
	u32 seen, told, no_room;
	u32 spare[11];		/* a cache line for each CPU */
};

/* One element, written by user space. */
struct pc_budget {
	u64 interval_ns;	/* between two events of a kind on a CPU */
	u64 burst_ns;		/* so much may be told ahead of time */
	u64 runq_ns;		/* a wait for a CPU from which on it is an event */
};

struct pc_wait {
	u64 run_delay_ns, runtime_ns;
	u32 pid, spare;
};

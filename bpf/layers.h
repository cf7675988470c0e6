/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The contract of the layers beside TCP: what lies in their maps. Their sources are compiled as one
 * text, scope.bpf.c first. Times are CLOCK_MONOTONIC in ns; histograms as in perfcheck.h.
 */
#pragma once

#define PC_HOSTS 64		/* at most so many network namespaces at once */
#define PC_BUCKETS 896		/* log-linear buckets for all values of 32 bits */
#define PC_BUCKET_SLOTS 1024	/* a power of two, so that a mask keeps within */
#define PC_REASONS 256
#define PC_TASKS 8192		/* a power of two */

/* Nothing; keep track of what is under way (queues, tasks); count as well. */
enum pc_phase { PC_OFF, PC_TRACK, PC_COUNT };

/* One element, written by user space. */
struct pc_scope {
	u64 namespaces_seen;	/* bit (inum % 64) is set for each of `namespaces`; all: any namespace counts */
	u64 window_ns;		/* since when PC_COUNT */
	u64 lost;		/* what could not be counted for want of room */
	u32 phase;
	u32 everywhere;		/* 1: any namespace counts */
	u32 own_tgid;		/* the measuring process, which is nobody's workload */
	u32 cpus;		/* how many CPUs there may be */
	u32 records;		/* next free element of the layer's records */
	u32 trial;		/* its number */
};

struct pc_distribution {
	struct pc_spread spread;
	u32 counts[PC_BUCKET_SLOTS];
};

/* ---- qdisc.bpf.c: one a network device ---- */

struct pc_queue {
	u64 device;		/* network namespace << 32 | ifindex; 0: the record is free */
	u32 depth_packets;	/* skbs; kept here only where the kernel counts per CPU (TCQ_F_CPUSTATS) */
	u32 depth_bytes;
	u32 queued, dequeued;	/* packets after segmentation, as `tc -s qdisc` counts them */
	struct pc_distribution packets, bytes, sojourn_us;
};

/* ---- drops.bpf.c: one a host ---- */

struct pc_drops {
	u32 reasons[PC_REASONS];	/* by enum skb_drop_reason; the last one: all others */
};

/* ---- cpu.bpf.c ---- */

#define PC_CPU_HOSTS 16		/* so many hosts have sums of their own; those beyond share the last ones */
#define PC_OF_EMULATOR 0	/* pc_task.class: links' processes; from 1 on the number of the host */

/* One task, at the index (pid % PC_TASKS). */
struct pc_task {
	u32 pid;		/* 0: free */
	u32 class;
	u32 cpu;
	u32 forced;		/* how it left the CPU last */
	u64 in_ns, out_ns;	/* when it came to, and left, a CPU last; the later one tells where it is */
	u64 off_ns;		/* how long it had been off when it came */
	u64 runtime_ns;		/* se.sum_exec_runtime and sched_info.run_delay as accounted for */
	u64 run_delay_ns;
};

/* One a class and CPU: class * number of CPUs + CPU. */
struct pc_cpu {
	u64 busy_ns, waited_ns, blocked_ns, forced_ns;
	u32 stints, voluntary, forced, migrations;
	struct pc_distribution delay_ns;
};

/* ---- nic.bpf.c ---- */

/* One a CPU and vector: 2 * CPU + 0 for NET_TX, 1 for NET_RX. */
struct pc_softirq {
	u64 raised_ns, entered_ns;	/* 0: it is not */
	struct pc_distribution delay_ns, run_ns;
};

/* One a CPU. */
struct pc_napi {
	u64 polls, full;	/* `full`: the whole budget was used */
	struct pc_distribution work;
};

/* ---- ip.bpf.c ---- */

struct pc_lookups {
	u64 ipv4, ipv6;
};

/* ---- times.bpf.c ---- */

#define PC_CALLS_BITS 10
#define PC_CALLS (1 << PC_CALLS_BITS)

/* A call that has not ended, at the index that a hash of its address gives. */
struct pc_call {
	u64 address;		/* 0: free */
	u64 began_ns;
	u64 arguments[2];	/* where the return does not have them any more */
};

/* ---- socket.bpf.c ---- */

/* Socket storage: of which trial the connection is. */
struct pc_follow {
	u32 trial, spare;
};

/* What one look at one connection saw. */
struct pc_look {
	u64 cookie;
	u32 netns, family, state, local_port, remote_port;
	u32 snd_bytes, sndbuf_bytes;	/* memory, overhead included */
	u32 rcv_bytes, rcvbuf_bytes;
	u32 sendq_bytes, recvq_bytes;	/* data: not acknowledged or not sent, not read */
	u32 spare;
	u8 local[16], remote[16];
};

struct pc_refusals {
	u64 queue_full, datagrams, no_memory;
};

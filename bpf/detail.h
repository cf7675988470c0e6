/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The contract of detail mode: one record for each station that a packet passes, in a ring buffer. All records have
 * the same size, which with the ring's own header is a power of two, so that user space reads them as an array. Times
 * are CLOCK_MONOTONIC in ns.
 */
#pragma once
#include "packet.h"
#include "filter.h"

#define PC_SAMPLE_BITS 16	/* followed or not: 64 kB of a flow's sequence numbers at a time */
#define PC_DETAIL_FLOWS 16384
#define PC_NESTED 8		/* devices that send through one another, at most */
#define PC_EVERYTHING (1ULL << 32)

enum pc_kind_of_event {
	/* The flow's ends: address in `seq length value ifindex`, low half first; port in `sent_ns`. Once a flow. */
	PC_AT_FLOW_SOURCE = 1, PC_AT_FLOW_TARGET,
	/* Stations, in the order in which a packet passes them. */
	PC_AT_WRITE,	/* the application offers `length` bytes from `seq` on to the socket, which copies next */
	PC_AT_TX_QUEUE,	/* IP hands the packet to the device's queue; `sent_ns`: when TCP sent it */
	PC_AT_TX_NIC,	/* the driver gets it; `value`: ns that the driver took */
	PC_AT_RX_NIC,	/* the receiving device has handed it to the CPU's backlog, or to GRO */
	PC_AT_RX_IP,	/* the softirq takes it up */
	PC_AT_RX_TCP,	/* TCP takes it up */
	PC_AT_READY,	/* the application is woken: `length` more bytes before `seq` may be read */
	PC_AT_READ,	/* the application has read `length` bytes before `seq` */
	PC_AT_RETRANSMIT,	/* `value`: congestion state */
	PC_AT_BUSY,	/* the driver refused it for now */
};

struct pc_event {
	u64 ns;
	u64 flow;		/* hash of protocol, addresses and ports, source first; 0: none */
	u32 seq;		/* of the first byte; UDP: a fingerprint of the datagram */
	u32 length;		/* bytes of payload */
	u32 lot;		/* followed while below pc_detail.keep; the least of the record's buckets */
	u32 value;
	u64 sent_ns;		/* 0: not known */
	u32 ifindex;
	u16 id;			/* of the IPv4 header; 0: IPv6 */
	u16 segments;		/* packets that it is on the wire */
	u16 cpu;
	u8 host;		/* number of the host, from 1 */
	u8 kind;
	u8 protocol;
	u8 tcp_flags;
	u16 spare;
};

/* One element, written by user space. */
struct pc_detail {
	u64 keep;		/* of 2^32 buckets so many are followed */
	u32 protocol;		/* 0: any */
	u32 port;		/* at either end; 0: any */
	u32 addresses;		/* 1: only those in the map `addresses`, at either end */
	/* Of a live machine, which may see but one end of a flow. */
	u16 by_ends;		/* 1: only those that pass the map `filter`, in either direction */
	u16 names_received;	/* 1: flows are introduced where they arrive, too */
};

/* One a CPU. */
struct pc_lost {
	u64 events;		/* no room in the ring */
	u64 spare[7];		/* a cache line for each CPU */
};

/* A packet inside the driver, by CPU and device. */
struct pc_sending {
	u64 skb, since_ns;
	struct pc_packet packet;
	u32 host, spare;
};

/* Socket storage. */
struct pc_followed {
	u64 out, in;		/* both directions' flows */
	u32 trial, wanted;
	u32 ready, read;	/* sequence numbers told of last */
};

/* SPDX-License-Identifier: GPL-2.0 */
/* What packets and sockets say of themselves: for detail mode and for events, which name flows alike. */
#pragma once
#include "address.h"

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define NO_WAKEUP 1		/* BPF_RB_NO_WAKEUP: user space looks by itself */

/* What a record tells of a packet. */
struct pc_packet {
	u64 flow;
	u32 seq, length, lot;
	u16 id, segments;
	u8 protocol, tcp_flags;
	u16 source_port, target_port;
	struct pc_address source, target;
};

INLINE u64 mix(u64 hash, u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/* One direction of a flow; never 0. */
INLINE u64 flow_of(u8 protocol, struct pc_address *source, struct pc_address *target, u16 from, u16 to)
{
	u64 hash = mix(mix(protocol, source->low), target->low);

	if (source->high | target->high)
		hash = mix(mix(hash, source->high), target->high);
	return mix(hash, (u64)from << 16 | to) | 1;
}

struct pc_transport {
	u16 from, to;
	u32 seq, ack;
	u8 offset, flags;
	u16 rest[3];
};

struct pc_ipv4 {
	u8 version_length, tos;
	u16 total, id, fragment;
	u8 ttl, protocol;
	u16 sum;
	u32 source, target;
	struct pc_transport transport;
};

struct pc_ipv6 {
	u32 class;
	u16 payload;
	u8 protocol, hops;
	u64 source[2], target[2];
	struct pc_transport transport;
};

INLINE void read_transport(struct pc_packet *packet, struct pc_transport *header, u32 behind)
{
	u32 own;

	packet->source_port = bpf_ntohs(header->from);
	packet->target_port = bpf_ntohs(header->to);
	if (packet->protocol == PROTOCOL_TCP) {
		packet->seq = bpf_ntohl(header->seq);
		packet->tcp_flags = header->flags;
		own = header->offset >> 4 << 2;
	} else {
		/* The first bytes of the payload follow the header of 8 bytes. */
		packet->seq = mix(mix(packet->id, header->ack), *(u64 *)&header->offset) >> 32;
		packet->tcp_flags = 0;
		own = 8;
	}
	packet->length = behind > own ? behind - own : 0;
}

INLINE u32 read_ipv4(struct pc_packet *packet, void *at, u32 behind)
{
	struct pc_ipv4 header;
	u32 own, total;

	if (bpf_probe_read_kernel(&header, sizeof(header), at))
		return 0;
	/* Only the first fragment has the ports. */
	if (header.fragment & bpf_htons(0x1fff))
		return 0;
	own = (header.version_length & 15) << 2;
	if (own != 20 && bpf_probe_read_kernel(&header.transport, sizeof(header.transport), at + own))
		return 0;
	/* Short frames are padded; big GSO packets have no total. */
	total = bpf_ntohs(header.total);
	if (total && total < behind)
		behind = total;
	packet->protocol = header.protocol;
	packet->id = bpf_ntohs(header.id);
	packet->source.low = header.source;
	packet->target.low = header.target;
	packet->source.high = packet->target.high = 0;
	read_transport(packet, &header.transport, behind - own);
	return 1;
}

INLINE u32 read_ipv6(struct pc_packet *packet, void *at, u32 behind)
{
	struct pc_ipv6 header;
	u32 total;

	if (bpf_probe_read_kernel(&header, sizeof(header), at))
		return 0;
	total = bpf_ntohs(header.payload);
	behind -= 40;
	if (total && total < behind)
		behind = total;
	packet->protocol = header.protocol;
	packet->id = 0;
	packet->source.low = header.source[1];
	packet->source.high = header.source[0];
	packet->target.low = header.target[1];
	packet->target.high = header.target[0];
	read_transport(packet, &header.transport, behind);
	return 1;
}

/* How many packets an skb is on the wire. */
INLINE u16 segments_in(struct sk_buff *skb)
{
	u16 segments = 0;
	char *shared = (char *)skb->head + skb->end;

	if (skb->len > 1514)
		bpf_probe_read_kernel(&segments, sizeof(segments),
				      shared + __builtin_offsetof(struct skb_shared_info, gso_segs));
	return segments ? segments : 1;
}

/* The TCP or UDP packet whose IP header is `offset` bytes behind the skb's head; 0: it is none. */
INLINE u32 parse_packet(struct pc_packet *packet, struct sk_buff *skb, u32 offset)
{
	char *head = (char *)skb->head, *data = (char *)skb->data;
	u32 behind = skb->len + (u32)(data - head) - offset;
	u8 version = 0;

	bpf_probe_read_kernel(&version, 1, head + offset);
	if (version >> 4 == 4) {
		if (!read_ipv4(packet, head + offset, behind))
			return 0;
	} else if (version >> 4 == 6) {
		if (!read_ipv6(packet, head + offset, behind))
			return 0;
	} else {
		return 0;
	}
	if (packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP)
		return 0;
	packet->flow = flow_of(packet->protocol, &packet->source, &packet->target, packet->source_port,
			       packet->target_port);
	packet->segments = segments_in(skb);
	return 1;
}

/* Bytes of payload that TCP's own description of a segment says; SYN and FIN take a number each. */
INLINE u32 payload_of(struct tcp_skb_cb *segment)
{
	return segment->end_seq - segment->seq - !!(segment->tcp_flags & (TCP_SYN | TCP_FIN));
}

/* Of the architectures that BTF is read of (asm-generic/errno-base.h, errno.h). */
enum pc_errno { PC_EAGAIN = 11, PC_ENOMEM = 12, PC_EBUSY = 16, PC_EINVAL = 22, PC_EHOSTUNREACH = 113 };

/*
 * Whether tcp_retransmit_skb tells of a segment that TCP counted. Newer kernels (6.18) call it for attempts, too, that
 * ended before: the segment was still in a queue of the host, was acknowledged meanwhile, had no window or no memory.
 */
INLINE bool was_retransmitted(u64 *ctx)
{
#if ARGUMENTS_tcp_retransmit_skb >= 3
	s32 problem = ctx[2];

	return problem != -PC_EBUSY && problem != -PC_EAGAIN && problem != -PC_EINVAL && problem != -PC_ENOMEM &&
	       problem != -PC_EHOSTUNREACH;
#else
	return true;
#endif
}

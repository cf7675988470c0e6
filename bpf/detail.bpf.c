/*
 * Detail mode: a packet's way from the application that writes it to the one that reads it.
 *
 * Each station writes one record with the packet's flow and range of sequence numbers. That is what
 * joins them, across hosts too: TCP sends clones, and what GSO takes apart GRO puts together
 * otherwise, so that an skb's address is nothing to go by. Packets without payload are left out.
 * Which packets are followed is decided by flow and sequence number, alike at all stations.
 */
#include "detail.h"

struct events_table_t {
	int key;
	struct pc_event leaf;
	void *(*ringbuf_reserve)(u64);
	void (*ringbuf_submit)(void *, u64);
	u32 max_entries;
};
__attribute__((section("maps/ringbuf"))) struct events_table_t events = { .max_entries = 1 << 16 };

BPF_F_TABLE("array", u32, struct pc_detail, detail, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_lost, lost, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_sending, sending, 1, BPF_F_MMAPABLE);
BPF_TABLE("hash", u64, u32, flows, PC_DETAIL_FLOWS);
BPF_TABLE("hash", struct pc_address, u32, addresses, 64);
BPF_F_TABLE("array", u32, struct pc_filter, filter, 1, BPF_F_MMAPABLE);
BPF_SK_STORAGE(followed, struct pc_followed);

static struct tcp_sock *(*skc_to_tcp_sock)(void *sk) = (void *)BPF_FUNC_skc_to_tcp_sock;

#define PEEK 2			/* MSG_PEEK */
#define TX_BUSY 0x10		/* NETDEV_TX_BUSY */
#define BIGGEST_PACKET 9200	/* skbs above may be several packets */
#define BUCKETS_LOOKED_AT 4

INLINE struct pc_detail *detail_of(void)
{
	u32 zero = 0;

	return detail.lookup(&zero);
}

/* ---- flows, and who is followed ---- */

INLINE u32 lot_of(u64 flow, u32 bucket)
{
	return mix(flow, bucket) >> 32;
}

/* The least lot of the buckets that the range covers; 0, which is always followed, where there are many. */
INLINE u32 least_lot(u64 flow, u32 seq, u32 length)
{
	u32 first = seq >> PC_SAMPLE_BITS, end = (seq + length - (length > 0)) >> PC_SAMPLE_BITS, least, lot;
	u32 more = (end - first) & (0xffffffff >> PC_SAMPLE_BITS);

	if (more >= BUCKETS_LOOKED_AT)
		return 0;
	least = lot_of(flow, first);
	#pragma unroll
	for (u32 number = 1; number < BUCKETS_LOOKED_AT; number++) {
		if (number > more)
			break;
		lot = lot_of(flow, first + number & (0xffffffff >> PC_SAMPLE_BITS));
		if (lot < least)
			least = lot;
	}
	return least;
}

/* Data of a flow may go either way; the filter's ends are a socket's own and the other. */
INLINE u32 ends_are_out(u16 from, u16 to, struct pc_address *source, struct pc_address *target)
{
	u32 zero = 0, family = family_of(source, target);
	struct pc_filter *within = filter.lookup(&zero);

	return within && !ends_pass(within, source, target, from, to, family) &&
	       !ends_pass(within, target, source, to, from, family);
}

INLINE u32 filtered_out(struct pc_detail *ctl, u8 protocol, u16 from, u16 to, struct pc_address *source,
			struct pc_address *target)
{
	if (ctl->protocol && ctl->protocol != protocol)
		return 1;
	if (ctl->port && ctl->port != from && ctl->port != to)
		return 1;
	if (ctl->addresses && !addresses.lookup(source) && !addresses.lookup(target))
		return 1;
	return ctl->by_ends && ends_are_out(from, to, source, target);
}

/* ---- records ---- */

INLINE struct pc_event *reserve(u8 kind, u32 host, u64 ns)
{
	struct pc_event *event = events.ringbuf_reserve(sizeof(struct pc_event));
	u32 cpu = bpf_get_smp_processor_id();
	struct pc_lost *counted;

	if (!event) {
		counted = lost.lookup(&cpu);
		if (counted)
			lock_xadd(&counted->events, 1);
		return 0;
	}
	event->ns = ns;
	event->sent_ns = 0;
	event->value = 0;
	event->ifindex = 0;
	event->cpu = cpu;
	event->host = host;
	event->kind = kind;
	event->spare = 0;
	return event;
}

INLINE void describe(struct pc_event *event, struct pc_packet *packet)
{
	event->flow = packet->flow;
	event->seq = packet->seq;
	event->length = packet->length;
	event->lot = packet->lot;
	event->id = packet->id;
	event->segments = packet->segments;
	event->protocol = packet->protocol;
	event->tcp_flags = packet->tcp_flags;
}

INLINE void describe_bytes(struct pc_event *event, u64 flow, u32 seq, u32 length, u32 lot)
{
	event->flow = flow;
	event->seq = seq;
	event->length = length;
	event->lot = lot;
	event->id = event->segments = 0;
	event->protocol = PROTOCOL_TCP;
	event->tcp_flags = 0;
}

INLINE u32 introduce_end(u8 kind, struct pc_packet *packet, u32 host, struct pc_address *address, u16 port)
{
	struct pc_event *event = reserve(kind, host, bpf_ktime_get_ns());

	if (!event)
		return 0;
	describe(event, packet);
	event->lot = 0;
	event->seq = address->low;
	event->length = address->low >> 32;
	event->value = address->high;
	event->ifindex = address->high >> 32;
	event->sent_ns = port;
	events.ringbuf_submit(event, NO_WAKEUP);
	return 1;
}

/* Says whose the flow's hash is, once. */
INLINE void introduce(struct pc_scope *within, struct pc_packet *packet, u32 host)
{
	u32 *trial = flows.lookup(&packet->flow);

	if (trial && *trial == within->trial)
		return;
	if (!introduce_end(PC_AT_FLOW_SOURCE, packet, host, &packet->source, packet->source_port) ||
	    !introduce_end(PC_AT_FLOW_TARGET, packet, host, &packet->target, packet->target_port))
		return;
	flows.update(&packet->flow, &within->trial);
}

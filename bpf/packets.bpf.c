/*
 * Detail mode's stations of packets: queue and driver of the sending device, receiving device, softirq.
 */

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

/* The packet whose IP header is `offset` bytes behind the skb's head; 0: none that anybody asked for. */
INLINE u32 read_packet(struct pc_packet *packet, struct pc_detail *ctl, struct sk_buff *skb, u32 offset)
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
	if (filtered_out(ctl, packet->protocol, packet->source_port, packet->target_port, &packet->source,
			 &packet->target))
		return 0;
	packet->flow = flow_of(packet->protocol, &packet->source, &packet->target, packet->source_port,
			       packet->target_port);
	packet->segments = segments_in(skb);
	return 1;
}

/* As read_packet, where the packet has payload and is to be followed. */
INLINE u32 follow_packet(struct pc_packet *packet, struct sk_buff *skb, u32 offset)
{
	struct pc_detail *ctl = detail_of();

	if (!ctl || !read_packet(packet, ctl, skb, offset) || !packet->length)
		return 0;
	packet->lot = packet->protocol == PROTOCOL_TCP ? least_lot(packet->flow, packet->seq, packet->length)
						       : lot_of(packet->flow, packet->seq);
	return packet->lot < ctl->keep;
}

INLINE u32 host_of_device(struct pc_scope *within, struct net_device *dev)
{
	return dev ? host_of(within, NETNS(dev->nd_net)) : 0;
}

INLINE void station(u8 kind, struct sk_buff *skb, u32 offset)
{
	struct pc_scope *within = counting();
	struct pc_packet packet;
	struct pc_event *event;
	u64 now;
	u32 host;

	if (!within)
		return;
	host = host_of_device(within, skb->dev);
	if (!host)
		return;
	now = bpf_ktime_get_ns();
	if (!follow_packet(&packet, skb, offset))
		return;
	if (kind == PC_AT_TX_QUEUE)
		introduce(within, &packet, host);
	event = reserve(kind, host, now);
	if (!event)
		return;
	describe(event, &packet);
	event->ifindex = skb->dev->ifindex;
	/* TCP's clock when it sent the packet, or the time at which a pacing queue is to release it. */
	if (kind == PC_AT_TX_QUEUE)
		event->sent_ns = skb->skb_mstamp_ns;
	events.ringbuf_submit(event, NO_WAKEUP);
}

INLINE u32 data_offset(struct sk_buff *skb)
{
	return (char *)skb->data - (char *)skb->head;
}

int tp_btf__net_dev_queue(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];

	station(PC_AT_TX_QUEUE, skb, skb->network_header);
	return 0;
}

/* These see the packet before its network header is set: it begins with it. */
int tp_btf__netif_rx(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];

	station(PC_AT_RX_NIC, skb, data_offset(skb));
	return 0;
}

int tp_btf__napi_gro_receive_entry(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];

	station(PC_AT_RX_NIC, skb, data_offset(skb));
	return 0;
}

int tp_btf__netif_receive_skb(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];

	station(PC_AT_RX_IP, skb, data_offset(skb));
	return 0;
}

/* A driver may free the packet: what is to be told of it is read before, and told afterwards. */
INLINE struct pc_sending *sending_on(struct net_device *dev)
{
	u32 index = bpf_get_smp_processor_id() * PC_NESTED + (dev->ifindex & (PC_NESTED - 1));

	return sending.lookup(&index);
}

int tp_btf__net_dev_start_xmit(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct net_device *dev = (struct net_device *)ctx[1];
	struct pc_scope *within = counting();
	struct pc_sending *slot;
	u32 host;

	if (!within)
		return 0;
	host = host_of_device(within, dev);
	slot = host ? sending_on(dev) : 0;
	if (!slot)
		return 0;
	slot->skb = 0;
	if (!follow_packet(&slot->packet, skb, skb->network_header))
		return 0;
	slot->host = host;
	slot->skb = (u64)skb;
	slot->since_ns = bpf_ktime_get_ns();
	return 0;
}

int tp_btf__net_dev_xmit(u64 *ctx)
{
	struct net_device *dev = (struct net_device *)ctx[2];
	struct pc_scope *within = counting();
	u32 refused = ctx[1] == TX_BUSY;
	struct pc_sending *slot;
	struct pc_event *event;

	if (!within || !host_of_device(within, dev))
		return 0;
	slot = sending_on(dev);
	if (!slot || !slot->skb || slot->skb != ctx[0])
		return 0;
	slot->skb = 0;
	event = reserve(refused ? PC_AT_BUSY : PC_AT_TX_NIC, slot->host, slot->since_ns);
	if (!event)
		return 0;
	describe(event, &slot->packet);
	event->ifindex = dev->ifindex;
	event->value = short_ns(bpf_ktime_get_ns() - slot->since_ns);
	events.ringbuf_submit(event, NO_WAKEUP);
	return 0;
}

/*
 * Detail mode's stations of packets: queue and driver of the sending device, receiving device, softirq.
 */

/* The packet whose IP header is `offset` bytes behind the skb's head; 0: none that anybody asked for. */
INLINE u32 read_packet(struct pc_packet *packet, struct pc_detail *ctl, struct sk_buff *skb, u32 offset)
{
	return parse_packet(packet, skb, offset) &&
	       !filtered_out(ctl, packet->protocol, packet->source_port, packet->target_port, &packet->source,
			     &packet->target);
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

INLINE bool names_received(void)
{
	struct pc_detail *ctl = detail_of();

	return ctl && ctl->names_received;
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
	if (kind == PC_AT_TX_QUEUE || (kind == PC_AT_RX_IP && names_received()))
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

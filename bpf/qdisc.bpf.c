/*
 * The qdisc layer: how deep the queues of the lab's devices are and how long packets wait in them.
 *
 * Both tracepoints fire for packets that really wait: one that finds its queue empty may pass it by,
 * and devices without a queue have nothing here. How many passed by, user space knows from netlink.
 * With one queue lock a device has one writer at a time; lockless qdiscs and multiqueue devices have
 * several, hence the atomics.
 */

BPF_F_TABLE("array", u32, struct pc_queue, queues, 1, BPF_F_MMAPABLE);
BPF_TABLE("hash", u64, u32, queue_of, 1024);		/* device -> index in `queues` */
BPF_TABLE("hash", u64, u64, waiting, 32768);		/* skb -> when it was queued */

#define TCQ_F_CPUSTATS 0x20
#define BULK 32

/* How many packets an skb is on the wire. */
INLINE u32 segments_of(struct sk_buff *skb)
{
	u16 segments = 0;
	char *shared = (char *)skb->head + skb->end;

	bpf_probe_read_kernel(&segments, sizeof(segments), shared + __builtin_offsetof(struct skb_shared_info, gso_segs));
	return segments + 1 - above(segments, 0);
}

INLINE struct pc_queue *new_queue(struct pc_scope *within, u64 device)
{
	u32 index = fetch_add(&within->records, 1);
	struct pc_queue *queue = queues.lookup(&index);

	if (!queue) {
		lock_xadd(&within->lost, 1);
		return 0;
	}
	queue->device = device;
	queue_of.update(&device, &index);
	return queue;
}

INLINE struct pc_queue *find_queue(struct pc_scope *within, struct net_device *dev, u32 admit)
{
	u32 netns = NETNS(dev->nd_net);
	u64 device = (u64)netns << 32 | (u32)dev->ifindex;
	u32 *index;

	if (!host_of(within, netns))
		return 0;
	index = queue_of.lookup(&device);
	if (index)
		return queues.lookup(index);
	return admit ? new_queue(within, device) : 0;
}

int tp_btf__qdisc_enqueue(u64 *ctx)
{
	struct Qdisc *qdisc = (struct Qdisc *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[2];
	struct pc_scope *within = tracking();
	struct pc_queue *queue;
	u32 packets, bytes, segments;
	u64 key, now;

	if (!within)
		return 0;
	queue = find_queue(within, qdisc->dev_queue->dev, 1);
	if (!queue)
		return 0;
	if (qdisc->flags & TCQ_F_CPUSTATS) {
		packets = fetch_add(&queue->depth_packets, 1) + 1;
		bytes = fetch_add(&queue->depth_bytes, skb->len) + skb->len;
	} else {
		packets = qdisc->q.qlen;
		bytes = qdisc->qstats.backlog;
	}
	key = (u64)skb;
	now = bpf_ktime_get_ns();
	if (waiting.update(&key, &now))
		lock_xadd(&within->lost, 1);
	if (within->phase != PC_COUNT)
		return 0;
	segments = segments_of(skb);
	fetch_add(&queue->queued, segments);
	distribution_share(&queue->packets, packets, segments);
	distribution_share(&queue->bytes, bytes, segments);
	return 0;
}

int tp_btf__qdisc_dequeue(u64 *ctx)
{
	struct Qdisc *qdisc = (struct Qdisc *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[3];
	struct pc_scope *within;
	struct pc_queue *queue;
	u32 counts, own, segments;
	u64 now, key, *since;

	/* It also fires when there is nothing to take. */
	if (!skb)
		return 0;
	within = tracking();
	if (!within)
		return 0;
	queue = find_queue(within, qdisc->dev_queue->dev, 0);
	if (!queue)
		return 0;
	/* Factors and not branches, for the verifier's sake. */
	counts = above(within->phase, PC_TRACK);
	own = above(qdisc->flags & TCQ_F_CPUSTATS, 0);
	now = bpf_ktime_get_ns();
	#pragma clang loop unroll(disable)
	for (int taken = 0; taken < BULK; taken++) {
		fetch_add(&queue->depth_packets, -own);
		fetch_add(&queue->depth_bytes, -skb->len * own);
		key = (u64)skb;
		since = waiting.lookup(&key);
		if (since) {
			segments = segments_of(skb) * counts;
			fetch_add(&queue->dequeued, segments);
			distribution_share(&queue->sojourn_us, (now - *since) / 1000, segments);
			waiting.delete(&key);
		}
		skb = skb->next;
		if (!skb)
			return 0;
	}
	lock_xadd(&within->lost, 1);
	return 0;
}

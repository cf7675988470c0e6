// SPDX-License-Identifier: GPL-2.0
/*
 * The send side: what the sender knows at the moment at which a segment with data leaves TCP for the device's queue.
 * Loaded only where somebody asks (connections.bpf.c says which connections count): it runs at each segment.
 */

/* One a CPU; the kernel keeps softirqs of the CPU off here, so that there is one writer. */
struct pc_send_side {
	struct pc_spread srtt_spread, cwnd_spread, inflight_spread;
	u32 srtt_above, cwnd_above, inflight_above, spare;
	u32 srtt[PC_RTT_BUCKETS];
	u32 cwnd[PC_SEGS_BUCKETS];
	u32 inflight[PC_SEGS_BUCKETS];
};

BPF_F_TABLE("array", u32, struct pc_send_side, send_side, 1, BPF_F_MMAPABLE);

/* Count `value` as often as the skb has segments. */
#define SEND_SIDE_ADD(to, name, buckets, value, weight)			\
	do {								\
		u32 _value = (value);					\
		u64 _bucket = bucket_of(_value);			\
									\
		(to)->name##_spread.total += (u64)_value * (weight);	\
		extremes_add(&(to)->name##_spread, _value);		\
		if (_bucket < (buckets)) {				\
			KEEP_CHECKED(_bucket);				\
			(to)->name[_bucket] += (weight);		\
		} else {						\
			(to)->name##_above += (weight);			\
		}							\
	} while (0)

/* The device that TCP sends by: what lies below it (a bond's, a tunnel's) tells of the packet again. */
INLINE bool is_first_device(struct sk_buff *skb, struct sock *sk)
{
	struct dst_entry *route = sk->sk_dst_cache;

	return !route || !route->dev || route->dev == skb->dev;
}

/* Bytes of payload; the headers are those of this moment. */
INLINE u32 payload_bytes(struct sk_buff *skb)
{
	char *transport = (char *)skb->head + skb->transport_header;
	u32 behind = skb->len + (u32)((char *)skb->data - transport);
	u8 offset = 0;

	bpf_probe_read_kernel(&offset, sizeof(offset), transport + 12);
	return behind - (offset >> 4 << 2);
}

INLINE u32 segments_of(struct sk_buff *skb)
{
	char *shared = (char *)skb->head + skb->end;
	u16 segments = 0;

	bpf_probe_read_kernel(&segments, sizeof(segments), shared + __builtin_offsetof(struct skb_shared_info, gso_segs));
	return segments ? segments : 1;
}

/*
 * A socket that was found by way of a packet is none that the verifier lets be taken for a tcp_sock: members are copied.
 * What has a record is TCP's (find_fast).
 */
INLINE u32 copied(struct sock *sk, u32 offset)
{
	u32 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (char *)sk + offset);
	return value;
}

#define COPIED(sk, member) copied(sk, __builtin_offsetof(struct tcp_sock, member))

/* Not what only stands for one: it ends in less than a whole tcp_sock. */
INLINE bool is_whole(struct sock *sk)
{
	u8 state = sk->__sk_common.skc_state;

	return state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;
}

/* What is in flight does not yet count this skb, new or sent again: TCP adds it when this has returned. */
int tp_btf__net_dev_queue(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	u32 cpu = bpf_get_smp_processor_id(), segments, inflight;
	struct pc_send_side *to;
	struct sock *sk = skb->sk;

	if (!sk || !active_control() || !is_whole(sk) || !find_fast(sk))
		return 0;
	if (!is_first_device(skb, sk) || !payload_bytes(skb))
		return 0;
	to = send_side.lookup(&cpu);
	if (!to)
		return 0;
	segments = segments_of(skb);
	inflight = COPIED(sk, packets_out) + COPIED(sk, retrans_out) - COPIED(sk, sacked_out) - COPIED(sk, lost_out);
	SEND_SIDE_ADD(to, srtt, PC_RTT_BUCKETS, COPIED(sk, srtt_us) >> 3, segments);
	SEND_SIDE_ADD(to, cwnd, PC_SEGS_BUCKETS, COPIED(sk, snd_cwnd), segments);
	SEND_SIDE_ADD(to, inflight, PC_SEGS_BUCKETS, inflight + segments, segments);
	return 0;
}

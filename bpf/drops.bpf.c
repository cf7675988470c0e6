/*
 * Why packets were dropped, whatever the layer: one count a host and enum skb_drop_reason.
 *
 * The host is that of the packet's device, or of its socket. Inside TCP a packet may have neither
 * any more; what TCP drops its own counters tell.
 */

BPF_F_TABLE("array", u32, struct pc_drops, drops, PC_HOSTS, BPF_F_MMAPABLE);

int tp_btf__kfree_skb(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	u32 reason = ctx[2], host;
	struct pc_scope *within = counting();
	struct pc_drops *dropped;

	if (!within)
		return 0;
	if (skb->dev)
		host = host_of(within, NETNS(skb->dev->nd_net));
	else if (skb->sk)
		host = host_of(within, NETNS(skb->sk->__sk_common.skc_net));
	else
		return 0;
	if (!host)
		return 0;
	host--;
	dropped = drops.lookup(&host);
	if (!dropped)
		return 0;
	/* Some subsystems have reasons of their own, from 1 << 16. */
	if (reason >= PC_REASONS)
		reason = PC_REASONS - 1;
	fetch_add(&dropped->reasons[reason], 1);
	return 0;
}

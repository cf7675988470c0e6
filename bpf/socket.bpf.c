/*
 * The socket layer: how full the buffers of the lab's connections are, looked at by an iterator that
 * goes over them alone (sock_diag walks the machine's whole table of connections); and, from rare
 * events, packets that a socket had no room for and memory that it did not get.
 */

BPF_SK_STORAGE(followed, struct pc_follow);
BPF_F_TABLE("array", u32, struct pc_look, look, 1, BPF_F_MMAPABLE);	/* where the iterator writes a line */

static struct tcp_sock *(*skc_to_tcp_sock)(void *sk) = (void *)BPF_FUNC_skc_to_tcp_sock;
static u64 (*socket_cookie)(const void *sk) = (void *)BPF_FUNC_get_socket_cookie;
static long (*seq_write)(struct seq_file *to, const void *from, u32 bytes) = (void *)BPF_FUNC_seq_write;

#define AF_INET6 10

int tp_btf__inet_sock_set_state(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	u32 state = ctx[2];
	struct pc_scope *within;
	struct pc_follow *follow;

	if (state != TCP_ESTABLISHED)
		return 0;
	within = tracking();
	if (!within || !host_of(within, NETNS(sk->__sk_common.skc_net)))
		return 0;
	follow = followed.sk_storage_get(sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (follow)
		follow->trial = within->trial;
	else
		lock_xadd(&within->lost, 1);
	return 0;
}

/* One call a connection of the trial that lives: a line for user space. */
int iter__bpf_sk_storage_map(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct pc_follow *follow = ctx->value;
	struct sock *sk = ctx->sk;
	u32 zero = 0;
	struct pc_scope *within = counting();
	struct sock_common *common;
	struct tcp_sock *tp;
	struct pc_look *line;

	if (!within || !follow || !sk || follow->trial != within->trial)
		return 0;
	tp = skc_to_tcp_sock(sk);
	line = look.lookup(&zero);
	if (!tp || !line)
		return 0;
	common = &tp->inet_conn.icsk_inet.sk.__sk_common;
	line->cookie = socket_cookie(sk);
	line->netns = NETNS(common->skc_net);
	line->family = common->skc_family;
	line->state = common->skc_state;
	line->local_port = common->skc_num;
	line->remote_port = bpf_ntohs(common->skc_dport);
#ifdef HAS_sock_common__skc_v6_rcv_saddr
	if (line->family == AF_INET6) {
		bpf_probe_read_kernel(line->local, 16, &common->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(line->remote, 16, &common->skc_v6_daddr);
	} else
#endif
	{
		*(u32 *)line->local = common->skc_rcv_saddr;
		*(u32 *)line->remote = common->skc_daddr;
	}
	line->snd_bytes = sk->sk_wmem_queued;
	line->sndbuf_bytes = sk->sk_sndbuf;
	line->rcv_bytes = sk->sk_backlog.rmem_alloc.counter;
	line->rcvbuf_bytes = sk->sk_rcvbuf;
	line->sendq_bytes = tp->write_seq - tp->snd_una;
	line->recvq_bytes = tp->rcv_nxt - tp->copied_seq;
	seq_write(ctx->meta->seq, line, sizeof(*line));
	return 0;
}

BPF_F_TABLE("array", u32, struct pc_refusals, refusals, 1, BPF_F_MMAPABLE);

INLINE struct pc_refusals *refusals_of(struct sock *sk)
{
	u32 zero = 0;
	struct pc_scope *within = counting();

	return within && host_of(within, NETNS(sk->__sk_common.skc_net)) ? refusals.lookup(&zero) : 0;
}

/* Ping sockets and the like; TCP, UDP, raw and packet sockets have checks of their own. */
int tp_btf__sock_rcvqueue_full(u64 *ctx)
{
	struct pc_refusals *sums = refusals_of((struct sock *)ctx[0]);

	if (sums)
		lock_xadd(&sums->queue_full, 1);
	return 0;
}

int tp_btf__udp_fail_queue_rcv_skb(u64 *ctx)
{
	struct pc_refusals *sums = refusals_of((struct sock *)ctx[1]);

	if (sums)
		lock_xadd(&sums->datagrams, 1);
	return 0;
}

int tp_btf__sock_exceed_buf_limit(u64 *ctx)
{
	struct pc_refusals *sums = refusals_of((struct sock *)ctx[0]);

	if (sums)
		lock_xadd(&sums->no_memory, 1);
	return 0;
}

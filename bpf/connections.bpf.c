// SPDX-License-Identifier: GPL-2.0
/*
 * Which connections the TCP layer follows, and where each of them has its record.
 *
 * A function `tp_btf__X` runs at tracepoint X, typed through BTF: it reads the kernel's structs
 * directly. `iter__X` is an iterator. The kernel holds the socket's lock at these tracepoints, so a
 * record has one writer at a time. User space maps the arrays into its memory and reads them there.
 */
#include "kernel_types.h"
#include "perfcheck.h"
#include "histogram.h"
#include "filter.h"
#include "tcp_record.h"

BPF_F_TABLE("array", u32, struct pc_control, control, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_record, records, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_histograms, histograms, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u32, slots, PC_SLOTS, BPF_F_MMAPABLE);
BPF_TABLE("hash", u32, u32, namespaces, 1024);
BPF_F_TABLE("array", u32, u32, freed_records, PC_SLOTS, BPF_F_MMAPABLE);
/* Of a live machine; the elements of a lab's are few, and nothing looks at them. */
BPF_F_TABLE("array", u32, struct pc_filter, filter, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u64, excluded, PC_EXCLUDED, BPF_F_MMAPABLE);
BPF_TABLE("hash", u64, u32, chosen_sockets, 65536);	/* cookies of sockets that the tasks had before */
BPF_TABLE("hash", u64, u32, chosen_ports, 4096);	/* ports that the tasks listen on: netns << 16 | port */
BPF_TABLE("hash", u64, u32, chosen_cgroups, 8192);
BPF_TABLE("hash", u32, u32, chosen_tasks, 4096);
BPF_SK_STORAGE(sockets, struct pc_socket);

static struct tcp_sock *(*skc_to_tcp_sock)(void *sk) = (void *)BPF_FUNC_skc_to_tcp_sock;
static u64 (*socket_cookie)(const void *sk) = (void *)BPF_FUNC_get_socket_cookie;

/* What is to be measured; 0 while nothing is. */
INLINE struct pc_control *active_control(void)
{
	u32 zero = 0;
	struct pc_control *ctl = control.lookup(&zero);

	return ctl && ctl->generation ? ctl : 0;
}

/* Whether a machine is watched that is nobody's lab. */
INLINE bool is_live(void)
{
	struct pc_control *ctl = active_control();

	return ctl && ctl->live;
}

/* ---- from a socket to its record ---- */

INLINE void set_slot(u64 cookie, u32 index)
{
	u32 slot = cookie & (PC_SLOTS - 1);

	slots.update(&slot, &index);
}

/* ---- filters of a live machine ---- */

INLINE u64 port_key(u32 netns, u16 port)
{
	return (u64)netns << 16 | port;
}

/* Whether the task that runs is one of those looked for; only where a system call is under way. */
INLINE bool task_passes(struct pc_filter *within)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	u64 comm[2] = {}, *wanted = (u64 *)within->comm;

	if (chosen_tasks.lookup(&tgid))
		return true;
	bpf_get_current_comm(comm, sizeof(comm));
	return wanted[0] && wanted[0] == comm[0] && wanted[1] == comm[1];
}

/* One that connects shows its task; one that was accepted, its listener's port; others were there before. */
INLINE bool owner_passes(struct pc_filter *within, struct sock *sk, u64 cookie, u32 netns)
{
	u64 port = port_key(netns, sk->__sk_common.skc_num);

	if (!within->by_task)
		return true;
	if (sk->__sk_common.skc_state == TCP_SYN_SENT)
		return task_passes(within);
	return chosen_sockets.lookup(&cookie) || chosen_ports.lookup(&port);
}

INLINE u64 cgroup_of(struct sock *sk)
{
#ifdef HAS_sock__sk_cgrp_data
	struct cgroup *own = sk->sk_cgrp_data.cgroup;

	return own && own->kn ? own->kn->id : 0;
#else
	return 0;
#endif
}

INLINE bool cgroup_passes(struct pc_filter *within, struct sock *sk)
{
	u64 own;

	if (!within->by_cgroup)
		return true;
	own = cgroup_of(sk);
	return chosen_cgroups.lookup(&own);
}

INLINE struct pc_filter *active_filter(void)
{
	u32 zero = 0;
	struct pc_filter *within = filter.lookup(&zero);

	return within && within->active ? within : 0;
}

/* Whether the socket was refused before; what is not known of it yet at the SYN may let it pass later. */
INLINE bool is_excluded(u64 cookie)
{
	u32 index = cookie & (PC_EXCLUDED - 1);
	u64 *known = excluded.lookup(&index);

	return cookie && known && *known == cookie;
}

INLINE void exclude(u64 cookie)
{
	u32 index = cookie & (PC_EXCLUDED - 1);

	excluded.update(&index, &cookie);
}

INLINE bool passes(struct sock *sk, u64 cookie, u32 netns)
{
	struct pc_filter *within = active_filter();

	if (!within)
		return true;
	if (socket_ends_pass(within, sk) && interface_passes(within, sk) && cgroup_passes(within, sk) &&
	    owner_passes(within, sk, cookie, netns))
		return true;
	if (sk->__sk_common.skc_state != TCP_SYN_SENT)
		exclude(cookie);
	return false;
}

/* ---- records ---- */

/* Number of a record that is free: one that was used before, or the next new one. */
INLINE u32 free_record(struct pc_control *ctl)
{
	u32 taken, *number;

	if ((s32)(ctl->freed - ctl->taken) > 0) {
		taken = fetch_inc(&ctl->taken);
		/* Another CPU may have taken the last meanwhile; user space fills this place, too, sooner or later. */
		if ((s32)(ctl->freed - taken) > 0) {
			taken &= PC_SLOTS - 1;
			number = freed_records.lookup(&taken);
			if (number)
				return *number;
		}
	}
	return fetch_inc(&ctl->records);
}

/* Give the socket a new record, if it is the scenario's and passes the filters. */
INLINE struct pc_record *admit(struct pc_control *ctl, struct sock *sk, u64 established_ns)
{
	u32 netns = sk->__sk_common.skc_net.net->ns.inum;
	struct pc_socket *socket;
	struct pc_record *record;
	u64 cookie;
	u32 index;

	if (!(ctl->namespaces_seen >> (netns & 63) & 1) || !namespaces.lookup(&netns))
		return 0;
	cookie = socket_cookie(sk);
	if (!passes(sk, cookie, netns))
		return 0;
	socket = sockets.sk_storage_get(sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket) {
		lock_xadd(&ctl->lost_records, 1);
		return 0;
	}
	index = free_record(ctl);
	socket->generation = ctl->generation;
	socket->record = index;
	record = records.lookup(&index);
	if (!record) {
		lock_xadd(&ctl->lost_records, 1);
		if (ctl->live)
			exclude(cookie);	/* counted once */
		return 0;
	}
	record->cookie = cookie;
	record->netns = netns;
	record->cgroup = cgroup_of(sk);
	record->established_ns = established_ns;
	record->window_at_ns = established_ns + ctl->warmup_ns;
	set_slot(record->cookie, index);
	return record;
}

/* Two array look-ups, at a third of what socket storage costs: its cookie's slot names the socket's record. */
INLINE struct pc_record *find_fast(struct sock *sk)
{
	u64 cookie = sk->__sk_common.skc_cookie.counter;
	u32 slot = cookie & (PC_SLOTS - 1);
	u32 *index = slots.lookup(&slot);
	struct pc_record *record = index ? records.lookup(index) : 0;

	return record && cookie && record->cookie == cookie ? record : 0;
}

/* Another socket may have taken the slot: the socket's storage knows. */
INLINE struct pc_record *find_stored(struct pc_control *ctl, struct sock *sk)
{
	struct pc_socket *socket = sockets.sk_storage_get(sk, 0, 0);
	struct pc_record *record;
	u32 index;

	if (!socket || socket->generation != ctl->generation)
		return 0;
	index = socket->record;
	record = records.lookup(&index);
	/* A record that was used again is another socket's. */
	if (!record || record->cookie != sk->__sk_common.skc_cookie.counter)
		return 0;
	set_slot(record->cookie, index);
	return record;
}

/* For what happens seldom: short rather than fast. */
INLINE struct pc_record *find(struct sock *sk)
{
	struct pc_control *ctl = active_control();

	return ctl ? find_stored(ctl, sk) : 0;
}

/* Give a record to a connection that was there before. */
INLINE struct pc_record *adopt(struct pc_control *ctl, struct sock *sk, struct tcp_sock *tp)
{
	struct pc_record *record = admit(ctl, sk, socket_clock(tp));

	if (!record)
		return 0;
	record->delivered = tp->delivered;
	record->total_retrans = tp->total_retrans;
	read_names(record, tp);
	return record;
}

/* For what happens for each segment; a connection that was there before the trial is taken up. */
INLINE struct pc_record *find_or_admit(struct sock *sk, struct tcp_sock *tp)
{
	struct pc_record *record = find_fast(sk);
	struct pc_control *ctl;

	if (record)
		return record;
	ctl = active_control();
	if (!ctl || is_excluded(sk->__sk_common.skc_cookie.counter))
		return 0;
	record = find_stored(ctl, sk);
	return record ? record : adopt(ctl, sk, tp);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which flows of a live machine are looked at (perfcheck/model/flow_filter.py). What does not pass costs a look at a
 * table: a socket that was refused once is remembered by its cookie.
 */
#pragma once
#include "address.h"

#define AF_INET 2
#define PC_EXCLUDED 65536	/* a power of two */

/* An address within a network, and a port within a range. */
struct pc_end {
	struct pc_address network, mask;	/* of all bits 0: any address */
	u16 first_port, last_port;
	u32 family;		/* 0: any */
};

/* One element, written by user space. */
struct pc_filter {
	struct pc_end source, target;	/* in either direction */
	struct pc_end local, remote;
	u32 active;		/* 0: all pass */
	u32 by_ends, by_interface, by_cgroup, by_task;
	u32 ifindex;
	char comm[16];		/* of the task that connects or listens; empty: any */
};

INLINE bool end_passes(struct pc_end *end, struct pc_address *address, u16 port, u32 family)
{
	return (!end->family || end->family == family) && port >= end->first_port && port <= end->last_port &&
	       (address->high & end->mask.high) == end->network.high && (address->low & end->mask.low) == end->network.low;
}

INLINE bool ends_pass(struct pc_filter *within, struct pc_address *local, struct pc_address *remote, u16 local_port,
		      u16 remote_port, u32 family)
{
	if (!within->by_ends)
		return true;
	if (!end_passes(&within->local, local, local_port, family) ||
	    !end_passes(&within->remote, remote, remote_port, family))
		return false;
	if (end_passes(&within->source, local, local_port, family) &&
	    end_passes(&within->target, remote, remote_port, family))
		return true;
	return end_passes(&within->source, remote, remote_port, family) &&
	       end_passes(&within->target, local, local_port, family);
}

/* An IPv4 address that is mapped into IPv6 is IPv4. */
INLINE u32 family_of(struct pc_address *local, struct pc_address *remote)
{
	return local->high | remote->high || (remote->low >> 32) || (local->low >> 32) ? AF_INET6 : AF_INET;
}

INLINE bool socket_ends_pass(struct pc_filter *within, struct sock *sk)
{
	struct pc_address local, remote;

	if (!within->by_ends)
		return true;
	read_ends(sk, &local, &remote);
	return ends_pass(within, &local, &remote, sk->__sk_common.skc_num, bpf_ntohs(sk->__sk_common.skc_dport),
			 family_of(&local, &remote));
}

/* The device that the socket sends by; known once it is established. */
INLINE bool interface_passes(struct pc_filter *within, struct sock *sk)
{
	struct dst_entry *route = sk->sk_dst_cache;

	return !within->by_interface || (route && route->dev && route->dev->ifindex == within->ifindex);
}

/*
 * Writes records into detail mode's ring: some for each system call of one process. Compiled behind scope.bpf.c and
 * detail.bpf.c, whose ring, records and counting of losses these are.
 */

#define MOST_RECORDS 64

struct pc_burst {
	u64 attempts;		/* records written or lost */
	u32 tgid, records;	/* whose system calls, and how many records for each */
};

BPF_F_TABLE("array", u32, struct pc_burst, burst, 1, BPF_F_MMAPABLE);

int tp_btf__sys_enter(u64 *ctx)
{
	u32 zero = 0, records;
	struct pc_burst *chosen = burst.lookup(&zero);
	struct pc_event *event;

	if (!chosen || bpf_get_current_pid_tgid() >> 32 != chosen->tgid)
		return 0;
	records = chosen->records;
	for (u32 number = 0; number < MOST_RECORDS; number++) {
		if (number >= records)
			break;
		event = reserve(PC_AT_TX_NIC, 1, chosen->attempts);
		chosen->attempts++;
		if (!event)
			continue;
		describe_bytes(event, 1, number, 1448, 0);
		events.ringbuf_submit(event, NO_WAKEUP);
	}
	return 0;
}

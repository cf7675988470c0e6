/*
 * The CPU layer: how long the lab's processes wait for a CPU, and what takes it from them.
 *
 * The scheduler itself counts how long each task has waited in all (sched_info.run_delay); what that
 * grew by between two switches is one wait, migrations between run queues included. A task's account
 * is settled when it leaves the CPU. The run queue is locked: a CPU has one writer, and so has a task.
 */

BPF_F_TABLE("array", u32, struct pc_task, tasks, PC_TASKS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct pc_cpu, cpus, 1, BPF_F_MMAPABLE);

#define TASK_IS_DEAD 0x80

#ifdef HAS_task_struct__sched_info	/* CONFIG_SCHED_INFO */

/* Number of the task's host, from 1; 0: it is nobody's of the lab. */
INLINE u32 host_of_task(struct pc_scope *within, struct task_struct *task)
{
	struct nsproxy *proxy;

	if (task->tgid == within->own_tgid)
		return 0;
	proxy = task->nsproxy;
	return proxy && proxy->net_ns ? host_of(within, proxy->net_ns->ns.inum) : 0;
}

/* The task's record, made where it is the lab's and has none. */
INLINE struct pc_task *find_task(struct pc_scope *within, struct task_struct *task)
{
	u32 pid = task->pid, index = pid & (PC_TASKS - 1), host;
	struct pc_task *found;

	if (!pid)
		return 0;
	found = tasks.lookup(&index);
	if (!found)
		return 0;
	if (found->pid == pid)
		return found;
	/* Kernel threads have no memory of their own. */
	if (!task->mm)
		return 0;
	host = host_of_task(within, task);
	if (!host)
		return 0;
	/* A living one is forgotten for it: there is room for PC_TASKS. */
	if (found->pid)
		lock_xadd(&within->lost, 1);
	found->class = host > PC_CPU_HOSTS ? PC_CPU_HOSTS : host;
	found->cpu = ~0U;
	found->forced = 0;
	found->in_ns = found->out_ns = found->off_ns = found->runtime_ns = 0;
	found->pid = pid;
	return found;
}

INLINE struct pc_cpu *sums_of(struct pc_scope *within, struct pc_task *task)
{
	u32 index = task->class * within->cpus + bpf_get_smp_processor_id();

	return cpus.lookup(&index);
}

/* Settles one stint on the CPU, of `ran_ns` (without what a hypervisor took), and the time before it. */
INLINE void settle(struct pc_scope *within, struct pc_task *found, u64 ran_ns, u64 waited_ns, u64 now)
{
	struct pc_cpu *sums = sums_of(within, found);

	if (!sums)
		return;
	/* The window opened meanwhile: how it got here lies before it, and of the stint only a part counts. */
	if (found->in_ns < within->window_ns) {
		if (ran_ns > now - within->window_ns)
			ran_ns = now - within->window_ns;
		sums->busy_ns += ran_ns;
		return;
	}
	sums->busy_ns += ran_ns;
	sums->stints++;
	sums->waited_ns += waited_ns;
	if (found->forced)
		sums->forced_ns += found->off_ns;
	else if (found->off_ns > waited_ns)
		sums->blocked_ns += found->off_ns - waited_ns;
	distribution_add(&sums->delay_ns, short_ns(waited_ns));
}

INLINE void leaves(struct pc_scope *within, struct task_struct *task, u32 state, u32 preempted)
{
	struct pc_task *found = find_task(within, task);
	u64 runtime_ns, run_delay_ns, now;
	struct pc_cpu *sums;

	if (!found)
		return;
	now = bpf_ktime_get_ns();
	/* A link's process is known before it is seen: if it leaves first, it has been there all the time. */
	if (!found->in_ns && found->class == PC_OF_EMULATOR)
		found->in_ns = 1;
	runtime_ns = task->se.sum_exec_runtime;
	run_delay_ns = task->sched_info.run_delay;
	if (within->phase == PC_COUNT && found->in_ns > found->out_ns)
		settle(within, found, runtime_ns - found->runtime_ns, run_delay_ns - found->run_delay_ns, now);
	found->forced = preempted || !state;
	sums = within->phase == PC_COUNT ? sums_of(within, found) : 0;
	if (sums) {
		sums->forced += found->forced;
		sums->voluntary += !found->forced;
	}
	found->runtime_ns = runtime_ns;
	found->run_delay_ns = run_delay_ns;
	found->out_ns = now;
	if (state & TASK_IS_DEAD)
		found->pid = 0;
}

INLINE void comes(struct pc_scope *within, struct task_struct *task)
{
	struct pc_task *found = find_task(within, task);
	u32 cpu = bpf_get_smp_processor_id();
	struct pc_cpu *sums;
	u64 since_ns, now;

	if (!found)
		return;
	now = bpf_ktime_get_ns();
	/* Seen for the first time: the wait that ends now is not in run_delay yet. */
	if (!found->in_ns && !found->out_ns) {
		found->runtime_ns = task->se.sum_exec_runtime;
		found->run_delay_ns = task->sched_info.run_delay;
	}
	since_ns = found->out_ns > within->window_ns ? found->out_ns : within->window_ns;
	found->off_ns = found->out_ns ? now - since_ns : 0;
	if (found->cpu != cpu && found->cpu != ~0U && within->phase == PC_COUNT) {
		sums = sums_of(within, found);
		if (sums)
			sums->migrations++;
	}
	found->cpu = cpu;
	found->in_ns = now;
}

int tp_btf__sched_switch(u64 *ctx)
{
	struct pc_scope *within = tracking();

	if (!within)
		return 0;
	leaves(within, (struct task_struct *)ctx[1], ctx[3], (u8)ctx[0]);
	comes(within, (struct task_struct *)ctx[2]);
	return 0;
}
#endif

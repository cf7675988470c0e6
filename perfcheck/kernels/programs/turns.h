/*
 * Who runs when processes take turns (init.c): ksoftirqd before them.
 */
#ifndef PERFCHECK_TURNS_H
#define PERFCHECK_TURNS_H

#include <dirent.h>

/* ksoftirqd of the guest's only CPU, or -1. */
static pid_t softirq_thread(void)
{
	DIR *all = opendir("/proc");
	struct dirent *each;
	pid_t found = -1;

	while (all && found < 0 && (each = readdir(all))) {
		char path[300], name[32] = "";
		int fd;

		if (atoi(each->d_name) <= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", each->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && !strcmp(name, "ksoftirqd/0\n"))
			found = atoi(each->d_name);
		close(fd);
	}
	if (all)
		closedir(all);
	return found;
}

/* Whoever takes turns would keep an ordinary ksoftirqd from its end once it was woken, by chance. Kernels before 6.5
 * leave all softirqs to it until then, and each packet costs a switch of tasks more.
 */
static int softirqs_first(int output)
{
	struct sched_param before_turns = {2};
	static int done;

	if (!done && sched_setscheduler(softirq_thread(), SCHED_FIFO, &before_turns)) {
		say(output, "sched_setscheduler", "ksoftirqd/0");
		return 1;
	}
	done = 1;
	return 0;
}

#endif

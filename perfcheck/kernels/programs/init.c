/* The first process of a guest: mounts what programs need, runs the steps of /job, and reports each on a serial port.
 *
 * /job is a sequence of NUL-terminated strings: for each step its kind, the name of a network namespace (empty: the
 * guest's own), a time limit in milliseconds, the number of arguments, and the arguments.
 *   run ARGV...         run to the end
 *   start ARGV...       start, and go on
 *   listen PROTO PORT   wait until something listens on the port (proto: tcp or udp)
 *   stop STEP           end the process that step STEP started, and report what it wrote
 *   write PATH TEXT     write a file, such as a sysctl
 *   offer PATH TEXT     the same where there is such a file
 *   read PATH...        report what the files contain
 * A report is a line `@step NUMBER STATUS NANOSECONDS BYTES`, the bytes, and a newline. The status is that of the
 * process, 128 plus a signal's number, 124 past the time limit, or 1 where the step itself failed. The first step
 * that does not end with 0 ends the job, unless a `?` stands before its kind. Processes of steps with a `=` before
 * their kind take turns (SCHED_FIFO): who is woken runs when the other one waits, and chance decides nothing. The
 * kernel's own thread for softirqs goes before them. The last line is `@end NUMBER`, with the steps that were run.
 *
 * /root.steps, where it is there, says how the root file system is made before the first step (root.h).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { MOST_STEPS = 4096, MOST_ARGUMENTS = 512, MOST_OUTPUT = 64 << 20, MOST_JOB = 8 << 20 };

struct step {
	const char *kind, *netns;
	int may_fail, in_turns;
	long timeout_ms;
	int count;
	char *argv[MOST_ARGUMENTS + 1];
};

struct started {
	pid_t pid;
	int output;
};

static int report_fd, own_netns;

#include "root.h"

static struct started background[MOST_STEPS];

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t done = write(fd, data, size);

		if (done < 0 && errno != EINTR)
			return;
		if (done > 0) {
			data += done;
			size -= done;
		}
	}
}

/* Nothing may be left in the port's queue: its interrupts would fall into the next step. */
static void report(int number, int status, long long took_ns, int output)
{
	static char buffer[1 << 16];
	struct stat size = {0};
	off_t at = 0;
	int length;

	if (output >= 0)
		fstat(output, &size);
	if (size.st_size > MOST_OUTPUT)
		size.st_size = MOST_OUTPUT;
	length = snprintf(buffer, sizeof(buffer), "@step %d %d %lld %lld\n", number, status, took_ns, (long long)size.st_size);
	write_all(report_fd, buffer, length);
	while (at < size.st_size) {
		off_t left = size.st_size - at;
		size_t wanted = left < (off_t)sizeof(buffer) ? (size_t)left : sizeof(buffer);
		ssize_t got = pread(output, buffer, wanted, at);

		if (got <= 0) {
			/* The line above has promised so many bytes. */
			memset(buffer, '?', wanted);
			got = wanted;
		}
		write_all(report_fd, buffer, got);
		at += got;
	}
	write_all(report_fd, "\n", 1);
	tcdrain(report_fd);
}

static int new_output(void)
{
	return open("/dev/shm", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
}

static void say(int output, const char *what, const char *name)
{
	dprintf(output, "%s: %s: %s\n", what, name, strerror(errno));
}

#include "turns.h"

/* The namespace of the calling process; those that it starts are in it, too. */
static int enter(const char *netns, int output)
{
	char path[256];
	int fd, failed;

	if (!*netns)
		return setns(own_netns, CLONE_NEWNET);
	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	failed = fd < 0 || setns(fd, CLONE_NEWNET);
	if (failed)
		say(output, "network namespace", path);
	if (fd >= 0)
		close(fd);
	return failed;
}

static pid_t launch(const struct step *step, int output)
{
	pid_t pid;

	if (step->in_turns && softirqs_first(output))
		return -1;
	if (enter(step->netns, output))
		return -1;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY);
		struct sched_param first = {1};
		sigset_t none;

		if (step->in_turns && sched_setscheduler(0, SCHED_FIFO, &first))
			say(output, "sched_setscheduler", step->argv[0]);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		dup2(null, 0);
		dup2(output, 1);
		dup2(output, 2);
		execvp(step->argv[0], step->argv);
		say(2, "cannot run", step->argv[0]);
		_exit(127);
	}
	if (pid < 0)
		say(output, "fork", step->argv[0]);
	setns(own_netns, CLONE_NEWNET);
	return pid;
}

static int status_of(int waited)
{
	return WIFEXITED(waited) ? WEXITSTATUS(waited) : 128 + WTERMSIG(waited);
}

/* Wait for one process and reap all others that end meanwhile: this is process 1. */
static int finish(pid_t pid, long timeout_ms)
{
	long long until = now_ns() + timeout_ms * 1000000LL;
	sigset_t child;
	int waited;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		pid_t ended = waitpid(-1, &waited, WNOHANG);
		long long left = until - now_ns();
		struct timespec timeout = {left / 1000000000LL, left % 1000000000LL};

		if (ended == pid)
			return status_of(waited);
		for (int i = 0; ended > 0 && i < MOST_STEPS; i++)
			if (background[i].pid == ended)
				background[i].pid = -1;
		if (ended > 0)
			continue;
		if (ended < 0)
			return 1;
		if (left <= 0) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
			waitpid(pid, &waited, 0);
			return 124;
		}
		sigtimedwait(&child, NULL, &timeout);
	}
}

static int listens(const char *table, unsigned wanted, const char *state)
{
	FILE *file = fopen(table, "r");
	char line[512], found[3];
	unsigned port;
	int yes = 0;

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %2s", &port, found) == 2)
			yes |= port == wanted && !strcmp(found, state);
	fclose(file);
	return yes;
}

static int wait_for_listener(const struct step *step, int output)
{
	long long until = now_ns() + step->timeout_ms * 1000000LL;
	unsigned port = atoi(step->argv[1]);
	int tcp = !strcmp(step->argv[0], "tcp");
	struct timespec pause = {0, 1000000};

	if (enter(step->netns, output))
		return 1;
	/* /proc/net is of the thread's namespace. */
	while (!listens(tcp ? "/proc/thread-self/net/tcp" : "/proc/thread-self/net/udp", port, tcp ? "0A" : "07") &&
	       !listens(tcp ? "/proc/thread-self/net/tcp6" : "/proc/thread-self/net/udp6", port, tcp ? "0A" : "07")) {
		if (now_ns() > until) {
			dprintf(output, "nothing listens on %s port %u\n", step->argv[0], port);
			setns(own_netns, CLONE_NEWNET);
			return 124;
		}
		nanosleep(&pause, NULL);
	}
	setns(own_netns, CLONE_NEWNET);
	return 0;
}

static int read_files(const struct step *step, int output)
{
	static char buffer[1 << 16];
	int failed = enter(step->netns, output);

	for (int i = 0; !failed && i < step->count; i++) {
		int fd = open(step->argv[i], O_RDONLY | O_CLOEXEC);
		ssize_t got;

		dprintf(output, "@file %s\n", step->argv[i]);
		while (fd >= 0 && (got = read(fd, buffer, sizeof(buffer))) > 0)
			write_all(output, buffer, got);
		if (fd < 0)
			say(output, "read", step->argv[i]);
		failed |= fd < 0;
		close(fd);
	}
	setns(own_netns, CLONE_NEWNET);
	return failed;
}

static int write_file(const struct step *step, int output, int may_lack)
{
	int fd, failed = enter(step->netns, output);

	if (failed)
		return 1;
	fd = open(step->argv[0], O_WRONLY | O_CLOEXEC);
	failed = fd < 0 ? !(may_lack && errno == ENOENT) : write(fd, step->argv[1], strlen(step->argv[1])) < 0;
	if (failed)
		say(output, "write", step->argv[0]);
	if (fd >= 0)
		close(fd);
	setns(own_netns, CLONE_NEWNET);
	return failed;
}

static int stop(const struct step *step, int *output)
{
	struct started *one = &background[atoi(step->argv[0]) % MOST_STEPS];
	int ended_itself = one->pid < 0;

	close(*output);
	*output = one->output;
	if (one->pid > 0) {
		kill(one->pid, SIGTERM);
		/* 124 here: it did not end by SIGTERM, and was killed. */
		finish(one->pid, step->timeout_ms);
	}
	one->pid = 0;
	return ended_itself;
}

static int carry_out(const struct step *step, int number, int *output)
{
	pid_t pid;

	if (!strcmp(step->kind, "listen") && step->count == 2)
		return wait_for_listener(step, *output);
	if (!strcmp(step->kind, "read"))
		return read_files(step, *output);
	if (!strcmp(step->kind, "write") && step->count == 2)
		return write_file(step, *output, 0);
	if (!strcmp(step->kind, "offer") && step->count == 2)
		return write_file(step, *output, 1);
	if (!strcmp(step->kind, "stop") && step->count == 1)
		return stop(step, output);
	if (step->count && (!strcmp(step->kind, "run") || !strcmp(step->kind, "start"))) {
		pid = launch(step, *output);
		if (pid < 0)
			return 1;
		if (!strcmp(step->kind, "run"))
			return finish(pid, step->timeout_ms);
		background[number] = (struct started){pid, *output};
		*output = -1;
		return 0;
	}
	dprintf(*output, "not a step: %s with %d arguments\n", step->kind, step->count);
	return 1;
}

static char *job, *job_end;

static char *next(void)
{
	char *found = job;

	if (job >= job_end)
		return NULL;
	job += strlen(job) + 1;
	return found;
}

static int next_step(struct step *step)
{
	char *timeout, *count;

	step->kind = next();
	step->netns = next();
	timeout = next();
	count = next();
	if (!count)
		return 0;
	step->may_fail = *step->kind == '?';
	step->kind += step->may_fail;
	step->in_turns = *step->kind == '=';
	step->kind += step->in_turns;
	step->timeout_ms = atol(timeout);
	step->count = atoi(count);
	if (step->count > MOST_ARGUMENTS)
		return 0;
	for (int i = 0; i < step->count; i++)
		if (!(step->argv[i] = next()))
			return 0;
	step->argv[step->count] = NULL;
	return 1;
}

static void load_job(void)
{
	int fd = open("/job", O_RDONLY | O_CLOEXEC);
	ssize_t size;

	job = malloc(MOST_JOB + 1);
	size = fd < 0 ? 0 : read(fd, job, MOST_JOB);
	job[size < 0 ? 0 : size] = 0;
	job_end = job + (size < 0 ? 0 : size);
	close(fd);
}

static void mount_all(void)
{
	mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/run", 0755), mkdir("/tmp", 01777);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mkdir("/dev/pts", 0755), mkdir("/dev/shm", 01777);
	mount("devpts", "/dev/pts", "devpts", 0, NULL);
	mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL);
	mount("tmpfs", "/run", "tmpfs", 0, "mode=755");
	/* Nothing is mounted on /tmp: programs of the host may lie there. */
	chmod("/tmp", 01777);
	mkdir("/run/netns", 0755);
	symlink("/proc/self/fd", "/dev/fd");
	mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
}

static void open_report(const char *path)
{
	struct termios raw;

	report_fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (report_fd < 0 || tcgetattr(report_fd, &raw))
		return;
	cfmakeraw(&raw);
	tcsetattr(report_fd, TCSANOW, &raw);
}

int main(void)
{
	static struct step step;
	sigset_t child;
	FILE *steps;
	int number = 0;

	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("TERM", "dumb", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	open_report("/dev/ttyS1");
	load_job();
	steps = fopen("/root.steps", "re");
	if (steps)
		make_root(steps);
	mount_all();
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	own_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	write_all(report_fd, "@begin\n", 7);
	while (next_step(&step) && number < MOST_STEPS) {
		long long began = now_ns();
		int output = new_output();
		int status;

		sigprocmask(SIG_BLOCK, &child, NULL);
		status = carry_out(&step, number, &output);
		report(number++, status, now_ns() - began, output);
		if (output >= 0)
			close(output);
		if (status && !step.may_fail)
			break;
	}
	dprintf(report_fd, "@end %d\n", number);
	tcdrain(report_fd);
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}

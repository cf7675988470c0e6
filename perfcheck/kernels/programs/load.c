/* A load of an exact amount between two hosts, as short as it can be in user space.
 *
 *   load serve PORT
 *   load drive KIND ADDRESS PORT COUNT SIZE
 *
 * The server serves every kind, over TCP and UDP, IPv4 and IPv6, one peer after the other. Kinds:
 *   stream       COUNT writes of SIZE bytes over one connection
 *   requests     COUNT requests of SIZE bytes over one connection, each answered by as many
 *   connections  COUNT connections, one after the other, each with one request and answer of SIZE bytes
 *   datagrams    COUNT datagrams of SIZE bytes, 32 at a time; the server answers each 32nd
 * The client is done when the server has all; it then prints `units`, `bytes`, `ns` (CLOCK_MONOTONIC) and `run_ns` (time
 * that all tasks ran on the first CPU, /proc/schedstat), a line each.
 * The instruction `nopl MARK(%rax)` before and after tells a counter where the load begins and ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 20, BURST = 32, WAIT_S = 20 };

#define MARK_BEGIN() __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x01, 0x4b, 0x43, 0x50" ::: "memory")
#define MARK_END() __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x00, 0x4b, 0x43, 0x50" ::: "memory")

/* What a client says first: the kind, and the size of what it sends. */
struct hello {
	uint32_t kind, size;
	uint64_t count;
};

enum kind { STREAM, REQUESTS, CONNECTIONS, DATAGRAMS, KINDS };

static const char *const names[KINDS] = {"stream", "requests", "connections", "datagrams"};
static char buffer[MOST];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void limit_waits(int fd)
{
	struct timeval wait = {WAIT_S, 0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

static void write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t done = send(fd, at, size, MSG_NOSIGNAL);

		if (done <= 0)
			fail("send");
		at += done;
		size -= done;
	}
}

/* Whether all came; the peer may end before. */
static int read_all(int fd, void *data, size_t size)
{
	char *at = data;

	while (size) {
		ssize_t got = recv(fd, at, size, 0);

		if (got <= 0)
			return 0;
		at += got;
		size -= got;
	}
	return 1;
}

static void serve_connection(int fd)
{
	struct hello hello;
	uint64_t total = 0;
	ssize_t got;
	int on = 1;

	limit_waits(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!read_all(fd, &hello, sizeof(hello)) || hello.size > MOST)
		return;
	if (hello.kind == STREAM) {
		while (total < hello.count * hello.size && (got = recv(fd, buffer, sizeof(buffer), 0)) > 0)
			total += got;
		send(fd, &total, sizeof(total), MSG_NOSIGNAL);
	} else {
		while (read_all(fd, buffer, hello.size))
			if (send(fd, buffer, hello.size, MSG_NOSIGNAL) < 0)
				break;
	}
}

static void serve(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port)), .sin6_addr = in6addr_any};
	int tcp = socket(AF_INET6, SOCK_STREAM, 0), udp = socket(AF_INET6, SOCK_DGRAM, 0), on = 1, fd;
	struct pollfd both[2] = {{tcp, POLLIN, 0}, {udp, POLLIN, 0}};
	struct sockaddr_in6 peer;
	uint64_t datagrams = 0;

	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(udp, (void *)&any, sizeof(any)) || bind(tcp, (void *)&any, sizeof(any)) || listen(tcp, 128))
		fail("bind");
	for (;;) {
		if (poll(both, 2, -1) < 0)
			fail("poll");
		if (both[0].revents && (fd = accept(tcp, NULL, NULL)) >= 0) {
			serve_connection(fd);
			close(fd);
		}
		if (both[1].revents) {
			socklen_t length = sizeof(peer);
			ssize_t got = recvfrom(udp, buffer, sizeof(buffer), MSG_DONTWAIT, (void *)&peer, &length);

			if (got > 0 && ++datagrams % BURST == 0)
				sendto(udp, &datagrams, sizeof(datagrams), 0, (void *)&peer, length);
		}
	}
}

/* A numeric address; static programs cannot look names up. */
static int connected(const char *address, const char *port, int type)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	int is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1, fd, on = 1;

	if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1) {
		fprintf(stderr, "not an IP address: %s\n", address);
		exit(2);
	}
	fd = socket(is_six ? AF_INET6 : AF_INET, type, 0);
	if (fd < 0)
		fail("socket");
	limit_waits(fd);
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, is_six ? (void *)&six : (void *)&four, is_six ? sizeof(six) : sizeof(four)))
		fail("connect");
	return fd;
}

static void ask(int fd, size_t size)
{
	write_all(fd, buffer, size);
	if (!read_all(fd, buffer, size))
		fail("the answer did not come");
}

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The time that all tasks have run on the first CPU, interrupts within it included; -1 where the kernel does not tell.
 * The kernel adds a task's time when it stops running, so it has to stop first.
 */
static long long run_ns(void)
{
	struct timespec pause = {0, 1000000};
	char line[4096];
	long long found = -1;
	FILE *file;

	nanosleep(&pause, NULL);
	file = fopen("/proc/schedstat", "r");
	while (file && found < 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "cpu0 %*d %*d %*d %*d %*d %*d %lld", &found) != 1)
			found = -1;
	if (file)
		fclose(file);
	return found;
}

static void drive(enum kind kind, const char *address, const char *port, uint64_t count, uint32_t size)
{
	struct hello hello = {kind, size, count};
	uint64_t total = 0;
	long long began, ran;
	int fd = kind == CONNECTIONS ? -1 : connected(address, port, kind == DATAGRAMS ? SOCK_DGRAM : SOCK_STREAM);

	if (kind == STREAM || kind == REQUESTS)
		write_all(fd, &hello, sizeof(hello));
	ran = run_ns();
	began = now_ns();
	MARK_BEGIN();
	for (uint64_t i = 0; i < count; i++) {
		switch (kind) {
		case STREAM:
			write_all(fd, buffer, size);
			break;
		case REQUESTS:
			ask(fd, size);
			break;
		case CONNECTIONS:
			fd = connected(address, port, SOCK_STREAM);
			write_all(fd, &hello, sizeof(hello));
			ask(fd, size);
			close(fd);
			break;
		default:
			write_all(fd, buffer, size);
			if ((i + 1) % BURST == 0 && recv(fd, &total, sizeof(total), 0) != sizeof(total))
				fail("datagrams were lost");
		}
	}
	if (kind == STREAM && (!read_all(fd, &total, sizeof(total)) || total != count * size))
		fail("the server did not get all");
	MARK_END();
	printf("units %llu\nbytes %llu\nns %lld\n", (unsigned long long)count, (unsigned long long)count * size,
	       now_ns() - began);
	printf("run_ns %lld\n", ran < 0 ? ran : run_ns() - ran);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv[2]);
	for (int kind = 0; argc == 7 && kind < KINDS; kind++) {
		unsigned long long count = strtoull(argv[5], NULL, 10), size = strtoull(argv[6], NULL, 10);

		if (!strcmp(argv[1], "drive") && !strcmp(argv[2], names[kind]) && count && size && size <= MOST) {
			/* Whole bursts: the last datagrams would not be answered. */
			drive(kind, argv[3], argv[4], kind == DATAGRAMS ? (count + BURST - 1) / BURST * BURST : count, size);
			return 0;
		}
	}
	fprintf(stderr, "usage: load serve PORT | load drive KIND ADDRESS PORT COUNT SIZE\n");
	return 2;
}

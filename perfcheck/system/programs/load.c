/* A load of an exact amount between two hosts, as short as it can be in user space.
 *
 *   load serve PORT [ADDRESS]
 *   load drive KIND ADDRESS PORT COUNT SIZE [LOG]
 *
 * The server serves every kind, over TCP and UDP, one peer after the other; at all addresses where none is given. Kinds:
 *   stream       COUNT writes of SIZE bytes over one connection
 *   requests     COUNT requests of SIZE bytes over one connection, each answered by as many
 *   connections  COUNT connections, one after the other, each with one request and answer of SIZE bytes; the server
 *                closes first, so that the client never runs out of ports
 *   datagrams    COUNT datagrams of SIZE bytes, 32 at a time; the server answers each 32nd
 * The client is done when the server has all. It then prints a line each: `units`, `bytes`, `ns` (how long it took),
 * `began` (CLOCK_MONOTONIC), `run_ns` (time that all tasks ran on the first CPU, /proc/schedstat), of one flow also
 * `flow` (addresses and ports), `sent` (bytes) and `retransmits`.
 * The instruction `nopl MARK(%rax)` before and after tells a counter where the load begins and ends.
 *
 * With LOG the client does not look at run_ns. It notes times (CLOCK_MONOTONIC, ns, 64 bits each) in that file: requests: when each answer had
 * come; datagrams: the same of each 32; connections: begin, established, first byte of the answer, end. The server then
 * prints its end of the flow (`peer`), and of a stream how much had arrived when (`arrived`), each 100 ms.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 20, BURST = 32, WAIT_S = 20, TOLD_NS = 100000000, DATAGRAMS_BUFFER = 1 << 23 };

#define MARK_BEGIN() __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x01, 0x4b, 0x43, 0x50" ::: "memory")
#define MARK_END() __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x00, 0x4b, 0x43, 0x50" ::: "memory")

/* What a client says first: the kind, whether the server is to tell what it sees, and what will be sent. */
struct hello {
	uint16_t kind, told;
	uint32_t size;
	uint64_t count;
};

enum kind { STREAM, REQUESTS, CONNECTIONS, DATAGRAMS, KINDS };

static const char *const names[KINDS] = {"stream", "requests", "connections", "datagrams"};
/* Times that the log has of each unit, of datagrams of each 32. */
static const int columns[KINDS] = {0, 1, 4, 1};
static char buffer[MOST];

union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void limit_waits(int fd)
{
	struct timeval wait = {WAIT_S, 0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

static void send_at_once(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
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

/* Whether all came, and when the first of it did where that is asked; the peer may end before. */
static int read_all(int fd, void *data, size_t size, int64_t *first_ns)
{
	char *at = data;

	while (size) {
		ssize_t got = recv(fd, at, size, 0);

		if (got <= 0)
			return 0;
		if (first_ns && at == data)
			*first_ns = now_ns();
		at += got;
		size -= got;
	}
	return 1;
}

/* Numeric addresses only: a static program cannot look names up. */
static socklen_t parsed(const char *address, const char *port, union address *out)
{
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET6, address, &out->six.sin6_addr) == 1) {
		out->six.sin6_family = AF_INET6;
		out->six.sin6_port = htons(atoi(port));
		return sizeof(out->six);
	}
	if (inet_pton(AF_INET, address, &out->four.sin_addr) == 1) {
		out->four.sin_family = AF_INET;
		out->four.sin_port = htons(atoi(port));
		return sizeof(out->four);
	}
	fprintf(stderr, "not an IP address: %s\n", address);
	exit(2);
}

static void print_end(const union address *end)
{
	char text[INET6_ADDRSTRLEN] = "?";
	int is_six = end->any.sa_family == AF_INET6;

	inet_ntop(end->any.sa_family, is_six ? (void *)&end->six.sin6_addr : (void *)&end->four.sin_addr, text, sizeof(text));
	printf(" %s %d", text, ntohs(is_six ? end->six.sin6_port : end->four.sin_port));
}

/* This side's address and port, then the other's. */
static void print_ends(const char *what, int fd)
{
	union address here, there;
	socklen_t size = sizeof(here), other = sizeof(there);

	if (getsockname(fd, &here.any, &size) || getpeername(fd, &there.any, &other))
		fail("addresses of the flow");
	printf("%s", what);
	print_end(&here);
	print_end(&there);
	printf("\n");
	fflush(stdout);
}

static void serve_stream(int fd, const struct hello *hello)
{
	uint64_t total = 0, whole = hello->count * hello->size;
	int64_t told_ns = hello->told ? now_ns() : 0, now;
	ssize_t got;

	while (total < whole && (got = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
		total += got;
		if (hello->told && ((now = now_ns()) >= told_ns + TOLD_NS || total >= whole)) {
			printf("arrived %lld %llu\n", (long long)now, (unsigned long long)total);
			fflush(stdout);
			told_ns = now;
		}
	}
	send(fd, &total, sizeof(total), MSG_NOSIGNAL);
}

static void serve_connection(int fd)
{
	struct hello hello;

	limit_waits(fd);
	send_at_once(fd);
	if (!read_all(fd, &hello, sizeof(hello), NULL) || !hello.size || hello.size > MOST)
		return;
	if (hello.told && hello.kind != CONNECTIONS)
		print_ends("peer", fd);
	if (hello.kind == STREAM) {
		serve_stream(fd, &hello);
		return;
	}
	while (read_all(fd, buffer, hello.size, NULL))
		if (send(fd, buffer, hello.size, MSG_NOSIGNAL) < 0 || hello.kind == CONNECTIONS)
			break;
}

/* Take one datagram; each 32nd of a peer is answered by how many came from it so far. */
static void serve_datagram(int fd)
{
	static union address last;
	static uint64_t datagrams;
	union address peer;
	socklen_t size = sizeof(peer);

	memset(&peer, 0, sizeof(peer));
	if (recvfrom(fd, buffer, sizeof(buffer), MSG_DONTWAIT, &peer.any, &size) <= 0)
		return;
	if (memcmp(&peer, &last, sizeof(peer))) {
		last = peer;
		datagrams = 0;
	}
	if (++datagrams % BURST == 0)
		sendto(fd, &datagrams, sizeof(datagrams), 0, &peer.any, size);
}

static void serve(const char *port, const char *address)
{
	union address at;
	socklen_t size = parsed(address ? address : "::", port, &at);
	int tcp = socket(at.any.sa_family, SOCK_STREAM, 0), udp, on = 1, room = DATAGRAMS_BUFFER, fd;
	struct pollfd both[2];

	if (tcp < 0 && errno == EAFNOSUPPORT && !address) {
		/* A kernel without IPv6. */
		size = parsed("0.0.0.0", port, &at);
		tcp = socket(AF_INET, SOCK_STREAM, 0);
	}
	udp = socket(at.any.sa_family, SOCK_DGRAM, 0);
	if (tcp < 0 || udp < 0)
		fail("socket");
	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* Room for 32 of the largest; the second form is bounded by a sysctl, the first needs a capability. */
	if (setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(udp, &at.any, size) || bind(tcp, &at.any, size) || listen(tcp, 128))
		fail("bind");
	both[0] = (struct pollfd){tcp, POLLIN, 0};
	both[1] = (struct pollfd){udp, POLLIN, 0};
	for (;;) {
		if (poll(both, 2, -1) < 0)
			fail("poll");
		if (both[0].revents && (fd = accept(tcp, NULL, NULL)) >= 0) {
			serve_connection(fd);
			close(fd);
		}
		if (both[1].revents)
			serve_datagram(udp);
	}
}

static int connected(const union address *to, socklen_t size, int type)
{
	int fd = socket(to->any.sa_family, type, 0);

	if (fd < 0)
		fail("socket");
	limit_waits(fd);
	if (type == SOCK_STREAM)
		send_at_once(fd);
	if (connect(fd, &to->any, size))
		fail("connect");
	return fd;
}

static void ask(int fd, size_t size, int64_t *first_ns)
{
	write_all(fd, buffer, size);
	if (!read_all(fd, buffer, size, first_ns)) {
		fprintf(stderr, "no answer within %d s, or the server ended the connection\n", WAIT_S);
		exit(1);
	}
}

/* One connection with one request; the server ends it. `log` has room for four times, or is NULL. */
static void connection(const union address *to, socklen_t to_size, const struct hello *hello, int64_t *log)
{
	int fd;

	if (log)
		log[0] = now_ns();
	fd = connected(to, to_size, SOCK_STREAM);
	if (log)
		log[1] = now_ns();
	write_all(fd, hello, sizeof(*hello));
	ask(fd, hello->size, log ? log + 2 : NULL);
	if (recv(fd, buffer, 1, 0) != 0) {
		fprintf(stderr, "the server did not end the connection\n");
		exit(1);
	}
	if (log)
		log[3] = now_ns();
	close(fd);
}

static void datagram(int fd, size_t size, uint64_t number)
{
	uint64_t seen = 0;

	write_all(fd, buffer, size);
	if (number % BURST)
		return;
	if (recv(fd, &seen, sizeof(seen), 0) != sizeof(seen) || seen != number) {
		fprintf(stderr, "of the first %llu datagrams some were lost or came twice\n", (unsigned long long)number);
		exit(1);
	}
}

static uint32_t retransmits(int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size))
		fail("TCP_INFO");
	return info.tcpi_total_retrans;
}

/* The log's memory, all of it there before the load begins. */
static int64_t *mapped(const char *path, uint64_t times)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *memory;

	if (fd < 0 || ftruncate(fd, times * sizeof(int64_t)))
		fail(path);
	memory = mmap(NULL, times * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (memory == MAP_FAILED)
		fail(path);
	return memory;
}

/* The time that all tasks have run on the first CPU, interrupts within it included; -1 where the kernel does not tell.
 * The kernel adds a task's time when it stops running, so it has to stop first.
 */
static int64_t run_ns(void)
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

static void drive(const struct hello *hello, const union address *to, socklen_t to_size, int64_t *log)
{
	enum kind kind = hello->kind;
	uint64_t count = hello->count, total = 0, sent = count * hello->size;
	uint32_t size = hello->size;
	int64_t began, took, ran;
	int fd = kind == CONNECTIONS ? -1 : connected(to, to_size, kind == DATAGRAMS ? SOCK_DGRAM : SOCK_STREAM);

	if (kind == STREAM || kind == REQUESTS) {
		write_all(fd, hello, sizeof(*hello));
		sent += sizeof(*hello);
	}
	ran = hello->told ? -1 : run_ns();
	began = now_ns();
	MARK_BEGIN();
	for (uint64_t i = 0; i < count; i++) {
		switch (kind) {
		case STREAM:
			write_all(fd, buffer, size);
			break;
		case REQUESTS:
			ask(fd, size, NULL);
			if (log)
				log[i] = now_ns();
			break;
		case CONNECTIONS:
			connection(to, to_size, hello, log ? log + 4 * i : NULL);
			break;
		default:
			datagram(fd, size, i + 1);
			if (log && (i + 1) % BURST == 0)
				log[i / BURST] = now_ns();
		}
	}
	if (kind == STREAM && (!read_all(fd, &total, sizeof(total), NULL) || total != count * size)) {
		fprintf(stderr, "the server got %llu of %llu bytes\n", (unsigned long long)total,
			(unsigned long long)count * size);
		exit(1);
	}
	MARK_END();
	took = now_ns() - began;
	if (ran >= 0)
		ran = run_ns() - ran;
	printf("units %llu\nbytes %llu\nns %lld\nbegan %lld\nrun_ns %lld\n", (unsigned long long)count,
	       (unsigned long long)count * size, (long long)took, (long long)began, (long long)ran);
	if (fd < 0)
		return;
	print_ends("flow", fd);
	printf("sent %llu\n", (unsigned long long)sent);
	if (kind != DATAGRAMS)
		printf("retransmits %u\n", retransmits(fd));
}

int main(int argc, char **argv)
{
	struct hello hello = {0};
	union address to;
	uint64_t count, size;

	signal(SIGPIPE, SIG_IGN);
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "serve"))
		serve(argv[2], argv[3]);
	for (int kind = 0; (argc == 7 || argc == 8) && !strcmp(argv[1], "drive") && kind < KINDS; kind++) {
		count = strtoull(argv[5], NULL, 10);
		size = strtoull(argv[6], NULL, 10);
		if (strcmp(argv[2], names[kind]) || !count || !size || size > MOST)
			continue;
		/* Whole bursts: the last datagrams would not be answered. */
		if (kind == DATAGRAMS)
			count = (count + BURST - 1) / BURST * BURST;
		hello = (struct hello){.kind = kind, .told = argc == 8, .size = size, .count = count};
		count = kind == DATAGRAMS ? count / BURST : count;
		drive(&hello, &to, parsed(argv[3], argv[4], &to),
		      argc == 8 && columns[kind] ? mapped(argv[7], count * columns[kind]) : NULL);
		return 0;
	}
	fprintf(stderr, "usage: load serve PORT [ADDRESS] | load drive KIND ADDRESS PORT COUNT SIZE [LOG]\n");
	return 2;
}

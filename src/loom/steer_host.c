#include "steer_host.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/addr.h"

/* include/net/tcp_states.h: a UDP socket without a peer is in TCP_CLOSE. */
#define TCP_LISTENS 0x0a
#define UDP_BOUND   0x07

static const char *const sysctls[] = {
	"net/ipv4/tcp_migrate_req",
	"net/ipv4/tcp_syncookies",
	"net/ipv4/tcp_max_syn_backlog",
	"net/ipv4/tcp_abort_on_overflow",
	"net/ipv4/ip_local_port_range",
	"net/ipv4/udp_mem",
	"net/ipv4/udp_rmem_min",
	"net/core/somaxconn",
	"net/core/rmem_max",
	"net/core/rmem_default",
	"net/core/netdev_max_backlog",
	"net/core/bpf_jit_enable",
	"net/core/bpf_jit_harden",
	"kernel/unprivileged_bpf_disabled",
	"kernel/bpf_stats_enabled",
	"kernel/perf_event_paranoid",
	"kernel/yama/ptrace_scope",
	"fs/file-max",
};

/* The file's first line without its newline; -errno. */
static int read_line(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	int r = 0;

	if (!file)
		return -errno;
	if (!fgets(text, (int)size, file))
		r = ferror(file) ? -errno : -ENODATA;
	fclose(file);
	if (r == 0)
		text[strcspn(text, "\n")] = '\0';
	return r;
}

static void add_line(struct buf *out, const char *name, const char *path)
{
	char text[512];
	int r = read_line(path, text, sizeof(text));

	buf_printf(out, "%-34s %s\n", name, r == 0 ? text : strerror(-r));
}

void steer_host_kernel(struct buf *out)
{
	struct utsname uts;
	char path[128];

	if (uname(&uts) == 0)
		buf_printf(out, "%-34s %s %s %s %s %s\n", "uname", uts.sysname, uts.nodename,
			   uts.release, uts.version, uts.machine);
	add_line(out, "uptime (seconds, idle)", "/proc/uptime");
	add_line(out, "load", "/proc/loadavg");
	add_line(out, "memory", "/proc/meminfo");
	add_line(out, "command line", "/proc/cmdline");
	buf_printf(out, "%-34s %s\n", "BTF of the kernel",
		   access("/sys/kernel/btf/vmlinux", R_OK) == 0 ? "there" : strerror(errno));
	buf_printf(out, "%-34s %ld\n", "CPUs online", sysconf(_SC_NPROCESSORS_ONLN));
	for (size_t i = 0; i < sizeof(sysctls) / sizeof(sysctls[0]); i++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", sysctls[i]);
		add_line(out, sysctls[i], path);
	}
}

/* ---- sockets ---- */

/* A row of /proc/net/{tcp,tcp6,udp,udp6}. */
struct host_socket {
	struct addr address;
	unsigned int port;
	unsigned int state;
	unsigned int tx;
	unsigned int rx;
	unsigned int uid;
	unsigned long inode;
	unsigned long drops; /* UDP */
};

/* "0100007F:1F90", or 32 digits: words of the address as the kernel holds them. */
static bool parse_address(const char *text, struct host_socket *ret)
{
	__be32 word[4] = { 0 };
	size_t len = strcspn(text, ":");

	if (len != 8 && len != 32)
		return false;
	for (size_t i = 0; i < len / 8; i++) {
		char digits[9] = "";

		memcpy(digits, text + i * 8, 8);
		word[i] = (__be32)strtoul(digits, NULL, 16);
	}
	if (len == 8)
		ret->address = addr_from_v4(word[0]);
	else
		memcpy(&ret->address, word, sizeof(word));
	ret->port = (unsigned int)strtoul(text + len + 1, NULL, 16);
	return true;
}

static bool parse_row(char *line, struct host_socket *ret)
{
	char local[64];

	/* sl local remote st tx:rx tr:when retransmits uid timeout inode ref pointer drops */
	memset(ret, 0, sizeof(*ret));
	return sscanf(line, " %*s %63s %*s %x %x:%x %*s %*s %u %*s %lu %*s %*s %lu", local,
		      &ret->state, &ret->tx, &ret->rx, &ret->uid, &ret->inode, &ret->drops) >= 6 &&
	       parse_address(local, ret);
}

/* Does a process hold the socket?  link: "socket:[INODE]". */
static bool holds(const char *pid, const char *link)
{
	char path[300];
	char target[64];
	const struct dirent *entry;
	bool found = false;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	fds = opendir(path);
	while (fds && !found && (entry = readdir(fds))) {
		ssize_t len = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);

		if (len <= 0)
			continue;
		target[len] = '\0';
		found = strcmp(target, link) == 0;
	}
	if (fds)
		closedir(fds);
	return found;
}

static void add_holders(struct buf *out, unsigned long inode)
{
	const struct dirent *entry;
	char path[300];
	char link[64];
	char comm[64];
	DIR *proc = opendir("/proc");

	snprintf(link, sizeof(link), "socket:[%lu]", inode);
	while (proc && (entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || !holds(entry->d_name, link))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (read_line(path, comm, sizeof(comm)) < 0)
			snprintf(comm, sizeof(comm), "?");
		buf_printf(out, " %s(%s)", comm, entry->d_name);
	}
	if (proc)
		closedir(proc);
}

static void add_socket(struct buf *out, const char *kind, const struct host_socket *socket)
{
	char text[ADDR_PORT_TEXT_LEN];

	buf_printf(out, "%-5s %-28s %10u %10u %10lu %6u %10lu", kind,
		   addr_port_format(&socket->address, (uint16_t)socket->port, text), socket->rx,
		   socket->tx, socket->drops, socket->uid, socket->inode);
	add_holders(out, socket->inode);
	buf_printf(out, "\n");
}

static void add_file(struct buf *out, const char *kind, uint16_t port, uint64_t pid)
{
	unsigned int state = kind[0] == 't' ? TCP_LISTENS : UDP_BOUND;
	struct host_socket socket;
	char line[512];
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/net/%s", kind);
	if (pid)
		snprintf(path, sizeof(path), "/proc/%" PRIu64 "/net/%s", pid, kind);
	file = fopen(path, "re");
	if (!file) {
		buf_printf(out, "%s: %s\n", path, strerror(errno));
		return;
	}
	while (fgets(line, sizeof(line), file))
		if (parse_row(line, &socket) && socket.state == state &&
		    (!port || socket.port == port))
			add_socket(out, kind, &socket);
	fclose(file);
}

void steer_host_sockets(struct buf *out, uint16_t port, uint64_t pid)
{
	static const char *const kinds[] = { "udp", "udp6", "tcp", "tcp6" };

	/* Of a TCP listener the columns are connections to accept and 0. */
	buf_printf(out, "%-5s %-28s %10s %10s %10s %6s %10s %s\n", "KIND", "LOCAL", "RECV-Q",
		   "SEND-Q", "DROPS", "UID", "INODE", "HELD BY");
	for (size_t i = 0; i < 4; i++)
		add_file(out, kinds[i], port, pid);
}

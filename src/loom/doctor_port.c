/* Ports of this host that Loom uses too: NAT's source ports, and the admin API's. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "doctor.h"
#include "sys/ports.h"

#define PROGRAM_LEN 32
#define MAX_NAMED   8u
/* include/net/tcp_states.h: a bound UDP socket without a peer is TCP_CLOSE. */
#define STATE_LISTEN 0x0au
#define STATE_CLOSE  0x07u

/* ---- /proc/net/tcp and its like ---- */

/* Addresses stand as 32-bit words in this host's order. */
static bool parse_address(const char *hex, struct addr *ret)
{
	size_t words = strlen(hex) / 8;
	uint32_t word[4];

	if (words != 1 && words != 4)
		return false;
	for (size_t i = 0; i < words; i++)
		if (sscanf(hex + i * 8, "%8" SCNx32, &word[i]) != 1)
			return false;
	if (words == 1)
		*ret = addr_from_v4(word[0]);
	else
		memcpy(ret, word, sizeof(*ret));
	return true;
}

static void read_listeners(const char *path, bool udp, doctor_listener_fn fn, void *ctx)
{
	FILE *file = fopen(path, "re");
	char line[512];

	/* Without IPv6 there are no files of its. */
	while (file && fgets(line, sizeof(line), file)) {
		struct doctor_listener listener = { .udp = udp };
		unsigned int port;
		unsigned int state;
		char hex[33];

		if (sscanf(line,
			   " %*u: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*s %*s %" SCNu64,
			   hex, &port, &state, &listener.inode) != 4 ||
		    state != (udp ? STATE_CLOSE : STATE_LISTEN) ||
		    !parse_address(hex, &listener.address))
			continue;
		listener.port = (uint16_t)port;
		fn(ctx, &listener);
	}
	if (file)
		fclose(file);
}

void doctor_each_listener(doctor_listener_fn fn, void *ctx)
{
	read_listeners("/proc/net/tcp", false, fn, ctx);
	read_listeners("/proc/net/tcp6", false, fn, ctx);
	read_listeners("/proc/net/udp", true, fn, ctx);
	read_listeners("/proc/net/udp6", true, fn, ctx);
}

/* ---- who holds a socket ---- */

static bool holds(const char *pid, uint64_t inode)
{
	char wanted[40];
	char path[320];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	while (!found && dir && (entry = readdir(dir))) {
		char target[40];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		target[n < 0 ? 0 : n] = '\0';
		found = !strcmp(target, wanted);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void read_program(const char *pid, char program[PROGRAM_LEN])
{
	char path[320];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	file = fopen(path, "re");
	if (file && fgets(program, PROGRAM_LEN, file))
		program[strcspn(program, "\n")] = '\0';
	if (file)
		fclose(file);
}

/* The name of the program that holds the socket; "" if that cannot be seen. */
static void find_owner(uint64_t inode, char program[PROGRAM_LEN])
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	program[0] = '\0';
	while (!program[0] && dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    holds(entry->d_name, inode))
			read_program(entry->d_name, program);
	if (dir)
		closedir(dir);
}

static void name_listener(struct buf *buf, const struct doctor_listener *listener)
{
	char program[PROGRAM_LEN];

	find_owner(listener->inode, program);
	buf_printf(buf, "%s%s %u%s%s%s", buf->len ? ", " : "", listener->udp ? "udp" : "tcp",
		   listener->port, program[0] ? " (" : "", program, program[0] ? ")" : "");
}

/* ---- source ports of NAT ---- */

struct range {
	uint16_t first;
	uint16_t last;
	uint16_t admin_port;
	struct buf names;
	size_t count;
};

static void note_in_range(void *ctx, const struct doctor_listener *listener)
{
	struct range *range = ctx;

	if (listener->port < range->first || listener->port > range->last)
		return;
	/* Loom's own, or for check_admin to tell. */
	if (!listener->udp && listener->port == range->admin_port)
		return;
	if (range->count++ < MAX_NAMED)
		name_listener(&range->names, listener);
}

static void report_listeners(struct doctor *doctor, struct range *range)
{
	buf_init(&range->names);
	doctor_each_listener(note_in_range, range);
	if (!range->count) {
		doctor_find(doctor, DOCTOR_OK, "nat", "no socket listens on a source port of NAT");
	} else {
		doctor_find(doctor, DOCTOR_WARNING, "nat",
			    "sockets listen on source ports of NAT, %u-%u: %s%s", range->first,
			    range->last, range->names.data ? range->names.data : "",
			    range->count > MAX_NAMED ? ", ..." : "");
		doctor_remedy(doctor, "set ebpf.xdp.snat.ports to a range clear of them; Loom then "
				      "need not try others");
	}
	buf_done(&range->names);
}

/* "8080,9000-9010", /proc/sys/net/ipv4/ip_local_reserved_ports: is all of the range in there? */
static bool is_reserved(const struct range *range)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_reserved_ports", "re");
	uint32_t next = range->first;
	unsigned int first;

	/* The kernel prints it sorted, and as few ranges as there are. */
	while (file && fscanf(file, "%u", &first) == 1) {
		unsigned int last = first;
		int c = fgetc(file);

		if (c == '-' && fscanf(file, "%u", &last) == 1)
			c = fgetc(file);
		if (first <= next && last >= next)
			next = last + 1;
		if (c != ',')
			break;
	}
	if (file)
		fclose(file);
	return next > range->last;
}

static void report_local_range(struct doctor *doctor, const struct range *range)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned int low = 0;
	unsigned int high = 0;
	int n = file ? fscanf(file, "%u %u", &low, &high) : 0;

	if (file)
		fclose(file);
	if (n != 2)
		return;
	if (range->last < low || range->first > high || is_reserved(range)) {
		doctor_find(doctor, DOCTOR_OK, "nat",
			    "source ports %u-%u are clear of those the kernel gives its own "
			    "connections",
			    range->first, range->last);
		return;
	}
	doctor_find(doctor, DOCTOR_WARNING, "nat",
		    "source ports %u-%u overlap those the kernel gives its own connections, %u-%u",
		    range->first, range->last, low, high);
	doctor_remedy(doctor,
		      "set ebpf.xdp.snat.ports beside them, or sysctl -w "
		      "net.ipv4.ip_local_reserved_ports=%u-%u",
		      range->first, range->last);
}

static void check_nat(struct doctor *doctor)
{
	const struct config_ebpf *ebpf = &doctor->config->ebpf;
	struct range range = { .admin_port = doctor->config->admin.port };
	struct err err = { 0 };

	if (!doctor_has_nat(doctor->config, CONFIG_NAT_FULL))
		return;
	if (ports_for_nat(ebpf->snat_port_first, ebpf->snat_port_last, &range.first, &range.last,
			  &err) < 0) {
		/* "cannot VERB OBJECT: REASON; NEXT STEP" (err.h) */
		char *step = strchr(err.text, ';');

		doctor_find(doctor, DOCTOR_PROBLEM, "nat", "%.*s",
			    step ? (int)(step - err.text) : -1, err.text);
		doctor_remedy(doctor, "%s", step ? step + 2 : "");
		return;
	}
	report_local_range(doctor, &range);
	report_listeners(doctor, &range);
}

/* ---- the admin API's port ---- */

struct wanted {
	const struct config_admin *admin;
	struct doctor_listener found;
	bool taken;
};

static void note_wanted(void *ctx, const struct doctor_listener *listener)
{
	struct wanted *wanted = ctx;

	if (listener->udp || listener->port != wanted->admin->port)
		return;
	if (!addr_equal(&listener->address, &wanted->admin->listen) &&
	    !addr_is_any(&listener->address) && !addr_is_any(&wanted->admin->listen))
		return;
	/* loomd binds IPv6 alone (admin/listen.c); others' "::" takes IPv4, too. */
	if (addr_is_v4(&listener->address) && !addr_is_v4(&wanted->admin->listen))
		return;
	wanted->found = *listener;
	wanted->taken = true;
}

static void check_admin(struct doctor *doctor)
{
	struct wanted wanted = { .admin = &doctor->config->admin };
	char text[ADDR_PORT_TEXT_LEN];
	char program[PROGRAM_LEN];

	if (!wanted.admin->port)
		return;
	addr_port_format(&wanted.admin->listen, wanted.admin->port, text);
	doctor_each_listener(note_wanted, &wanted);
	if (!wanted.taken) {
		doctor_find(doctor, DOCTOR_OK, "admin", "%s is free", text);
		return;
	}
	find_owner(wanted.found.inode, program);
	if (!strcmp(program, "loomd")) {
		doctor_find(doctor, DOCTOR_OK, "admin", "%s is held by loomd", text);
		return;
	}
	doctor_find(doctor, DOCTOR_PROBLEM, "admin", "%s is taken, by %s", text,
		    program[0] ? program : "a program of another user");
	doctor_remedy(doctor, "end that program, or set another admin.listen");
}

const struct doctor_check doctor_port_checks[] = {
	{ "ports", true, check_nat },
	{ "admin", true, check_admin },
	{ 0 },
};

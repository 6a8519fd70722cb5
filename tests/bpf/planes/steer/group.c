/* group.c - real sockets with the steering program on them. */
#include "group.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/must.h"
#include "planes/steer/steer_plain.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

#define PATIENCE_MS 5000
#define MAX_CPUS    1024

static void add_address6(int s, int index, const char *text)
{
	struct in6_ifreq request = { .ifr6_ifindex = index, .ifr6_prefixlen = 128 };

	must(inet_pton(AF_INET6, text, &request.ifr6_addr) == 1);
	must(ioctl(s, SIOCSIFADDR, &request) == 0);
}

void group_enter_namespace(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	char text[64];
	int s;

	must(unshare(CLONE_NEWNET) == 0);
	s = socket(AF_INET6, SOCK_DGRAM, 0);
	must(s >= 0 && ioctl(s, SIOCSIFFLAGS, &request) == 0);
	for (int i = 1; i <= 32; i++) {
		snprintf(text, sizeof(text), "fd00:0:0:%x::%x", i / 2, i);
		add_address6(s, (int)if_nametoindex("lo"), text);
	}
	close(s);
}

uint16_t group_slot(unsigned member)
{
	return (uint16_t)(3 * member + 5);
}

int group_socket(int family, bool udp, const struct sockaddr *address, socklen_t length)
{
	int s = socket(family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	must(s >= 0);
	must(setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0);
	must(bind(s, address, length) == 0);
	must(udp || listen(s, 512) == 0);
	return s;
}

static uint64_t cookie_of(int s)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	must(getsockopt(s, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0);
	return cookie;
}

static void open_members(struct group *group)
{
	struct sockaddr *address = (struct sockaddr *)&group->address;

	if (group->family == AF_INET) {
		*(struct sockaddr_in *)address = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
		};
		group->address_length = sizeof(struct sockaddr_in);
	} else {
		*(struct sockaddr_in6 *)address = (struct sockaddr_in6){
			.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT
		};
		group->address_length = sizeof(struct sockaddr_in6);
	}
	for (unsigned i = 0; i < group->count; i++) {
		socklen_t length = group->address_length;

		group->members[i] = group_socket(group->family, group->is.udp, address, length);
		group->cookies[i] = cookie_of(group->members[i]);
		must(getsockname(group->members[i], address, &length) == 0);
	}
}

static void load(struct group *group)
{
	struct steer_bpf *bpf = steer_plain_open(group->is.reads_group);
	struct bpf_program *program, *chosen;
	struct bpf_map *map;

	must(bpf);
	group->bpf = bpf;
	memcpy((void *)(uintptr_t)&bpf->rodata->steer_const, &group->is, sizeof(group->is));
	if (group->is.policy == STEER_WIREGUARD)
		chosen = group->is.migrates ? bpf->progs.wg_select_migrate : bpf->progs.wg_select;
	else
		chosen = group->is.migrates ? bpf->progs.steer_select_migrate
					    : bpf->progs.steer_select;
	bpf_object__for_each_program(program, bpf->obj)
	{
		bpf_program__set_autoload(program, program == chosen);
	}
	bpf_object__for_each_map(map, bpf->obj)
	{
		if (!steer_map_is_needed(bpf_map__name(map), &group->is))
			bpf_map__set_autocreate(map, false);
	}
	must(steer_bpf__load(bpf) == 0);
	group->program = bpf_program__fd(chosen);
	group->control = &bpf->data_control->steer_control;
}

void group_plan(struct group *group, uint16_t slot)
{
	for (unsigned i = 0; i < STEER_PLAN_SIZE; i++)
		group->table->plan[i] = slot;
}

static void nobody(struct steer_table *table)
{
	memset(table, 0, sizeof(*table));
	memset(table->plan, 0xff, sizeof(table->plan));
	memset(table->cpus, 0xff, sizeof(table->cpus));
	memset(table->vshards, 0xff, sizeof(table->vshards));
	memset(table->identity, 0xff, sizeof(table->identity));
}

/* The half that is not in force names nobody: who looks there, is found out. */
void group_reset(struct group *group)
{
	struct steer_tables *tables = &group->bpf->data_tables->steer_tables;

	*group->control = (struct steer_control){ .abi_version = STEER_ABI_VERSION,
						  .mode = STEER_ENFORCE,
						  .active = 1 };
	nobody(&tables->half[0]);
	nobody(&tables->half[1]);
	group->table = &tables->half[1];
	for (unsigned i = 0; i < group->count; i++) {
		uint16_t slot = group_slot(i);

		group->table->members[i] = (struct steer_member){ .cookie = group->cookies[i],
								  .slot = slot,
								  .flags = STEER_MEMBER_ELIGIBLE,
								  .weight = 1 };
		group->table->slot_flags[slot] = STEER_MEMBER_ELIGIBLE;
		group->table->cookies[slot] = group->cookies[i];
	}
	group->table->member_count = group->count;
	for (unsigned i = 0; i < STEER_PLAN_SIZE; i++)
		group->table->plan[i] = group_slot(i % group->count);
}

struct group *group_open(const struct steer_const *is, int family, unsigned count)
{
	struct group *group = calloc(1, sizeof(*group));

	must(group && count <= GROUP_MAX);
	group->is = *is;
	group->is.salt = SALT;
	group->family = family;
	group->count = count;
	open_members(group);
	load(group);
	group_reset(group);
	for (__u32 i = 0; i < count; i++) {
		__u32 slot = group_slot(i);
		__u64 value = (__u64)group->members[i];

		must(bpf_map_update_elem(bpf_map__fd(group->bpf->maps.socks), &slot, &value,
					 BPF_NOEXIST) == 0);
	}
	must(setsockopt(group->members[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &group->program,
			sizeof(group->program)) == 0);
	return group;
}

void group_close(struct group *group)
{
	if (!group)
		return;
	for (unsigned i = 0; i < group->count; i++)
		if (group->members[i] >= 0)
			close(group->members[i]);
	steer_bpf__destroy(group->bpf);
	free(group);
}

int group_client(const struct group *group, const char *from, uint16_t port)
{
	struct sockaddr_storage address = group->address;
	struct linger reset = { .l_onoff = 1 };
	int one = 1;
	int s = socket(group->family, (group->is.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	must(s >= 0);
	if (group->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&address;

		in->sin_port = port;
		must(!from || inet_pton(AF_INET, from, &in->sin_addr) == 1);
	} else {
		struct sockaddr_in6 *in = (struct sockaddr_in6 *)&address;

		in->sin6_port = port;
		must(!from || inet_pton(AF_INET6, from, &in->sin6_addr) == 1);
	}
	must(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	/* No TIME_WAIT: the port is used again at once. */
	must(group->is.udp || setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
	must(bind(s, (struct sockaddr *)&address, group->address_length) == 0);
	return s;
}

uint16_t group_port(int client)
{
	struct sockaddr_in6 address; /* the port stands where sockaddr_in has it */
	socklen_t length = sizeof(address);

	must(getsockname(client, (struct sockaddr *)&address, &length) == 0);
	return address.sin6_port;
}

void group_send(const struct group *group, int client, const void *payload, size_t length)
{
	must(sendto(client, payload, length, 0, (const struct sockaddr *)&group->address,
		    group->address_length) == (ssize_t)length);
}

unsigned group_receive(const struct group *group)
{
	struct pollfd polls[GROUP_MAX];
	char bytes[2048];

	for (unsigned i = 0; i < group->count; i++)
		polls[i] = (struct pollfd){ .fd = group->members[i], .events = POLLIN };
	must(poll(polls, group->count, PATIENCE_MS) > 0);
	for (unsigned i = 0; i < group->count; i++) {
		int s;

		if (!(polls[i].revents & POLLIN))
			continue;
		if (group->is.udp) {
			must(recv(group->members[i], bytes, sizeof(bytes), 0) >= 0);
			return i;
		}
		s = accept(group->members[i], NULL, NULL);
		must(s >= 0);
		close(s);
		return i;
	}
	must(!"somebody is readable");
	return 0;
}

unsigned group_reach(const struct group *group, int *client, const void *payload, size_t length)
{
	uint16_t port = group_port(*client);
	unsigned member;

	if (group->is.udp) {
		group_send(group, *client, payload, length);
		return group_receive(group);
	}
	must(connect(*client, (const struct sockaddr *)&group->address, group->address_length) ==
	     0);
	member = group_receive(group);
	close(*client);
	*client = group_client(group, NULL, port);
	return member;
}

static void sum(int map, __u32 rows, size_t words, uint64_t *ret)
{
	static uint64_t values[MAX_CPUS * 8];
	size_t cpus = (size_t)libbpf_num_possible_cpus();

	must(cpus <= MAX_CPUS && words <= 8);
	memset(ret, 0, rows * words * sizeof(*ret));
	for (__u32 row = 0; row < rows; row++) {
		must(bpf_map_lookup_elem(map, &row, values) == 0);
		for (size_t i = 0; i < cpus * words; i++)
			ret[row * words + i % words] += values[i];
	}
}

uint64_t group_count(const struct group *group, enum steer_counter counter)
{
	uint64_t values[MAX_CPUS], total = 0;
	static struct counts counts;
	__u32 row = counter;

	if (counter == STEER_COUNT_SELECTED) {
		group_counts(group, &counts);
		return counts.of[counter];
	}
	must(bpf_map_lookup_elem(bpf_map__fd(group->bpf->maps.steer_counters), &row, values) == 0);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		total += values[cpu];
	return total;
}

void group_counts(const struct group *group, struct counts *ret)
{
	sum(bpf_map__fd(group->bpf->maps.steer_counters), STEER_COUNTERS_END, 1, ret->of);
	sum(bpf_map__fd(group->bpf->maps.steer_members), STEER_MAX_SLOTS + 1,
	    sizeof(ret->members[0]) / sizeof(uint64_t), (uint64_t *)ret->members);
	for (unsigned slot = 0; slot <= STEER_MAX_SLOTS; slot++)
		ret->of[STEER_COUNT_SELECTED] += ret->members[slot].selected_packets;
}

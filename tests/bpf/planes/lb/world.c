#include "world.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/bitset.h"
#include "base/must.h"
#include "lb.skel.h"
#include "planes/lb/lb_traced.h"

#define MAX_CPUS 1024

struct world world;

static struct lb_ports ports;
static struct lb_vips vips[ROWS];
static struct ring_buffer *ring;
static struct lb_event last_event;
static int table_fds[LB_MAX_SERVICES];
static struct ring_buffer *trace_ring;
static struct lb_trace_event told;
static int told_count;

void world_ip(const char *arguments)
{
	char line[256];

	snprintf(line, sizeof(line), "ip %s", arguments);
	must(system(line) == 0);
}

void world_enter_namespace(void)
{
	must(unshare(CLONE_NEWNET) == 0);
	world_ip("link set lo up");
	world_ip("link add lan type veth peer name lan-peer");
	world_ip("link add far type veth peer name far-peer");
	world_ip("link set far address 02:00:00:00:00:01");
	world_ip("link set lan up");
	world_ip("link set far up");
	world_ip("link set lan-peer up");
	world_ip("link set far-peer up");
	world.lan = if_nametoindex("lan");
	world.far = if_nametoindex("far");
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	must(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

void world_forwarding(bool on)
{
	write_file("/proc/sys/net/ipv4/ip_forward", on ? "1" : "0");
	write_file("/proc/sys/net/ipv6/conf/all/forwarding", on ? "1" : "0");
}

static void add_routes(void)
{
	world_forwarding(true);
	world_ip("addr add 10.0.1.1/24 dev far");
	world_ip("-6 addr add 2001:db8:b::1/64 dev far nodad");
	world_ip("neigh replace 10.0.1.10 lladdr 02:00:00:00:00:b1 dev far nud permanent");
	world_ip("neigh replace 2001:db8:b::10 lladdr 02:00:00:00:00:b1 dev far nud permanent");
}

static void remove_routes(void)
{
	world_ip("addr flush dev far");
	world_ip("neigh flush dev far nud permanent");
	world_forwarding(false);
}

void world_routes(bool there)
{
	if (there)
		add_routes();
	else
		remove_routes();
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static int note_event(void *ctx, void *data, size_t size)
{
	must(size == sizeof(last_event));
	memcpy(&last_event, data, sizeof(last_event));
	return 0;
}

static void size_maps(struct lb_bpf *bpf)
{
	bpf_map__set_max_entries(bpf->maps.lb_conns4, WORLD_CONNECTIONS);
	bpf_map__set_max_entries(bpf->maps.lb_conns6, WORLD_CONNECTIONS);
	bpf_map__set_max_entries(bpf->maps.lb_backends, ROWS);
	bpf_map__set_max_entries(bpf->maps.lb_backend_counts, ROWS);
	bpf_map__set_max_entries(bpf->maps.lb_reals, ROWS * 4);
	bpf_map__set_max_entries(bpf->maps.lb_server_ids, 64);
	bpf_map__set_max_entries(bpf->maps.lb_affinity, 1024);
	bpf_map__set_max_entries(bpf->maps.lb_source_rates, 1024);
	bpf_map__set_max_entries(bpf->maps.lb_fragments, 1024);
}

static void set_outer(struct lb_bpf *bpf)
{
	__be32 addr[4];

	packet_address(OUTER4, addr);
	bpf->rodata->lb_const_outer4 = addr[3];
	bpf->rodata->lb_const_outer4_hosts = OUTER_HOSTS;
	packet_address(OUTER6, addr);
	for (int i = 0; i < 4; i++)
		bpf->rodata->lb_const_outer_net6[i] = addr[i];
	bpf->rodata->lb_const_outer6_hosts = OUTER_HOSTS;
	bpf->rodata->lb_const_gue_port = htons(PORT_GUE);
}

static int trace_map(const char *name)
{
	return bpf_object__find_map_fd_by_name(world.bpf->obj, name);
}

/* One event a call of ring_buffer__consume. */
static int note_trace(void *ctx, void *data, size_t size)
{
	must(size == sizeof(told));
	memcpy(&told, data, sizeof(told));
	told_count++;
	return world.untold ? -ECANCELED : 0;
}

void world_trace_filter(const struct lb_trace_filter *filter)
{
	uint32_t zero = 0;

	must(bpf_map_update_elem(trace_map("lb_trace_filter"), &zero, filter, BPF_ANY) == 0);
}

bool world_trace_event(struct lb_trace_event *ret)
{
	int seen = told_count;

	ring_buffer__consume(trace_ring);
	*ret = told;
	return told_count > seen;
}

struct lb_trace_count world_trace_count(void)
{
	static struct lb_trace_count counts[MAX_CPUS];
	struct lb_trace_count sum = { 0 };
	uint32_t zero = 0;

	must(bpf_map_lookup_elem(trace_map("lb_trace_counts"), &zero, counts) == 0);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) {
		sum.seen += counts[cpu].seen;
		sum.matched += counts[cpu].matched;
		sum.sent += counts[cpu].sent;
		sum.lost += counts[cpu].lost;
	}
	return sum;
}

/* Each packet has one event, which says how it came and how it ended. */
static void check_trace(uint32_t ifindex, const uint8_t *frame, size_t length,
			const struct outcome *got)
{
	size_t captured = length < LB_TRACE_BYTES ? length : LB_TRACE_BYTES;

	told_count = 0;
	must(ring_buffer__consume(trace_ring) >= 0);
	if (told_count != 1)
		fail_msg("%d trace events of one packet", told_count);
	assert_int_equal(told.ifindex, ifindex);
	assert_int_equal(told.length, length);
	assert_int_equal(told.verdict, got->verdict);
	assert_int_equal(told.captured, captured);
	assert_memory_equal(told.frame, frame, captured);
}

/* The event names the counter that rose, or the backend. */
static void check_trace_counter(const struct outcome *got)
{
	int64_t forwarded = 0;

	if (told.counter < LB_COUNTER_COUNT) {
		if (got->packets[told.counter] < 1)
			fail_msg("the trace says counter %u, which has not risen", told.counter);
		return;
	}
	for (uint32_t row = 0; row < ROWS; row++) {
		int64_t here =
			(int64_t)(got->backends[row].to_packets + got->backends[row].from_packets);

		forwarded += here;
		if (here && (told.row != row || told.backend != row + 100))
			fail_msg("the trace says backend %u of row %u, it was row %u", told.backend,
				 told.row, row);
		if (here && !(told.flags & LB_TRACE_REPLY) != !got->backends[row].from_packets)
			fail_msg("the trace says the other direction");
		if (here && !(told.flags & LB_TRACE_NEW) != !got->backends[row].connections)
			fail_msg("the trace does not say whether a connection began");
	}
	if (forwarded != 1)
		fail_msg("the trace says forwarded, but %d packets were", (int)forwarded);
}

void world_open(void (*specialise)(struct lb_bpf *bpf))
{
	libbpf_set_print(silent);
	world.bpf = world.traced ? lb_traced_open() : lb_bpf__open();
	must(world.bpf);
	size_maps(world.bpf);
	if (world.traced)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(world.bpf->obj, "lb_trace"),
					 world.trace_bytes ? world.trace_bytes : 1 << 16);
	world.bpf->rodata->lb_const_port_first = WORLD_PORT_FIRST;
	world.bpf->rodata->lb_const_port_last = WORLD_PORT_LAST;
	set_outer(world.bpf);
	if (specialise)
		specialise(world.bpf);
	must(lb_bpf__load(world.bpf) == 0);
	ring = ring_buffer__new(bpf_map__fd(world.bpf->maps.lb_events), note_event, NULL, NULL);
	must(ring);
	if (world.traced) {
		trace_ring = ring_buffer__new(trace_map("lb_trace"), note_trace, NULL, NULL);
		must(trace_ring);
	}
	world_reset();
}

void world_close(void)
{
	ring_buffer__free(ring);
	ring = NULL;
	ring_buffer__free(trace_ring);
	trace_ring = NULL;
	for (size_t i = 0; i < sizeof(table_fds) / sizeof(*table_fds); i++) {
		if (table_fds[i] > 0)
			close(table_fds[i]);
		table_fds[i] = 0;
	}
	lb_bpf__destroy(world.bpf);
	world.bpf = NULL;
}

int world_setup(void **state)
{
	world_open(NULL);
	return 0;
}

int world_teardown(void **state)
{
	world_close();
	return 0;
}

int world_test_setup(void **state)
{
	world_reset();
	return 0;
}

static void put(const struct bpf_map *map, const void *key, const void *value)
{
	must(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) == 0);
}

static void empty(const struct bpf_map *map)
{
	uint8_t key[64];
	int fd = bpf_map__fd(map);

	while (bpf_map_get_next_key(fd, NULL, key) == 0)
		bpf_map_delete_elem(fd, key);
}

static struct lb_service_key service_key(const char *addr, uint16_t port, uint8_t proto)
{
	struct lb_service_key key = { .port = htons(port), .proto = proto };

	packet_address(addr, key.addr);
	return key;
}

static void add_vip(uint32_t table, const struct lb_service_key *key)
{
	struct lb_vips *known = &vips[table];

	for (int i = 0; i < LB_MAX_VIPS; i++) {
		if (known->vip[i].proto)
			continue;
		known->vip[i] = *key;
		put(world.bpf->maps.lb_vips, &table, known);
		return;
	}
}

void world_service(const char *addr, uint16_t port, uint8_t proto, enum lb_mode mode,
		   uint32_t table)
{
	struct lb_service_key key = service_key(addr, port, proto);
	struct lb_service service = { .table = table, .table_size = WORLD_SLOTS, .mode = mode };
	int index = proto == IPPROTO_TCP ? LB_TCP : LB_UDP;

	put(world.bpf->maps.lb_services, &key, &service);
	/* The backends' rows belong to TABLE_4 and TABLE_6; an answer's half is looked for under
	 * their addresses. */
	add_vip(strchr(addr, ':') ? TABLE_6 : TABLE_4, &key);
	bitset_set((uint64_t *)ports.service[index], port);
	world_serve_port(proto, port, false);
}

void world_serve_port(uint8_t proto, uint16_t port, bool from)
{
	int index = proto == IPPROTO_TCP ? LB_TCP : LB_UDP;
	uint32_t zero = 0;

	bitset_set((uint64_t *)(from ? ports.from[index] : ports.to[index]), port);
	put(world.bpf->maps.lb_ports, &zero, &ports);
}

void world_slots(uint32_t table, uint32_t row)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);

	if (!table_fds[table]) {
		table_fds[table] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "lb_slots", sizeof(uint32_t),
						  sizeof(uint32_t), WORLD_SLOTS, &opts);
		must(table_fds[table] > 0);
		put(world.bpf->maps.lb_tables, &table, &table_fds[table]);
	}
	for (uint32_t slot = 0; slot < WORLD_SLOTS; slot++)
		must(bpf_map_update_elem(table_fds[table], &slot, &row, BPF_ANY) == 0);
}

void world_slot(uint32_t table, uint32_t slot, uint32_t row)
{
	must(bpf_map_update_elem(table_fds[table], &slot, &row, BPF_ANY) == 0);
}

struct lb_service world_service_of(const char *addr, uint16_t port, uint8_t proto)
{
	struct lb_service_key key = service_key(addr, port, proto);
	struct lb_service service;

	must(!bpf_map_lookup_elem(bpf_map__fd(world.bpf->maps.lb_services), &key, &service));
	return service;
}

void world_set_service(const char *addr, uint16_t port, uint8_t proto,
		       const struct lb_service *service)
{
	struct lb_service_key key = service_key(addr, port, proto);

	put(world.bpf->maps.lb_services, &key, service);
}

void world_direct(enum lb_mode mode, bool in6)
{
	const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (int i = 0; i < 2; i++) {
		world_service(DIRECT4, 80, protos[i], mode, TABLE_DIRECT4);
		world_service(DIRECT6, 80, protos[i], mode, TABLE_DIRECT6);
	}
	world_slots(TABLE_DIRECT4, in6 ? ROW_BACKEND6 : ROW_BACKEND4);
	world_slots(TABLE_DIRECT6, ROW_BACKEND6);
}

void world_quiet(bool quiet)
{
	static uint64_t due[MAX_CPUS];
	uint32_t zero = 0;

	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		due[cpu] = quiet ? UINT64_MAX / 2 : 0;
	put(world.bpf->maps.lb_icmp_due, &zero, due);
}

void world_link_mtu(uint32_t ifindex, uint32_t mtu)
{
	struct lb_link_info link = { .mtu = mtu };

	put(world.bpf->maps.lb_links, &ifindex, &link);
}

void world_real(const char *addr, uint16_t port, uint8_t proto, uint32_t row)
{
	struct lb_service_key key = service_key(addr, port, proto);

	put(world.bpf->maps.lb_reals, &key, &row);
}

struct lb_backend world_backend(uint32_t row)
{
	struct lb_backend backend;

	must(bpf_map_lookup_elem(bpf_map__fd(world.bpf->maps.lb_backends), &row, &backend) == 0);
	return backend;
}

void world_set_backend(uint32_t row, const struct lb_backend *backend)
{
	put(world.bpf->maps.lb_backends, &row, backend);
}

void world_set_backend_state(uint32_t row, enum lb_backend_state state)
{
	struct lb_backend backend = world_backend(row);

	backend.state = state;
	world_set_backend(row, &backend);
}

void world_set_hop(struct lb_hop *hop, uint32_t ifindex, uint64_t dmac)
{
	for (int i = 0; i < 6; i++) {
		hop->dmac[i] = (uint8_t)(dmac >> (40 - 8 * i));
		hop->smac[i] = (uint8_t)(MAC_LB >> (40 - 8 * i));
	}
	hop->ifindex = ifindex;
}

void world_source(uint32_t row, const char *addr)
{
	struct lb_addr source;

	packet_address(addr, source.word);
	put(world.bpf->maps.lb_sources, &row, &source);
}

static void set_generation(uint32_t generation)
{
	struct lb_control control = { .abi_version = LB_ABI_VERSION, .generation = generation };
	uint32_t zero = 0;

	put(world.bpf->maps.lb_control, &zero, &control);
}

void world_next_generation(void)
{
	struct lb_control control;
	uint32_t zero = 0;

	must(bpf_map_lookup_elem(bpf_map__fd(world.bpf->maps.lb_control), &zero, &control) == 0);
	set_generation(control.generation + 1);
}

int world_events(struct lb_event *ret_last)
{
	int events = ring_buffer__consume(ring);

	must(events >= 0);
	if (ret_last)
		*ret_last = last_event;
	return events;
}

static void reset_backend(uint32_t row, const char *addr, uint16_t source)
{
	struct lb_backend backend = {
		.id = row + 100,
		.incarnation = 1,
		.source_first = source,
		.service = strchr(addr, ':') ? TABLE_6 : TABLE_4,
		.source_count = 1,
		.port = htons(PORT_REAL),
		.state = LB_BACKEND_ACTIVE,
	};

	packet_address(addr, backend.addr);
	world_set_hop(&backend.hop, world.lan, MAC_BACKEND);
	world_set_backend(row, &backend);
	world_real(addr, PORT_REAL, IPPROTO_TCP, row);
	world_real(addr, PORT_REAL, IPPROTO_UDP, row);
}

static const char *const addresses[] = { VIP4, VIP6, KEEP4, KEEP6, DIRECT4, DIRECT6 };

/* The address is some service's. */
static void note_address(const char *addr)
{
	struct lb_service_key key = service_key(addr, 0, IPPROTO_ICMP);

	put(world.bpf->maps.lb_services, &key, &(struct lb_service){ 0 });
}

static void reset_services(uint8_t proto)
{
	world_service(VIP4, 80, proto, LB_MODE_NAT_FULL, TABLE_4);
	world_service(VIP4, 8080, proto, LB_MODE_NAT_FULL, TABLE_4);
	world_service(VIP6, 80, proto, LB_MODE_NAT_FULL, TABLE_6);
	world_service(VIP6, 8080, proto, LB_MODE_NAT_FULL, TABLE_6);
	world_service(KEEP4, 80, proto, LB_MODE_NAT_DESTINATION, TABLE_KEEP4);
	world_service(KEEP6, 80, proto, LB_MODE_NAT_DESTINATION, TABLE_KEEP6);
	for (uint32_t port = WORLD_PORT_FIRST; port <= WORLD_PORT_LAST; port++)
		bitset_set((uint64_t *)ports.to[proto == IPPROTO_TCP ? LB_TCP : LB_UDP], port);
	world_serve_port(proto, PORT_REAL, true);
}

static void forget_everything(void)
{
	static uint64_t zeros[MAX_CPUS];
	uint32_t row = 0;

	empty(world.bpf->maps.lb_conns4);
	empty(world.bpf->maps.lb_conns6);
	empty(world.bpf->maps.lb_services);
	empty(world.bpf->maps.lb_reals);
	empty(world.bpf->maps.lb_server_ids);
	empty(world.bpf->maps.lb_filters);
	empty(world.bpf->maps.lb_affinity);
	empty(world.bpf->maps.lb_source_rates);
	empty(world.bpf->maps.lb_fragments);
	empty(world.bpf->maps.lb_links);
	for (row = 0; row < TABLES; row++) {
		put(world.bpf->maps.lb_rates, &row, zeros);
		put(world.bpf->maps.lb_turns, &row, zeros);
	}
	world_quiet(false);
}

void world_reset(void)
{
	forget_everything();
	memset(&ports, 0, sizeof(ports));
	memset(vips, 0, sizeof(vips));
	for (uint32_t row = 0; row < ROWS; row++)
		world_set_backend(row, &(struct lb_backend){ 0 });
	reset_backend(ROW_BACKEND4, BACKEND4, 0);
	reset_backend(ROW_BACKEND6, BACKEND6, 1);
	reset_backend(ROW_SPARE4, SPARE4, 0);
	reset_backend(ROW_SPARE6, SPARE6, 1);
	world_source(0, SOURCE4);
	world_source(1, SOURCE6);
	world_slots(TABLE_4, ROW_BACKEND4);
	world_slots(TABLE_6, ROW_BACKEND6);
	world_slots(TABLE_KEEP4, ROW_BACKEND4);
	world_slots(TABLE_KEEP6, ROW_BACKEND6);
	world_slots(TABLE_EMPTY, LB_SLOT_EMPTY);
	reset_services(IPPROTO_TCP);
	reset_services(IPPROTO_UDP);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++)
		note_address(addresses[i]);
	set_generation(1);
	world_events(NULL);
}

void world_run_fast(uint32_t ifindex, const void *frame, size_t length, struct outcome *ret)
{
	struct xdp_md ctx = { .ingress_ifindex = ifindex, .data_end = (uint32_t)length };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)length,
		    .data_out = ret->frame, .data_size_out = sizeof(ret->frame), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int r = bpf_prog_test_run_opts(bpf_program__fd(world.bpf->progs.lb_main), &opts);

	if (r)
		fail_msg("cannot run a frame of %zu bytes: %s", length, strerror(-r));
	ret->verdict = opts.retval;
	ret->length = opts.data_size_out;
	if (world.traced && !world.untold)
		check_trace(ifindex, frame, length, ret);
}

/* Every row of a per-CPU array in one call: expectations look at all of them for each packet. */
static void read_rows(const struct bpf_map *map, void *values, uint32_t count)
{
	uint32_t keys[128];
	uint32_t next;
	uint32_t read = count;

	must(count <= sizeof(keys) / sizeof(*keys));

	bpf_map_lookup_batch(bpf_map__fd(map), NULL, &next, keys, values, &read, NULL);
	must(read == count);
	for (uint32_t row = 0; row < count; row++)
		must(keys[row] == row);
}

void world_counters(struct outcome *ret, int64_t sign)
{
	static struct lb_backend_count backends[ROWS * MAX_CPUS];
	static struct lb_count counts[LB_COUNTER_COUNT * MAX_CPUS];
	int cpus = libbpf_num_possible_cpus();

	must(cpus <= MAX_CPUS);
	read_rows(world.bpf->maps.lb_counters, counts, LB_COUNTER_COUNT);
	read_rows(world.bpf->maps.lb_backend_counts, backends, ROWS);
	for (int i = 0; i < LB_COUNTER_COUNT * cpus; i++) {
		ret->packets[i / cpus] += sign * (int64_t)counts[i].packets;
		ret->bytes[i / cpus] += sign * (int64_t)counts[i].bytes;
	}
	for (int i = 0; i < (int)ROWS * cpus; i++) {
		struct lb_backend_count *sum = &ret->backends[i / cpus];

		sum->to_packets += (uint64_t)sign * backends[i].to_packets;
		sum->to_bytes += (uint64_t)sign * backends[i].to_bytes;
		sum->from_packets += (uint64_t)sign * backends[i].from_packets;
		sum->from_bytes += (uint64_t)sign * backends[i].from_bytes;
		sum->connections += (uint64_t)sign * backends[i].connections;
	}
}

void world_run(uint32_t ifindex, const void *frame, size_t length, struct outcome *ret)
{
	memset(ret, 0, sizeof(*ret));
	world_counters(ret, -1);
	world_run_fast(ifindex, frame, length, ret);
	world_counters(ret, 1);
	if (world.traced && !world.untold)
		check_trace_counter(ret);
}

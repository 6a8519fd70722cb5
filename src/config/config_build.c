#include "config_build.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#define SNAT_ADDRESSES_MAX 256 /* LB_MAX_SOURCES in abi/lb_abi.h */

char *build_text(struct build *build, const char *text)
{
	char *copy = strdup(text);

	build->failed = build->failed || !copy;
	return copy;
}

void *build_array(struct build *build, size_t count, size_t size)
{
	void *array = calloc(count ? count : 1, size);

	build->failed = build->failed || !array;
	return array;
}

static size_t port_count(const struct item *entry)
{
	if (entry->key->type == KEY_PORT || !entry->value.first)
		return 1;
	return entry->value.last - entry->value.first + 1u;
}

uint16_t *build_ports(struct build *build, const struct item *list, size_t *ret_count)
{
	uint16_t *ports;
	size_t total = 0;
	bool any = false;

	*ret_count = 0;
	if (!list->node || list->count == 0)
		return NULL;
	for (size_t i = 0; i < list->count; i++) {
		total += port_count(&list->below[i]);
		any |= list->below[i].node && list->below[i].key->type == KEY_PORTS &&
		       !list->below[i].value.first;
	}
	if (any && list->count > 1)
		complain(build->complaints, node_place(list->node),
			 "ports: 'any' stands alone; delete the others");
	ports = build_array(build, total, sizeof(*ports));
	for (size_t i = 0; ports && i < list->count; i++) {
		const struct value *value = &list->below[i].value;

		for (size_t k = 0; k < port_count(&list->below[i]); k++)
			ports[(*ret_count)++] = list->below[i].key->type == KEY_PORT
							? (uint16_t)value->number
							: (uint16_t)(value->first + k);
	}
	return ports;
}

struct addr_net *build_nets(struct build *build, const struct item *list, size_t *ret_count)
{
	struct addr_net *nets;

	*ret_count = 0;
	if (!list->node || list->count == 0)
		return NULL;
	nets = build_array(build, list->count, sizeof(*nets));
	for (size_t i = 0; nets && i < list->count; i++)
		if (list->below[i].node)
			nets[(*ret_count)++] = list->below[i].value.net;
	return nets;
}

static void build_interfaces(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.interface");
	struct config_ebpf *ebpf = &build->config->ebpf;

	if (!list->node)
		return;
	ebpf->interfaces = build_array(build, list->count, sizeof(*ebpf->interfaces));
	for (size_t i = 0; ebpf->interfaces && i < list->count; i++) {
		if (!list->below[i].node)
			continue;
		ebpf->interfaces[ebpf->interface_count++] = build_text(build,
								       list->below[i].value.text);
	}
}

/* How many addresses a network has; a number above the limit for what is far above it. */
static size_t net_size(const struct addr_net *net)
{
	unsigned int host_bits = (addr_is_v4(&net->addr) ? 32u : 128u) - net->length;

	return host_bits > 8 ? SNAT_ADDRESSES_MAX + 1 : (size_t)1 << host_bits;
}

static void build_snat(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.snat.addresses");
	struct value ports = item_value(build->root, "ebpf.xdp.snat.ports");
	struct config_ebpf *ebpf = &build->config->ebpf;
	size_t total = 0;

	ebpf->snat_port_first = ports.first;
	ebpf->snat_port_last = ports.last;
	for (size_t i = 0; list->node && i < list->count; i++)
		if (list->below[i].node)
			total += net_size(&list->below[i].value.net);
	if (total > SNAT_ADDRESSES_MAX) {
		complain(build->complaints, node_place(list->node),
			 "ebpf.xdp.snat.addresses: more than %d addresses; use smaller networks",
			 SNAT_ADDRESSES_MAX);
		return;
	}
	if (total == 0)
		return;
	ebpf->snat_addresses = build_array(build, total, sizeof(*ebpf->snat_addresses));
	for (size_t i = 0; ebpf->snat_addresses && i < list->count; i++) {
		const struct addr_net *net = &list->below[i].value.net;

		for (uint32_t host = 0; list->below[i].node && host < net_size(net); host++) {
			struct addr addr = net->addr;

			addr.word[3] |= htonl(host);
			ebpf->snat_addresses[ebpf->snat_address_count++] = addr;
		}
	}
}

static void check_snat_overlap(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.snat.addresses");

	for (size_t i = 0; list->node && i < list->count; i++)
		for (size_t j = 0; j < i && list->below[i].node; j++) {
			const struct addr_net *a = &list->below[i].value.net;
			const struct addr_net *b = &list->below[j].value.net;

			if (!list->below[j].node || item_equal(&list->below[i], &list->below[j]))
				continue;
			if (addr_net_contains(a, &b->addr) || addr_net_contains(b, &a->addr))
				complain(build->complaints, node_place(list->below[i].node),
					 "ebpf.xdp.snat.addresses: this overlaps with entry %zu of "
					 "the list",
					 j + 1);
		}
}

static void build_conntrack(struct build *build)
{
	struct config_ebpf *ebpf = &build->config->ebpf;
	const struct item *established = item_at(build->root,
						 "ebpf.conntrack.tcp_timeouts.established");

	ebpf->max_connections =
		(uint32_t)item_value(build->root, "ebpf.conntrack.max_entries").number;
	ebpf->connections_type =
		(enum config_map_type)item_value(build->root, "ebpf.maps.connections.type").number;
	ebpf->timeout_ns = item_value(build->root, "ebpf.conntrack.timeout").number;
	ebpf->tcp = (struct config_tcp_timeouts){
		.established_ns = established->node ? established->value.number : ebpf->timeout_ns,
		.syn_sent_ns =
			item_value(build->root, "ebpf.conntrack.tcp_timeouts.syn_sent").number,
		.syn_recv_ns =
			item_value(build->root, "ebpf.conntrack.tcp_timeouts.syn_recv").number,
		.fin_wait_ns =
			item_value(build->root, "ebpf.conntrack.tcp_timeouts.fin_wait").number,
		.time_wait_ns =
			item_value(build->root, "ebpf.conntrack.tcp_timeouts.time_wait").number,
	};
	ebpf->sweep_interval_ns = item_value(build->root, "ebpf.conntrack.sweep_interval").number;
}

static struct addr_net default_net(const char *text)
{
	struct addr_net net;

	must(addr_net_parse(text, &net) == 0);
	return net;
}

static void build_dsr(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.dsr.source");
	struct config_ebpf *ebpf = &build->config->ebpf;
	bool given[2] = { false, false };

	ebpf->outer4 = default_net("172.16.0.0/16");
	ebpf->outer6 = default_net("100::/64");
	ebpf->gue_port = (uint16_t)item_value(build->root, "ebpf.xdp.dsr.gue_port").number;
	for (size_t i = 0; list->node && i < list->count; i++) {
		const struct addr_net *net = &list->below[i].value.net;
		bool v4 = addr_is_v4(&net->addr);

		if (!list->below[i].node)
			continue;
		if (given[v4])
			complain(build->complaints, node_place(list->below[i].node),
				 "ebpf.xdp.dsr.source: one network of each family; this is the "
				 "second IPv%d one",
				 v4 ? 4 : 6);
		given[v4] = true;
		*(v4 ? &ebpf->outer4 : &ebpf->outer6) = *net;
	}
}

static bool speaks_protocol(const struct item *list, uint64_t protocol)
{
	for (size_t i = 0; list->node && i < list->count; i++)
		if (list->below[i].node && list->below[i].value.number == protocol)
			return true;
	return !list->node;
}

static void build_routes(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.routes");
	struct config_ebpf *ebpf = &build->config->ebpf;

	ebpf->hybrid = item_value(build->root, "ebpf.mode").number;
	if (!list->node || !list->count)
		return;
	if (!ebpf->hybrid)
		complain(build->complaints, node_key_place(list->node),
			 "ebpf.xdp.routes: routes need ebpf.mode: hybrid; set it, or delete them");
	ebpf->routes = build_array(build, list->count, sizeof(*ebpf->routes));
	for (size_t i = 0; ebpf->routes && i < list->count; i++) {
		struct item *entry = &list->below[i];
		struct config_route *route = &ebpf->routes[ebpf->route_count++];
		const struct item *protocol = item_at(entry, "match.protocol");

		route->ports = build_ports(build, item_at(entry, "match.ports"),
					   &route->port_count);
		route->tcp = speaks_protocol(protocol, 0);
		route->udp = speaks_protocol(protocol, 1);
		route->balance = item_value(entry, "action").number == 0;
	}
}

static void build_fallback(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.fallback");
	struct config_ebpf *ebpf = &build->config->ebpf;
	bool *conditions[] = { &ebpf->fallback_limit, &ebpf->fallback_complex,
			       &ebpf->fallback_websocket };

	for (size_t i = 0; list->node && i < list->count; i++)
		if (list->below[i].node)
			*conditions[list->below[i].value.number] = true;
}

static void build_cpus(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.cpu_affinity");
	struct config_ebpf *ebpf = &build->config->ebpf;

	if (!list->node || !list->count)
		return;
	ebpf->cpu_affinity = build_array(build, list->count, sizeof(*ebpf->cpu_affinity));
	for (size_t i = 0; ebpf->cpu_affinity && i < list->count; i++)
		if (list->below[i].node)
			ebpf->cpu_affinity[ebpf->cpu_affinity_count++] =
				(uint16_t)list->below[i].value.number;
}

static void build_programs(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.programs");
	struct config_ebpf *ebpf = &build->config->ebpf;

	if (!list->node || !list->count)
		return;
	ebpf->programs = build_array(build, list->count, sizeof(*ebpf->programs));
	for (size_t i = 0; ebpf->programs && i < list->count; i++) {
		struct item *entry = &list->below[i];
		struct config_program *program = &ebpf->programs[i];

		if (!item_at(entry, "name")->node || !item_at(entry, "path")->node ||
		    !item_at(entry, "section")->node)
			continue; /* complained about */
		program->name = build_text(build, item_at(entry, "name")->value.text);
		program->path = build_text(build, item_at(entry, "path")->value.text);
		program->section = build_text(build, item_at(entry, "section")->value.text);
		ebpf->program_count = i + 1;
	}
}

static uint32_t entries_of(struct build *build, const char *path)
{
	return (uint32_t)item_value(build->root, path).number;
}

static void build_program_constants(struct build *build)
{
	struct config_ebpf *ebpf = &build->config->ebpf;
	const struct item *mss = item_at(build->root, "ebpf.xdp.mss_max");

	ebpf->icmp_echo = item_value(build->root, "ebpf.xdp.icmp.echo").number;
	ebpf->icmp_rate = (uint32_t)item_value(build->root, "ebpf.xdp.icmp.rate").number;
	ebpf->mss_clamp = item_value(build->root, "ebpf.xdp.mss_clamp").number;
	ebpf->mss_max = mss->node ? (uint16_t)mss->value.number : 0;
	ebpf->max_affinities = entries_of(build, "ebpf.maps.affinity.max_entries");
	ebpf->max_fragments = entries_of(build, "ebpf.maps.fragments.max_entries");
	ebpf->max_sources = entries_of(build, "ebpf.maps.sources.max_entries");
	ebpf->stats_entries = entries_of(build, "ebpf.maps.stats.max_entries");
}

static void build_ebpf(struct build *build)
{
	struct config_ebpf *ebpf = &build->config->ebpf;
	struct item *root = build->root;

	ebpf->enabled = item_value(root, "ebpf.enabled").number &&
			item_value(root, "ebpf.xdp.enabled").number;
	ebpf->mode = (enum config_xdp_mode)item_value(root, "ebpf.xdp.mode").number;
	ebpf->generic_fallback = item_value(root, "ebpf.xdp.generic_fallback").number;
	ebpf->pin_path = build_text(build, item_value(root, "ebpf.pin_path").text);
	ebpf->max_backends = (uint32_t)item_value(root, "ebpf.maps.backends.max_entries").number;
	ebpf->batch_size = (uint32_t)item_value(root, "ebpf.xdp.batch_size").number;
	ebpf->ring_buffer_size = (uint32_t)item_value(root, "ebpf.xdp.ring_buffer_size").number;
	ebpf->passthrough_ports = build_ports(build, item_at(root, "ebpf.xdp.passthrough_ports"),
					      &ebpf->passthrough_port_count);
	build_interfaces(build);
	build_dsr(build);
	build_routes(build);
	build_fallback(build);
	build_cpus(build);
	build_programs(build);
	build_program_constants(build);
	build_snat(build);
	check_snat_overlap(build);
	build_conntrack(build);
}

static void build_auth(struct build *build)
{
	struct config_admin *admin = &build->config->admin;
	const struct item *bearer = item_at(build->root, "admin.auth.bearer");
	const struct item *user = item_at(build->root, "admin.auth.basic.username");
	const struct item *password = item_at(build->root, "admin.auth.basic.password");

	if (bearer->node)
		admin->bearer = build_text(build, bearer->value.text);
	if (user->node && strchr(user->value.text, ':'))
		complain(build->complaints, node_place(user->node),
			 "admin.auth.basic.username: a colon ends the name in HTTP (RFC 7617); "
			 "choose one without");
	if (user->node && password->node) {
		admin->basic_user = build_text(build, user->value.text);
		admin->basic_password = build_text(build, password->value.text);
	}
}

static void build_admin(struct build *build)
{
	struct config_admin *admin = &build->config->admin;
	const struct item *listen = item_at(build->root, "admin.listen");
	const struct item *socket = item_at(build->root, "admin.socket");
	const struct item *auth = item_at(build->root, "admin.auth");
	struct value where = item_value(build->root, "admin.listen");

	admin->listen = where.net.addr;
	admin->port = where.first;
	if (socket->node)
		admin->socket = build_text(
			build, strcmp(socket->value.text, "off") ? socket->value.text : "");
	build_auth(build);
	/* auth that is there and wrong has been complained about. */
	if (listen->node && admin->port && !value_is_loopback(&admin->listen) && !admin->bearer &&
	    !admin->basic_user && !(auth->written && build->complaints->count))
		complain(
			build->complaints, node_place(listen->node),
			"admin.listen: others can reach this address, so admin.auth is needed; add "
			"it, or listen on 127.0.0.1");
}

int config_build(struct item *root, struct arena *arena, struct complaints *complaints,
		 struct config *config)
{
	struct build build = {
		.root = root, .arena = arena, .complaints = complaints, .config = config
	};

	config->instance = build_text(&build, item_value(root, "instance").text);
	config->state_dir = build_text(&build, item_value(root, "state_dir").text);
	config->log_level = (int)item_value(root, "log.level").number;
	build_ebpf(&build);
	build_admin(&build);
	build_upstreams(&build);
	build_services(&build);
	return build.failed ? -ENOMEM : 0;
}

#include "config_build.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

uint16_t *build_ports(struct build *build, const struct item *list, size_t *ret_count)
{
	uint16_t *ports;

	*ret_count = 0;
	if (!list->node || list->count == 0)
		return NULL;
	ports = build_array(build, list->count, sizeof(*ports));
	for (size_t i = 0; ports && i < list->count; i++)
		ports[i] = (uint16_t)list->below[i].value.number;
	*ret_count = ports ? list->count : 0;
	return ports;
}

static void build_cpus(struct build *build)
{
	struct config_ebpf *ebpf = &build->config->ebpf;

	/* Numbers of ports are as wide. */
	ebpf->cpu_affinity = build_ports(build, item_at(build->root, "ebpf.xdp.cpu_affinity"),
					 &ebpf->cpu_affinity_count);
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
	const struct item *enabled = item_at(build->root, "ebpf.conntrack.enabled");
	const struct item *established = item_at(build->root,
						 "ebpf.conntrack.tcp_timeouts.established");

	if (!item_value(build->root, "ebpf.conntrack.enabled").number && enabled->node)
		complain(build->complaints, node_place(enabled->node),
			 "ebpf.conntrack.enabled: NAT needs the connection table; make it true, or "
			 "delete the key");
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
	build_cpus(build);
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
	build_services(&build);
	return build.failed ? -ENOMEM : 0;
}

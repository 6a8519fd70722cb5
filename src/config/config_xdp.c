/* ebpf.xdp but for its services: where the program runs, and what it is told. */
#include <arpa/inet.h>

#include "abi/lb_abi.h"
#include "base/must.h"
#include "config_build.h"

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

	return host_bits > 8 ? LB_MAX_SOURCES + 1 : (size_t)1 << host_bits;
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
	if (total > LB_MAX_SOURCES) {
		complain(build->complaints, node_place(list->node),
			 "ebpf.xdp.snat.addresses: more than %d addresses; use smaller networks",
			 LB_MAX_SOURCES);
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

static void build_routes(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.routes");
	struct config_ebpf *ebpf = &build->config->ebpf;

	ebpf->hybrid = item_value(build->root, "ebpf.mode").number;
	if (ebpf->hybrid && !list->count &&
	    (!list->written || list->node || node_is_null(list->written)))
		complain(
			build->complaints, node_place(item_at(build->root, "ebpf.mode")->node),
			"ebpf.mode: hybrid balances what ebpf.xdp.routes name, and there are none; "
			"add routes, or set xdp");
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
		route->tcp = build_has_word(protocol, 0, true);
		route->udp = build_has_word(protocol, 1, true);
		route->balance = item_value(entry, "action").number == 0;
	}
}

static void build_fallback(struct build *build)
{
	const struct item *list = item_at(build->root, "ebpf.xdp.fallback");
	struct config_ebpf *ebpf = &build->config->ebpf;

	ebpf->fallback_limit = build_has_word(list, 0, false);
	ebpf->fallback_complex = build_has_word(list, 1, false);
	ebpf->fallback_websocket = build_has_word(list, 2, false);
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

static void build_program_constants(struct build *build)
{
	struct config_ebpf *ebpf = &build->config->ebpf;
	uint64_t mss = item_value(build->root, "ebpf.xdp.mss_clamp").number;

	ebpf->icmp_echo = item_value(build->root, "ebpf.xdp.icmp.echo").number;
	ebpf->icmp_rate = (uint32_t)item_value(build->root, "ebpf.xdp.icmp.rate").number;
	ebpf->mss_clamp = mss;
	ebpf->mss_max = mss > 1 ? (uint16_t)mss : 0; /* 1: by the MTUs alone */
}

void build_xdp(struct build *build)
{
	struct config_ebpf *ebpf = &build->config->ebpf;
	struct item *root = build->root;

	ebpf->mode = (enum config_xdp_mode)item_value(root, "ebpf.xdp.mode").number;
	ebpf->generic_fallback = item_value(root, "ebpf.xdp.generic_fallback").number;
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
}

#include "config_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static uint32_t entries_of(struct build *build, const char *path)
{
	return (uint32_t)item_value(build->root, path).number;
}

/* Who steers sockets, and has nothing to balance nor where, wants no load balancer. */
static bool steers_alone(struct build *build)
{
	struct item *root = build->root;

	return item_at(root, "steering.groups")->count && !item_at(root, "services")->count &&
	       !item_at(root, "ebpf.backends")->count && !item_at(root, "ebpf.enabled")->node &&
	       !item_at(root, "ebpf.xdp.interface")->written;
}

static void build_ebpf(struct build *build)
{
	struct config_ebpf *ebpf = &build->config->ebpf;
	struct item *root = build->root;

	ebpf->enabled = item_value(root, "ebpf.enabled").number &&
			item_value(root, "ebpf.xdp.enabled").number && !steers_alone(build);
	ebpf->pin_path = build_text(build, item_value(root, "ebpf.pin_path").text);
	ebpf->max_backends = entries_of(build, "ebpf.maps.backends.max_entries");
	ebpf->max_affinities = entries_of(build, "ebpf.maps.affinity.max_entries");
	ebpf->max_fragments = entries_of(build, "ebpf.maps.fragments.max_entries");
	ebpf->max_sources = entries_of(build, "ebpf.maps.sources.max_entries");
	ebpf->stats_entries = entries_of(build, "ebpf.maps.stats.max_entries");
	build_xdp(build);
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
	build_steering(&build);
	return build.failed ? -ENOMEM : 0;
}

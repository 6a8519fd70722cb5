/* Upstreams, and what services do with their backends' health. */
#include <string.h>

#include "base/clock.h"
#include "config_build.h"

static char *optional_text(struct build *build, struct item *map, const char *name)
{
	const struct item *item = item_at(map, name);

	return item->node ? build_text(build, item->value.text) : NULL;
}

static void build_check(struct build *build, struct item *item, struct config_check *check)
{
	static const char *const types[] = { "A", "AAAA", "NS", "SOA" };
	struct value status = item_value(item, "status");

	*check = (struct config_check){
		.type = (enum config_check_type)item_value(item, "type").number,
		.interval_ns = item_value(item, "interval").number,
		.timeout_ns = item_value(item, "timeout").number,
		.jitter_permille = (uint32_t)item_value(item, "jitter").number * 10,
		.rise = (uint32_t)item_value(item, "rise").number,
		.fall = (uint32_t)item_value(item, "fall").number,
		.flap_window_ns = item_value(item, "flap_window").number,
		.port = (uint16_t)item_value(item, "port").number,
		.through_tunnel = item_value(item, "through").number,
		.path = build_text(build, item_value(item, "path").text),
		.host = optional_text(build, item, "host"),
		.method = build_text(build, item_value(item, "method").text),
		.status_first = status.first,
		.status_last = status.last,
		.verify_tls = item_value(item, "verify").number,
		.send = optional_text(build, item, "send"),
		.expect = optional_text(build, item, "expect"),
		.query = build_text(build, item_value(item, "query").text),
		.query_type = build_text(build, types[item_value(item, "query_type").number]),
	};
}

/* What goes through a tunnel is made by hand: a handshake, or a datagram and its answer. */
static void check_way(struct build *build, struct item *item, const struct config_check *check)
{
	bool http = check->type == CONFIG_CHECK_HTTP || check->type == CONFIG_CHECK_HTTPS;
	bool talk = check->type == CONFIG_CHECK_TCP && (check->send || check->expect);
	const struct item *through = item_at(item, "through");

	if (check->through_tunnel && (http || talk))
		complain(build->complaints, node_place(through->node),
			 "upstreams[].check.through: %s cannot go through a tunnel; use a check of "
			 "type tcp without send and expect, udp or dns, or 'through: direct'",
			 http ? "http and https" : "send and expect of tcp");
}

static void build_targets(struct build *build, const struct item *list,
			  struct config_upstream *upstream)
{
	if (!list->node || list->count == 0)
		return;
	upstream->backends = build_array(build, list->count, sizeof(*upstream->backends));
	for (size_t i = 0; upstream->backends && i < list->count; i++) {
		struct item *entry = &list->below[i];

		upstream->backends[upstream->backend_count++] = (struct config_backend){
			.address = item_value(entry, "address").net.addr,
			.port = (uint16_t)item_value(entry, "port").number,
			.weight = (uint32_t)item_value(entry, "weight").number,
		};
	}
}

void build_upstreams(struct build *build)
{
	const struct item *list = item_at(build->root, "upstreams");
	struct config *config = build->config;

	if (!list->node || !list->count)
		return;
	config->upstreams = build_array(build, list->count, sizeof(*config->upstreams));
	for (size_t i = 0; config->upstreams && i < list->count; i++) {
		struct config_upstream *upstream = &config->upstreams[config->upstream_count++];
		const struct item *name = item_at(&list->below[i], "name");

		upstream->name = build_text(build, name->node ? name->value.text : "");
		build_check(build, item_at(&list->below[i], "check"), &upstream->check);
		check_way(build, item_at(&list->below[i], "check"), &upstream->check);
		build_targets(build, item_at(&list->below[i], "backends"), upstream);
	}
}

/* A document may name an upstream of a proxy's and say nothing about checks: connections are tried.
 */
static void imply_upstream(struct build *build, const char *name)
{
	struct config *config = build->config;

	config->upstreams = build_array(build, 1, sizeof(*config->upstreams));
	if (!config->upstreams)
		return;
	config->upstream_count = 1;
	config->upstreams[0].name = build_text(build, name);
	config->upstreams[0].check = (struct config_check){
		.type = CONFIG_CHECK_TCP,
		.interval_ns = 2 * NSEC_PER_SEC,
		.timeout_ns = NSEC_PER_SEC,
		.jitter_permille = 100,
		.rise = 2,
		.fall = 3,
		.flap_window_ns = 600 * NSEC_PER_SEC,
		.path = build_text(build, "/"),
		.method = build_text(build, "GET"),
		.status_first = 200,
		.status_last = 399,
		.query = build_text(build, "."),
		.query_type = build_text(build, "NS"),
	};
}

static bool has_upstream(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (strcmp(config->upstreams[i].name, name) == 0)
			return true;
	return false;
}

static void build_upstream_name(struct build *build, struct item *own, struct item *common,
				struct config_health *health)
{
	const struct item *name = own ? item_at(own, "upstream") : NULL;

	if (!name || !name->node) {
		if (!item_value(common, "enabled").number)
			return;
		name = item_at(common, "upstream");
	}
	if (!name->node) {
		const struct item *enabled = item_at(common, "enabled");

		if (enabled->node)
			complain(build->complaints, node_place(enabled->node),
				 "ebpf.health_integration.enabled: 'upstream' is missing; name one "
				 "of 'upstreams'");
		return;
	}
	if (!build->config->upstream_count)
		imply_upstream(build, name->value.text);
	if (!has_upstream(build->config, name->value.text))
		complain(build->complaints, node_place(name->node),
			 "upstream: there is no '%s' among 'upstreams'; add it", name->value.text);
	health->upstream = build_text(build, name->value.text);
}

/* A service's own word, else the common one. */
static uint64_t policy(struct item *own, struct item *common, const char *name)
{
	if (own && item_at(own, name)->node)
		return item_at(own, name)->value.number;
	return item_value(common, name).number;
}

void build_health(struct build *build, struct item *service, struct config_service *ret)
{
	struct item *own = service ? item_at(service, "health") : NULL;
	struct item *common = item_at(build->root, "ebpf.health_integration");
	struct config_health *health = &ret->health;

	health->on_unhealthy = (enum config_on_unhealthy)policy(own, common, "on_unhealthy");
	health->drain_timeout_ns = policy(own, common, "drain_timeout");
	health->min_healthy_percent = (uint32_t)policy(own, common, "min_healthy");
	health->slow_start_ns = policy(own, common, "slow_start");
	build_upstream_name(build, own, common, health);
}

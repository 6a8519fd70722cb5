/* Upstreams, and what services do with their backends' health. */
#include <ctype.h>
#include <string.h>

#include "config_build.h"
#include "config_text.h"

static char *optional_text(struct build *build, struct item *map, const char *name)
{
	const struct item *item = item_at(map, name);

	return item->node ? build_text(build, item->value.text) : NULL;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The byte behind a backslash; 0 if there is none.  Texts end with a zero byte, so it is no byte of
 * theirs. */
static char escaped(const char **text)
{
	static const char names[] = "rnt\\", bytes[] = "\r\n\t\\";
	const char *s = *text;
	const char *name = *s ? strchr(names, *s) : NULL;
	int high, low;

	if (name) {
		*text = s + 1;
		return bytes[name - names];
	}
	high = *s == 'x' ? hex_digit(s[1]) : -1;
	low = high < 0 ? -1 : hex_digit(s[2]);
	if (low < 0)
		return 0;
	*text = s + 3;
	return (char)(high * 16 + low);
}

/* Bytes for a connection: values are printable, so the others are escaped. */
static char *optional_bytes(struct build *build, struct item *map, const char *name)
{
	const struct item *item = item_at(map, name);
	char *bytes = optional_text(build, map, name);
	const char *from = bytes;
	char *to = bytes;

	while (from && *from) {
		char byte = *from++;

		if (byte == '\\' && !(byte = escaped(&from))) {
			complain(build->complaints, node_place(item->node),
				 "upstreams[].check.%s: behind a backslash, expected r, n, t, "
				 "another backslash, or x and two hexadecimal digits that are not "
				 "00",
				 name);
			break;
		}
		*to++ = byte;
	}
	if (to)
		*to = '\0';
	return bytes;
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
		.send = optional_bytes(build, item, "send"),
		.expect = optional_bytes(build, item, "expect"),
		.query = build_text(build, item_value(item, "query").text),
		.query_type = build_text(build, types[item_value(item, "query_type").number]),
	};
}

/* What is said about a kind of check that this one is not is a misunderstanding. */
static void check_kind(struct build *build, struct item *item, const struct config_check *check)
{
	enum {
		TCP = 1 << CONFIG_CHECK_TCP,
		HTTP = 1 << CONFIG_CHECK_HTTP,
		HTTPS = 1 << CONFIG_CHECK_HTTPS,
		UDP = 1 << CONFIG_CHECK_UDP,
		DNS = 1 << CONFIG_CHECK_DNS
	};
	static const struct {
		const char *name;
		unsigned int kinds;
		const char *words;
	} parts[] = {
		{ "path", HTTP | HTTPS, "http and https" },
		{ "host", HTTP | HTTPS, "http and https" },
		{ "method", HTTP | HTTPS, "http and https" },
		{ "status", HTTP | HTTPS, "http and https" },
		{ "verify", HTTPS, "https" },
		{ "send", TCP | UDP, "tcp and udp" },
		{ "expect", TCP | UDP | HTTP | HTTPS, "tcp, udp, http and https" },
		{ "query", DNS, "dns" },
		{ "query_type", DNS, "dns" },
	};
	const struct item *type = item_at(item, "type");

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const struct item *part = item_at(item, parts[i].name);

		if (part->node && !(parts[i].kinds >> check->type & 1) &&
		    (type->node || !type->written))
			complain(
				build->complaints, node_key_place(part->node),
				"upstreams[].check.%s: this is for checks of type %s, and the type "
				"is %s; change it, or delete this",
				parts[i].name, parts[i].words,
				type->node ? type->node->text : "tcp, the default");
	}
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

static const struct config_upstream *find_upstream(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (strcmp(config->upstreams[i].name, name) == 0)
			return &config->upstreams[i];
	return NULL;
}

/* Where a document has no upstreams, their names are a proxy's, and connections are tried: a check
 * of nothing but defaults. */
static void imply_upstream(struct build *build, const char *name)
{
	const struct key *element = item_at(build->root, "upstreams")->key->keys;
	struct config *config = build->config;
	struct config_upstream *upstream = &config->upstreams[config->upstream_count];
	struct item item = { .key = schema_find(element, "check") };

	if (!item_fields(build->arena, &item)) {
		build->failed = true;
		return;
	}
	config->upstream_count++;
	upstream->name = build_text(build, name);
	build_check(build, &item, &upstream->check);
}

static void complain_no_upstream(struct build *build, const struct item *name)
{
	const struct config *config = build->config;
	const char *nearest = NULL, *text = name->value.text;

	for (size_t i = 0; i < config->upstream_count; i++) {
		const char *other = config->upstreams[i].name;

		if (text_near(text, other) &&
		    (!nearest || text_distance(text, other) < text_distance(text, nearest)))
			nearest = other;
	}
	complain(build->complaints, node_place(name->node),
		 nearest ? "upstream: there is no '%s' among 'upstreams'; did you mean '%s'?"
			 : "upstream: there is no '%s' among 'upstreams'; add it",
		 text, nearest);
}

/* One that is given by name must be there. */
static void use_upstream(struct build *build, const struct item *name)
{
	bool given = item_at(build->root, "upstreams")->count;

	if (!name->node || build->failed || find_upstream(build->config, name->value.text))
		return;
	if (given)
		complain_no_upstream(build, name);
	else
		imply_upstream(build, name->value.text);
}

static void build_integration(struct build *build)
{
	struct item *common = item_at(build->root, "ebpf.health_integration");
	const struct item *enabled = item_at(common, "enabled");
	const struct item *name = item_at(common, "upstream");

	if (!item_value(common, "enabled").number)
		return;
	use_upstream(build, name);
	if (!name->written)
		complain(build->complaints, node_place(enabled->node),
			 "ebpf.health_integration.enabled: 'upstream' is missing; name one of "
			 "'upstreams'");
}

void build_upstreams(struct build *build)
{
	const struct item *list = item_at(build->root, "upstreams");
	size_t services = item_at(build->root, "services")->count;
	struct config *config = build->config;

	/* The common one and one a service at most are implied. */
	config->upstreams = build_array(build, list->count + services + 1,
					sizeof(*config->upstreams));
	if (!config->upstreams)
		return;
	for (size_t i = 0; list->node && i < list->count; i++) {
		struct config_upstream *upstream = &config->upstreams[config->upstream_count++];
		struct item *check = item_at(&list->below[i], "check");
		const struct item *name = item_at(&list->below[i], "name");

		upstream->name = build_text(build, name->node ? name->value.text : "");
		build_check(build, check, &upstream->check);
		check_kind(build, check, &upstream->check);
		check_way(build, check, &upstream->check);
		build_targets(build, item_at(&list->below[i], "backends"), upstream);
	}
	if (!build->failed)
		build_integration(build);
}

/* own: services[].health, NULL for the implicit service. */
static void build_upstream_name(struct build *build, struct item *own, struct item *common,
				struct config_health *health)
{
	bool integrated = item_value(common, "enabled").number;
	const struct item *name = item_at(common, "upstream");

	if (own && !item_value(own, "enabled").number)
		return;
	if (own && item_at(own, "upstream")->written) {
		name = item_at(own, "upstream");
		use_upstream(build, name);
	} else if (!integrated) {
		if (own && own->node)
			complain(build->complaints, node_key_place(own->node),
				 "services[].health: 'upstream' is missing; name one of "
				 "'upstreams', or enable ebpf.health_integration");
		return;
	}
	if (name->node)
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

/* The schema of the document, but for what has a file of its own. */
#include "base/log.h"
#include "schema_tables.h"

static const struct choice log_levels[] = {
	{ "error", LOG_LEVEL_ERROR },	{ "warning", LOG_LEVEL_WARNING },
	{ "notice", LOG_LEVEL_NOTICE }, { "info", LOG_LEVEL_INFO },
	{ "debug", LOG_LEVEL_DEBUG },	{ 0 },
};

static const struct key basic_keys[] = {
	{ .name = "username",
	  .type = KEY_TEXT,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 255,
	  .help = "Without a colon." },
	{ .name = "password",
	  .type = KEY_TEXT,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 1023,
	  .help = "Best taken from the environment: ${LOOM_PASSWORD}." },
	{ 0 },
};

static const struct key auth_keys[] = {
	{ .name = "bearer",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 1023,
	  .help = "A token that is as good as a password; best taken from the environment: "
		  "${LOOM_TOKEN}." },
	{ .name = "basic",
	  .type = KEY_MAP,
	  .keys = basic_keys,
	  .help = "HTTP basic authentication." },
	{ 0 },
};

static const struct key admin_keys[] = {
	{ .name = "listen",
	  .type = KEY_LISTEN,
	  .fallback = "127.0.0.1:9091",
	  .help = "Where the admin API answers HTTP, or off.  An address that is not a loopback "
		  "one needs admin.auth." },
	{ .name = "socket",
	  .type = KEY_PATH,
	  .flags = KEY_OFF,
	  .min = 2,
	  .max = 107,
	  .otherwise = "/run/loom/INSTANCE.sock",
	  .help = "A UNIX socket on which it answers too, or off." },
	{ .name = "auth",
	  .type = KEY_MAP,
	  .flags = KEY_SECRET,
	  .keys = auth_keys,
	  .help = "What clients must present; either suffices if both are given." },
	{ 0 },
};

static const struct key log_keys[] = {
	{ .name = "level",
	  .type = KEY_ENUM,
	  .choices = log_levels,
	  .fallback = "info",
	  .help = "What is less urgent is not logged." },
	{ 0 },
};

static const struct key root_keys[] = {
	{ .name = "instance",
	  .type = KEY_NAME,
	  .min = 1,
	  .max = 32,
	  .fallback = "default",
	  .help = "Keeps several daemons on one host apart: names the directory of pinned maps, "
		  "the socket and the state file." },
	{ .name = "state_dir",
	  .type = KEY_PATH,
	  .min = 2,
	  .max = 4000,
	  .fallback = "/var/lib/loom",
	  .help = "Where changes made by the admin API are kept." },
	{ .name = "log", .type = KEY_MAP, .keys = log_keys, .help = "Logging." },
	{ .name = "admin", .type = KEY_MAP, .keys = admin_keys, .help = "The admin API." },
	{ .name = "ebpf",
	  .type = KEY_MAP,
	  .keys = schema_ebpf_keys,
	  .help = "The XDP load balancer." },
	{ .name = "services",
	  .type = KEY_LIST,
	  .flags = KEY_APPEND,
	  .max = 2000,
	  .keys = &schema_service_element,
	  .otherwise = "none",
	  .help = "Services with addresses of their own." },
	{ .name = "upstreams",
	  .type = KEY_LIST,
	  .flags = KEY_APPEND,
	  .max = 2000,
	  .keys = &schema_upstream_element,
	  .otherwise = "none",
	  .help = "Groups of servers that are checked for health." },
	{ .name = "steering",
	  .type = KEY_MAP,
	  .keys = schema_steering_keys,
	  .help = "Socket steering: which of the sockets that share a port gets what.  A document "
		  "with groups, and without services, backends and an interface, has no load "
		  "balancer." },
	{ 0 },
};

const struct key schema_root = { .name = "", .type = KEY_MAP, .keys = root_keys };

const struct key_alias schema_aliases[] = {
	{ "ebpf.interface", "ebpf.xdp.interface" },
	{ "ebpf.xdp_mode", "ebpf.xdp.mode" },
	{ "ebpf.maps.connections.max_entries", "ebpf.conntrack.max_entries" },
	{ 0 },
};

#include "daemon.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"

static struct addr address_of(const char *text)
{
	struct addr addr;

	must(addr_parse(text, &addr) == 0);
	return addr;
}

static const struct config *config(void *ctx)
{
	return &((struct daemon *)ctx)->config;
}

static const struct model *model(void *ctx)
{
	return &((struct daemon *)ctx)->model;
}

static void readiness(void *ctx, struct control_readiness *ret)
{
	const struct daemon *daemon = ctx;

	ret->ready = daemon->ready;
	snprintf(ret->reason, sizeof(ret->reason), "%s",
		 daemon->ready ? "" : "the data path is not attached yet");
}

static uint64_t uptime_ns(void *ctx)
{
	return 12500000000;
}

static uint64_t reloads(void *ctx, bool succeeded)
{
	return succeeded ? 3 : 1;
}

static int64_t last_reload_wall_s(void *ctx)
{
	return 1700000000;
}

static int backend_add(void *ctx, const struct backend_request *request, uint32_t *ret_id,
		       struct err *err)
{
	struct daemon *daemon = ctx;
	struct service *service = &daemon->services[0];
	size_t at;

	if (daemon->fail)
		return err_set(err, daemon->fail, "cannot add the backend: told so; try again");
	if (request->service)
		service = model_service(&daemon->model, request->service);
	if (!service)
		return err_set(err, -ENOENT, "cannot add the backend: no service %s; name another",
			       request->service);
	if (request->id && model_backend(&daemon->model, request->id, NULL))
		return err_set(err, -EEXIST, "cannot add the backend: id %u is taken; give another",
			       request->id);
	if (service->backend_count == DAEMON_ROOM)
		return err_set(err, -ENOSPC, "cannot add the backend: the table is full; grow it");
	*ret_id = request->id ? request->id : model_free_id(&daemon->model);
	at = service->backend_count++;
	for (; at && service->backends[at - 1].id > *ret_id; at--)
		service->backends[at] = service->backends[at - 1]; /* model.h: sorted by id */
	service->backends[at] = (struct backend){
		.id = *ret_id,
		.address = request->address,
		.port = request->port,
		.weight = request->weight,
		.origin = BACKEND_FROM_API,
	};
	daemon->changes++;
	return 0;
}

static int backend_patch(void *ctx, uint32_t id, const struct backend_patch *patch, struct err *err)
{
	struct daemon *daemon = ctx;
	struct backend *backend = model_backend(&daemon->model, id, NULL);

	if (daemon->fail)
		return err_set(err, daemon->fail, "cannot change the backend: told so; try again");
	if (patch->has_weight)
		backend->weight = patch->weight;
	if (patch->has_state) {
		backend->state = patch->state;
		backend->deadline_wall_s = patch->deadline_s
						   ? clock_wall_s() + (int64_t)patch->deadline_s
						   : 0;
	}
	daemon->changes++;
	return 0;
}

/* Backend 7 has no connection left: it goes at once. */
static int backend_remove(void *ctx, uint32_t id, const struct backend_removal *removal,
			  struct err *err)
{
	struct daemon *daemon = ctx;
	struct service *service;
	struct backend *backend = model_backend(&daemon->model, id, &service);

	if (daemon->fail)
		return err_set(err, daemon->fail, "cannot remove the backend: told so; try again");
	daemon->changes++;
	daemon->removal = *removal;
	if (id == 7) {
		service->backend_count--;
		return 0;
	}
	backend->state = removal->force ? BACKEND_RESET : BACKEND_REMOVED;
	backend->deadline_wall_s = removal->deadline_s
					   ? clock_wall_s() + (int64_t)removal->deadline_s
					   : 0;
	return 0;
}

static int reload(void *ctx, bool reset, struct buf *complaints, struct buf *report,
		  struct err *err)
{
	struct daemon *daemon = ctx;

	if (daemon->complaints) {
		buf_printf(complaints, "%s", daemon->complaints);
		return -EINVAL;
	}
	if (daemon->fail)
		return err_set(err, daemon->fail, "cannot reload: told so; try again");
	daemon->reset = reset;
	daemon->changes++;
	buf_printf(report, "backend 1: weight 100 -> 50\nbackend 9: added\n");
	return 0;
}

static int snapshot(void *ctx, struct lb_snapshot **ret, struct err *err)
{
	const struct daemon *daemon = ctx;
	struct lb_snapshot *s;

	if (daemon->fail_snapshot)
		return err_set(err, daemon->fail_snapshot,
			       "cannot read the data path: told so; try again");
	s = calloc(1, sizeof(*s));
	must(s);
	s->backends = calloc(2, sizeof(*s->backends));
	must(s->backends);
	s->packets_forward = 11;
	s->connections_active = 2;
	s->connections_by_state[LB_STATE_ESTABLISHED] = 1;
	s->reasons[LB_MAP_FULL].packets = 5;
	s->backend_count = 2; /* not in the order of ids */
	s->backends[0] = (struct lb_backend_stats){
		.id = 7, .service = "dns", .address = address_of("fd00::7"), .port = 53
	};
	s->backends[1] = (struct lb_backend_stats){
		.id = 1,
		.service = "default",
		.address = address_of("10.0.1.10"),
		.port = 8080,
		.to_packets = 9,
		.connections_active = 12,
		.hop_state = LB_HOP_RESOLVED,
		.hop_interface = "eth0",
		.hop_mac = { 2, 0, 0, 0, 0, 1 },
		.source = address_of("10.0.0.1"),
	};
	s->interface_count = 1;
	s->interfaces[0] = (struct lb_interface_stats){ "eth0", "native", 42 };
	*ret = s;
	return 0;
}

static bool backend_look(void *ctx, uint32_t id, struct lb_backend_stats *ret)
{
	struct lb_snapshot *s = NULL;
	bool found = false;

	if (snapshot(ctx, &s, NULL) < 0)
		return false;
	for (size_t i = 0; i < s->backend_count && !found; i++) {
		found = s->backends[i].id == id;
		*ret = s->backends[i];
	}
	lb_snapshot_free(s);
	return found;
}

/* The first page holds a TCP connection, the second, at bucket 42 of the second family, one by UDP
 * whose backend has gone. */
static int connections(void *ctx, const struct lb_connection_filter *filter,
		       struct lb_cursor *cursor, struct lb_connection *connections, size_t room)
{
	struct daemon *daemon = ctx;
	bool second = cursor->family == 1;

	daemon->filter = *filter;
	daemon->cursor = *cursor;
	daemon->room = room;
	if (daemon->fail)
		return daemon->fail;
	connections[0] = (struct lb_connection){
		.proto = second ? IPPROTO_UDP : IPPROTO_TCP,
		.client = address_of("10.9.0.2"),
		.client_port = 40000,
		.vip = address_of("10.0.0.1"),
		.vip_port = 80,
		.backend = address_of("10.0.1.10"),
		.backend_port = 8080,
		.backend_id = second ? 0 : 1,
		.source = address_of("10.0.0.1"),
		.source_port = 2048,
		.state = second ? LB_STATE_NONE : LB_STATE_ESTABLISHED,
		.idle_ns = 500000000,
		.age_ns = 12100000000,
	};
	cursor->family = 1;
	cursor->bucket = 42;
	cursor->done = second;
	return 1;
}

/* Backend 1 is the only one that is checked. */
static bool health(void *ctx, const char *service, const struct backend *backend,
		   struct health_state *ret)
{
	*ret = (struct health_state){ .state = BACKEND_UNHEALTHY,
				      .since_wall_s = 1700000000,
				      .last_error = "no answer",
				      .last_error_wall_s = 1700000001,
				      .type = "tcp",
				      .upstream = "probe",
				      .port = 8081,
				      .streak = 1,
				      .needed = 4,
				      .checks = 9,
				      .failures = 3,
				      .falls = 1,
				      .last_ns = 500000000 };
	return backend->id == 1 && strcmp(service, "default") == 0;
}

static void totals(void *ctx, struct health_totals *ret)
{
	*ret = (struct health_totals){ .targets = 1, .succeeded = 6, .failed = 3, .falls = 1 };
}

static struct service service_of(const char *name, const char *address)
{
	struct service service = {
		.name = strdup(name),
		.addresses = calloc(1, sizeof(struct addr)),
		.address_count = 1,
		.algorithm = CONFIG_MAGLEV,
		.table_size = 65537,
		.forwarding = CONFIG_NAT_FULL,
		.backends = calloc(DAEMON_ROOM, sizeof(struct backend)),
	};

	must(service.name && service.addresses && service.backends);
	service.addresses[0] = address_of(address);
	return service;
}

static void backend_put(struct service *service, uint32_t id, const char *address, uint16_t port)
{
	service->backends[service->backend_count++] = (struct backend){
		.id = id, .address = address_of(address), .port = port, .weight = 100
	};
}

static int trace(void *ctx, const struct trace_request *request, struct stream **ret,
		 struct err *err)
{
	struct daemon *daemon = ctx;

	if (daemon->fail)
		return err_set(err, daemon->fail, "cannot trace: as the test wants");
	daemon->trace = *request;
	daemon->traces++;
	*ret = daemon->stream = stream_new();
	must(*ret);
	return 0;
}

void daemon_init(struct daemon *daemon)
{
	static uint16_t http[] = { 80 };
	static uint16_t dns[] = { 53 };
	static char instance[] = "default";

	memset(daemon, 0, sizeof(*daemon));
	daemon->control = (struct control){
		daemon,
		config,
		model,
		readiness,
		uptime_ns,
		reloads,
		last_reload_wall_s,
		backend_add,
		backend_patch,
		backend_remove,
		reload,
		snapshot,
		backend_look,
		connections,
		health,
		totals,
		trace,
	};
	steering_init(&daemon->steering, &daemon->changes);
	daemon->control.steer = &daemon->steering.control;
	daemon->ready = true;
	daemon->config.instance = instance;
	daemon->config.admin.listen = address_of("127.0.0.1");
	daemon->services[0] = service_of("default", "10.0.0.1");
	daemon->services[0].tcp_ports = http;
	daemon->services[0].tcp_port_count = 1;
	backend_put(&daemon->services[0], 1, "10.0.1.10", 8080);
	daemon->services[0].backends[0].health = BACKEND_UNHEALTHY;
	backend_put(&daemon->services[0], 2, "10.0.1.11", 8080);
	daemon->services[1] = service_of("dns", "fd00::2");
	daemon->services[1].udp_ports = dns;
	daemon->services[1].udp_port_count = 1;
	backend_put(&daemon->services[1], 7, "fd00::7", 53);
	daemon->model = (struct model){ daemon->services, 2 };
}

void daemon_done(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->model.service_count; i++) {
		free(daemon->services[i].name);
		free(daemon->services[i].addresses);
		free(daemon->services[i].backends);
	}
}

char *daemon_picture(const struct daemon *daemon)
{
	char address[ADDR_PORT_TEXT_LEN];
	struct buf out;

	buf_init(&out);
	buf_printf(&out, "%u changes\n", daemon->changes);
	for (size_t i = 0; i < daemon->model.service_count; i++) {
		const struct service *service = &daemon->services[i];

		for (size_t j = 0; j < service->backend_count; j++) {
			const struct backend *b = &service->backends[j];

			buf_printf(&out, "%s %u %s weight %u %s %lld\n", service->name, b->id,
				   addr_port_format(&b->address, b->port, address), b->weight,
				   backend_state_name(b->state), (long long)b->deadline_wall_s);
		}
	}
	return buf_take(&out);
}

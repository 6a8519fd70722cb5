#include "changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Within a service.  Ids move when a configuration without them loses a backend. */
static bool same_server(const struct backend *a, const struct backend *b)
{
	return a->port == b->port && addr_equal(&a->address, &b->address);
}

static struct backend *find_server(const struct service *service, const struct backend *like)
{
	struct backend *guess = service ? service_backend(service, like->id) : NULL;

	if (guess && same_server(guess, like))
		return guess; /* as nearly always: models of 10,000 are compared in a millisecond */
	for (size_t i = 0; service && i < service->backend_count; i++)
		if (same_server(&service->backends[i], like))
			return &service->backends[i];
	return NULL;
}

static bool same_settings(const struct backend *a, const struct backend *b)
{
	return a->weight == b->weight && a->state == b->state &&
	       a->deadline_wall_s == b->deadline_wall_s;
}

int model_changes_add(struct model_changes *changes, const char *service,
		      enum model_change_kind kind, const struct backend *backend)
{
	struct model_change *list = realloc(changes->list,
					    (changes->count + 1) * sizeof(*changes->list));

	if (!list)
		return -ENOMEM;
	changes->list = list;
	list[changes->count] = (struct model_change){ strdup(service), kind, *backend };
	if (!list[changes->count].service)
		return -ENOMEM;
	changes->count++;
	return 0;
}

static int diff_service(const struct service *configured, const struct service *current,
			struct model_changes *changes)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < current->backend_count; i++) {
		const struct backend *now = &current->backends[i];
		const struct backend *was = find_server(configured, now);

		if (!was)
			r = model_changes_add(changes, current->name, CHANGE_ADDED, now);
		else if (!same_settings(was, now))
			r = model_changes_add(changes, current->name, CHANGE_SET, now);
	}
	for (size_t i = 0; r == 0 && configured && i < configured->backend_count; i++)
		if (!find_server(current, &configured->backends[i]))
			r = model_changes_add(changes, current->name, CHANGE_GONE,
					      &configured->backends[i]);
	return r;
}

/* Models of one configuration have the same services in the same order. */
static const struct service *counterpart(const struct model *model, const struct model *of,
					 size_t at)
{
	const char *name = of->services[at].name;

	if (at < model->service_count && !strcmp(model->services[at].name, name))
		return &model->services[at];
	return model_service(model, name);
}

int model_changes_diff(const struct model *configured, const struct model *current,
		       struct model_changes **ret)
{
	struct model_changes *changes = calloc(1, sizeof(*changes));
	int r = changes ? 0 : -ENOMEM;

	*ret = NULL;
	for (size_t i = 0; r == 0 && i < current->service_count; i++)
		r = diff_service(counterpart(configured, current, i), &current->services[i],
				 changes);
	if (r < 0) {
		model_changes_free(changes);
		return r;
	}
	*ret = changes;
	return 0;
}

static void drop(struct buf *dropped, const struct model_change *change, const char *why)
{
	char text[ADDR_PORT_TEXT_LEN];

	buf_printf(dropped, "service %s: dropped the change of backend %u %s: %s\n",
		   change->service, change->backend.id,
		   addr_port_format(&change->backend.address, change->backend.port, text), why);
}

/* Under its id, or the lowest free one if that is taken. */
static int add_renumbered(struct model *model, struct service *service,
			  const struct backend *backend, struct err *err)
{
	struct backend copy = *backend;

	if (model_backend(model, copy.id, NULL))
		copy.id = model_free_id(model);
	return model_backend_restore(model, service, &copy, err);
}

static int apply_change(struct model *model, const struct model_change *change, struct buf *dropped)
{
	struct service *service = model_service(model, change->service);
	struct backend *backend = find_server(service, &change->backend);
	struct err err = { 0 };
	int r;

	if (!service) {
		drop(dropped, change, "its service is not configured any more");
		return 0;
	}
	if (change->kind == CHANGE_GONE) {
		if (backend)
			model_backend_remove(service, backend->id);
		return 0;
	}
	if (backend) {
		backend->weight = change->backend.weight;
		backend->state = change->backend.state;
		backend->deadline_wall_s = change->backend.deadline_wall_s;
		return 0;
	}
	if (change->kind == CHANGE_SET) {
		drop(dropped, change, "it is not configured any more");
		return 0;
	}
	r = add_renumbered(model, service, &change->backend, &err);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		drop(dropped, change, err.text);
	return 0;
}

int model_changes_apply(struct model *model, const struct model_changes *changes,
			struct buf *dropped)
{
	/* Who goes makes room for who comes. */
	for (size_t i = 0; i < changes->count; i++)
		if (changes->list[i].kind == CHANGE_GONE)
			apply_change(model, &changes->list[i], dropped);
	for (size_t i = 0; i < changes->count; i++) {
		int r;

		if (changes->list[i].kind == CHANGE_GONE)
			continue;
		r = apply_change(model, &changes->list[i], dropped);
		if (r < 0)
			return r;
	}
	return buf_failed(dropped) ? -ENOMEM : 0;
}

/* One service's part of model_carry_over. */
static int carry_over_service(struct model *next, struct service *to, const struct service *from)
{
	for (size_t i = 0; i < from->backend_count; i++) {
		struct backend backend = from->backends[i];
		int r;

		if (find_server(to, &backend))
			continue;
		if (backend.state < BACKEND_REMOVED)
			backend.state = BACKEND_REMOVED;
		backend.origin = BACKEND_FROM_API;
		r = add_renumbered(next, to, &backend, NULL);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

int model_carry_over(const struct model *current, struct model *next)
{
	for (size_t i = 0; i < next->service_count; i++) {
		const struct service *from = counterpart(current, next, i);
		int r = from ? carry_over_service(next, &next->services[i], from) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

void model_changes_free(struct model_changes *changes)
{
	if (!changes)
		return;
	for (size_t i = 0; i < changes->count; i++)
		free(changes->list[i].service);
	free(changes->list);
	free(changes);
}

/* ---- for people ---- */

static const char *forwarding_name(enum config_forwarding forwarding)
{
	static const char *const names[] = {
		[CONFIG_NAT_FULL] = "nat full", [CONFIG_NAT_DESTINATION] = "nat destination",
		[CONFIG_DSR_IPIP] = "dsr ipip", [CONFIG_DSR_GUE] = "dsr gue",
		[CONFIG_DSR_L2] = "dsr none",
	};

	return names[forwarding];
}

static void describe_backend(const char *service, const struct backend *was,
			     const struct backend *now, struct buf *out)
{
	char text[ADDR_PORT_TEXT_LEN];

	addr_port_format(&now->address, now->port, text);
	if (was->weight != now->weight)
		buf_printf(out, "service %s: backend %u %s: weight %u, was %u\n", service, now->id,
			   text, now->weight, was->weight);
	if (was->state != now->state)
		buf_printf(out, "service %s: backend %u %s: %s, was %s\n", service, now->id, text,
			   backend_state_name(now->state), backend_state_name(was->state));
	else if (was->deadline_wall_s != now->deadline_wall_s)
		buf_printf(out, "service %s: backend %u %s: another deadline\n", service, now->id,
			   text);
}

static void describe_backends(const struct service *old, const struct service *new, struct buf *out)
{
	char text[ADDR_PORT_TEXT_LEN];

	for (size_t i = 0; i < old->backend_count; i++) {
		const struct backend *was = &old->backends[i];

		if (!find_server(new, was))
			buf_printf(out, "service %s: backend %u %s gone\n", old->name, was->id,
				   addr_port_format(&was->address, was->port, text));
	}
	for (size_t i = 0; i < new->backend_count; i++) {
		const struct backend *now = &new->backends[i];
		const struct backend *was = find_server(old, now);

		if (was) {
			describe_backend(new->name, was, now, out);
			continue;
		}
		buf_printf(out, "service %s: backend %u %s added, weight %u", new->name, now->id,
			   addr_port_format(&now->address, now->port, text), now->weight);
		if (now->state != BACKEND_ACTIVE)
			buf_printf(out, ", %s", backend_state_name(now->state));
		buf_append(out, "\n", 1);
	}
}

/* What of a is not in b, as "service NAME: address ADDRESS WHAT". */
static void describe_addresses(const struct service *a, const struct service *b, const char *what,
			       struct buf *out)
{
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < a->address_count; i++)
		if (!addr_list_has(b->addresses, b->address_count, &a->addresses[i]))
			buf_printf(out, "service %s: address %s %s\n", a->name,
				   addr_format(&a->addresses[i], text), what);
}

static void describe_ports(const char *service, const char *protocol, const uint16_t *a,
			   size_t a_count, const uint16_t *b, size_t b_count, const char *what,
			   struct buf *out)
{
	for (size_t i = 0; i < a_count; i++) {
		bool both = false;

		for (size_t k = 0; k < b_count; k++)
			both |= a[i] == b[k];
		if (!both)
			buf_printf(out, "service %s: %s port %u %s\n", service, protocol, a[i],
				   what);
	}
}

static void describe_endpoints(const struct service *a, const struct service *b, const char *what,
			       struct buf *out)
{
	describe_addresses(a, b, what, out);
	describe_ports(a->name, "tcp", a->tcp_ports, a->tcp_port_count, b->tcp_ports,
		       b->tcp_port_count, what, out);
	describe_ports(a->name, "udp", a->udp_ports, a->udp_port_count, b->udp_ports,
		       b->udp_port_count, what, out);
}

static void describe_service(const struct service *old, const struct service *new, struct buf *out)
{
	describe_endpoints(old, new, "gone", out);
	describe_endpoints(new, old, "added", out);
	if (old->forwarding != new->forwarding)
		buf_printf(out, "service %s: %s for new connections\n", new->name,
			   forwarding_name(new->forwarding));
	if (old->algorithm != new->algorithm)
		buf_printf(out, "service %s: algorithm %s, was %s\n", new->name,
			   config_algorithm_name(new->algorithm),
			   config_algorithm_name(old->algorithm));
	if (old->table_size != new->table_size)
		buf_printf(out, "service %s: table of %u slots, was %u\n", new->name,
			   new->table_size, old->table_size);
	describe_backends(old, new, out);
}

void model_describe_difference(const struct model *old, const struct model *new, struct buf *out)
{
	static const struct service none;

	for (size_t i = 0; i < old->service_count; i++)
		if (!counterpart(new, old, i))
			buf_printf(out, "service %s gone\n", old->services[i].name);
	for (size_t i = 0; i < new->service_count; i++) {
		const struct service *now = &new->services[i];
		const struct service *was = counterpart(old, new, i);

		if (was) {
			describe_service(was, now, out);
		} else {
			buf_printf(out, "service %s added\n", now->name);
			describe_endpoints(now, &none, "added", out);
			describe_backends(&none, now, out);
		}
	}
}

/* The way to each backend: a route, and a neighbour that answers. */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "doctor.h"

#define NUD_USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)
#define WAIT_NS	   NSEC_PER_SEC

enum way {
	WAY_FOUND,
	WAY_WAITED_FOR, /* the neighbour was asked */
	WAY_OWN,	/* the address is this host's */
	WAY_NONE,	/* no route */
};

struct target {
	struct addr address;
	enum way way;
	int error; /* of the route */
	uint32_t ifindex;
	struct addr next; /* the neighbour */
};

struct targets {
	struct target *list;
	size_t count;
};

static int collect(const struct config *config, struct targets *ret)
{
	size_t room = 1;

	for (size_t i = 0; i < config->service_count; i++)
		room += config->services[i].backend_count;
	ret->count = 0;
	ret->list = calloc(room, sizeof(*ret->list));
	if (!ret->list)
		return -ENOMEM;
	for (size_t i = 0; i < config->service_count; i++)
		for (size_t k = 0; k < config->services[i].backend_count; k++)
			ret->list[ret->count++].address = config->services[i].backends[k].address;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return addr_compare(&((const struct target *)a)->address,
			    &((const struct target *)b)->address);
}

/* An address may serve on several ports, and in several services. */
static void unite(struct targets *targets)
{
	size_t n = 0;

	qsort(targets->list, targets->count, sizeof(*targets->list), compare);
	for (size_t i = 0; i < targets->count; i++)
		if (!n || compare(&targets->list[n - 1], &targets->list[i]) != 0)
			targets->list[n++] = targets->list[i];
	targets->count = n;
}

static bool is_resolved(struct doctor *doctor, const struct target *target)
{
	struct netlink_neigh neigh;
	struct netlink_link link;

	if (netlink_neigh_get(doctor->netlink, target->ifindex, &target->next, &neigh) == 0 &&
	    neigh.state & NUD_USABLE)
		return true;
	/* No neighbours to resolve there: a tunnel, say. */
	return netlink_link_get(doctor->netlink, target->ifindex, &link) == 0 && !link.has_mac;
}

static void look_up(struct doctor *doctor, struct target *target)
{
	struct netlink_route route;

	target->error = netlink_route_get(doctor->netlink, &target->address, &route);
	target->way = WAY_NONE;
	if (target->error < 0)
		return;
	if (route.type == RTN_LOCAL)
		target->way = WAY_OWN;
	if (route.type != RTN_UNICAST) {
		target->error = -ENETUNREACH;
		return;
	}
	target->ifindex = route.oif;
	target->next = route.has_gateway ? route.gateway : target->address;
	target->way = WAY_FOUND;
	if (is_resolved(doctor, target))
		return;
	target->way = WAY_WAITED_FOR;
	/* Without the privilege to ask, what is known counts. */
	netlink_neigh_use(doctor->netlink, target->ifindex, &target->next);
}

static size_t look_again(struct doctor *doctor, struct targets *targets)
{
	size_t waiting = 0;

	for (size_t i = 0; i < targets->count; i++) {
		struct target *target = &targets->list[i];

		if (target->way == WAY_WAITED_FOR && is_resolved(doctor, target))
			target->way = WAY_FOUND;
		waiting += target->way == WAY_WAITED_FOR;
	}
	return waiting;
}

static void wait_for_neighbours(struct doctor *doctor, struct targets *targets)
{
	uint64_t end = clock_now_ns() + WAIT_NS;

	while (look_again(doctor, targets)) {
		struct pollfd event = { .fd = netlink_monitor_fd(doctor->netlink),
					.events = POLLIN };
		uint64_t now = clock_now_ns();

		if (now >= end)
			return;
		if (poll(&event, 1, (int)((end - now) / NSEC_PER_MSEC) + 1) > 0)
			netlink_monitor_drain(doctor->netlink);
	}
}

static void report(struct doctor *doctor, const struct target *target)
{
	char text[ADDR_TEXT_LEN];
	char next[ADDR_TEXT_LEN];
	char subject[64];
	char interface[IF_NAMESIZE] = "?";

	addr_format(&target->address, text);
	addr_format(&target->next, next);
	snprintf(subject, sizeof(subject), "backend %s", text);
	if_indextoname(target->ifindex, interface);
	switch (target->way) {
	case WAY_FOUND:
		doctor_find(doctor, DOCTOR_OK, subject, "its next hop is known, by %s", interface);
		break;
	case WAY_WAITED_FOR:
		doctor_find(doctor, DOCTOR_WARNING, subject,
			    "its next hop %s does not answer on %s", next, interface);
		doctor_remedy(doctor, "start it, or see 'ip neigh show to %s'", next);
		break;
	case WAY_OWN:
		doctor_find(doctor, DOCTOR_PROBLEM, subject,
			    "the address is this host's own, to which Loom cannot forward");
		doctor_remedy(doctor, "move the backend to another host, or a network namespace");
		break;
	case WAY_NONE:
		doctor_find(doctor, DOCTOR_PROBLEM, subject, "there is no route to it: %s",
			    strerror(-target->error));
		doctor_remedy(doctor, "add one with 'ip route', see 'ip route get %s'", text);
		break;
	}
}

static void check_backends(struct doctor *doctor)
{
	struct targets targets;

	if (collect(doctor->config, &targets) < 0) {
		doctor->failed = true;
		return;
	}
	unite(&targets);
	for (size_t i = 0; i < targets.count; i++)
		look_up(doctor, &targets.list[i]);
	wait_for_neighbours(doctor, &targets);
	for (size_t i = 0; i < targets.count; i++)
		report(doctor, &targets.list[i]);
	free(targets.list);
}

const struct doctor_check doctor_backend_checks[] = {
	{ "backend", true, check_backends },
	{ 0 },
};

/* The connection entries of the world, as a test reads and changes them. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/must.h"
#include "lb.skel.h"
#include "world.h"

#define MAX_ENTRIES 131072

/* Big enough for either family's entry; both begin with the flow. */
union entry {
	struct lb_flow flow;
	struct lb_conn4 conn4;
	struct lb_conn6 conn6;
};

static int conns_of(const struct packet *p, struct lb_key6 *key)
{
	struct lb_key4 narrow = { .sport = htons(p->sport), .dport = htons(p->dport) };

	*key = (struct lb_key6){ .sport = narrow.sport, .dport = narrow.dport, .proto = p->proto };
	packet_address(p->from, key->saddr);
	packet_address(p->to, key->daddr);
	if (packet_is_v6(p))
		return bpf_map__fd(world.bpf->maps.lb_conns6);
	narrow.saddr = key->saddr[3];
	narrow.daddr = key->daddr[3];
	narrow.proto = p->proto;
	memcpy(key, &narrow, sizeof(narrow));
	return bpf_map__fd(world.bpf->maps.lb_conns4);
}

bool flow_read(const struct packet *p, struct lb_flow *ret)
{
	union entry entry;
	struct lb_key6 key;
	int fd = conns_of(p, &key);

	if (bpf_map_lookup_elem(fd, &key, &entry))
		return false;
	*ret = entry.flow;
	return true;
}

void flow_write(const struct packet *p, const struct lb_flow *flow)
{
	union entry entry;
	struct lb_key6 key;
	int fd = conns_of(p, &key);

	must(bpf_map_lookup_elem(fd, &key, &entry) == 0);
	entry.flow = *flow;
	must(bpf_map_update_elem(fd, &key, &entry, BPF_EXIST) == 0);
}

bool flow_remove(const struct packet *p)
{
	struct lb_key6 key;
	int fd = conns_of(p, &key);

	return bpf_map_delete_elem(fd, &key) == 0;
}

void flow_age(const struct packet *p, uint32_t ticks)
{
	struct lb_flow flow;

	must(flow_read(p, &flow));
	flow.seen -= ticks;
	flow.touched -= ticks;
	flow_write(p, &flow);
}

/* Calls visit with each entry of fd, which it may change.  Keys first: an update moves its entry to
 * the front, and a walk from there would never end. */
static uint32_t each_entry(int fd, void (*visit)(union entry *, const void *), const void *arg)
{
	static uint8_t keys[MAX_ENTRIES][64];
	union entry entry;
	uint32_t count = 0;
	void *last = NULL;

	while (count < MAX_ENTRIES && bpf_map_get_next_key(fd, last, keys[count]) == 0)
		last = keys[count++];
	for (uint32_t i = 0; visit && i < count; i++) {
		must(bpf_map_lookup_elem(fd, keys[i], &entry) == 0);
		visit(&entry, arg);
		must(bpf_map_update_elem(fd, keys[i], &entry, BPF_EXIST) == 0);
	}
	return count;
}

uint32_t flow_count(void)
{
	return each_entry(bpf_map__fd(world.bpf->maps.lb_conns4), NULL, NULL) +
	       each_entry(bpf_map__fd(world.bpf->maps.lb_conns6), NULL, NULL);
}

static void set_entry(union entry *entry, const void *arg)
{
	const struct lb_flow *like = arg;

	entry->flow.state = like->state;
	entry->flow.flags |= like->flags;
}

void flow_set_all(enum lb_state state, uint8_t flags)
{
	const struct lb_flow like = { .state = (uint8_t)state, .flags = flags };

	each_entry(bpf_map__fd(world.bpf->maps.lb_conns4), set_entry, &like);
	each_entry(bpf_map__fd(world.bpf->maps.lb_conns6), set_entry, &like);
}

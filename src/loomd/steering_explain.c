/* What the policy would do with a flow, as far as user space can tell: the same tables and the same
 * functions as the program's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "abi/wg_demux_abi.h"
#include "steering_internal.h"

struct question {
	struct group *group;
	const struct part *part;
	const struct steer_table *table;
	const struct steer_flow_request *flow;
	struct steer_explanation *answer;
};

static void say(struct question *q, bool known, uint16_t slot, enum steer_counter why,
		const char *how)
{
	const struct member *member = slot == STEER_NOBODY ? NULL : members_by_slot(q->group, slot);
	char text[64] = "nobody";

	if (member)
		member_text(member, text);
	q->answer->known = known;
	q->answer->slot = slot;
	q->answer->why = why;
	snprintf(q->answer->text, sizeof(q->answer->text), "%s%s%s", how, known ? ": " : "",
		 !known			? ""
		 : slot == STEER_NOBODY ? "the kernel's hash decides"
					: text);
}

static uint16_t planned(const struct question *q, uint32_t hash)
{
	return q->table->plan[steer_plan_entry(hash)];
}

static void by_source(struct question *q, bool wireguard)
{
	uint64_t salt = steer_salt(q->part->steer);
	__be32 addr[4];

	memcpy(addr, &q->flow->source, sizeof(addr));
	if (wireguard)
		say(q, true, planned(q, wg_source_hash(addr, salt)), STEER_COUNT_HANDSHAKE,
		    "an initiation goes by the salted hash of its source");
	else
		say(q, true, planned(q, steer_source_hash(addr, salt)), STEER_COUNT_SELECTED,
		    "the salted hash of the source address names the plan's entry");
}

static void by_index(struct question *q)
{
	uint32_t index = 0;
	char how[160];
	uint16_t entry, owner;

	if (q->flow->payload_len < WG_HEAD_BYTES) {
		say(q, false, STEER_NOBODY, STEER_COUNT_SHORT,
		    "give the datagram's first 12 bytes with --payload: the policy reads them");
		return;
	}
	/* The beginning is all that is given: as if the rest were there. */
	switch (wg_classify(q->flow->payload, UINT16_MAX, &index)) {
	case WG_NOT:
		say(q, true, STEER_NOBODY, STEER_COUNT_NOT_MINE, "this is no WireGuard message");
		return;
	case WG_HANDSHAKE:
		by_source(q, true);
		return;
	case WG_INDEX:
		break;
	}
	entry = q->table->vshards[wg_vshard(index)];
	owner = entry & STEER_VSHARD_OVERRIDES ? steer_index_owner(q->part->steer, index)
					       : STEER_NOBODY;
	if (owner != STEER_NOBODY) {
		snprintf(how, sizeof(how), "rx_index_to_slot has receiver index %#" PRIx32, index);
		say(q, true, owner, STEER_COUNT_INDEX_OVERRIDE, how);
		return;
	}
	snprintf(how, sizeof(how), "receiver index %#" PRIx32 " is of virtual shard %" PRIu32,
		 index, wg_vshard(index));
	entry &= STEER_VSHARD_OVERRIDES - 1;
	say(q, true, entry < STEER_MAX_SLOTS ? entry : STEER_NOBODY, STEER_COUNT_INDEX, how);
}

static void by_bytes(struct question *q)
{
	const struct config_steer_policy_options *policy = &q->group->policy;
	uint32_t value = 0;
	char how[128];
	uint16_t slot;

	if (q->flow->payload_len < policy->offset + policy->length) {
		say(q, false, STEER_NOBODY, STEER_COUNT_SHORT,
		    "give the datagram's first bytes with --payload: the policy reads them");
		return;
	}
	for (unsigned int i = 0; i < policy->length; i++)
		value = value << 8 | q->flow->payload[policy->offset + i];
	value = value >> policy->shift & (policy->mask ? policy->mask : UINT32_MAX);
	snprintf(how, sizeof(how), "the bytes at %u name identity %" PRIu32, policy->offset, value);
	slot = value < STEER_MAX_SLOTS ? q->table->identity[value] : STEER_NOBODY;
	say(q, true, slot, slot == STEER_NOBODY ? STEER_COUNT_INDEX_MISS : STEER_COUNT_INDEX, how);
}

static void answer(struct question *q)
{
	switch (q->group->policy.policy) {
	case CONFIG_STEER_SOURCE_HASH:
		by_source(q, false);
		break;
	case CONFIG_STEER_CPU_LOCAL:
		say(q, true,
		    q->flow->cpu < STEER_MAX_CPUS ? q->table->cpus[q->flow->cpu] : STEER_NOBODY,
		    STEER_COUNT_SELECTED, "the receiving CPU has a member");
		break;
	case CONFIG_STEER_WIREGUARD:
		by_index(q);
		break;
	case CONFIG_STEER_BYTES:
		by_bytes(q);
		break;
	case CONFIG_STEER_RANDOM:
		say(q, false, STEER_NOBODY, STEER_COUNT_SELECTED,
		    "each packet goes to anybody, by weight");
		break;
	case CONFIG_STEER_LEAST_LOADED:
		say(q, false, STEER_NOBODY, STEER_COUNT_SELECTED,
		    "whoever has the shortest queue when the packet comes gets it");
		break;
	default:
		say(q, false, STEER_NOBODY, STEER_COUNT_SELECTED,
		    "the kernel's hash of the flow decides, whose secret it keeps: 'loom steer "
		    "trace' shows what becomes of the flow's next packet");
		break;
	}
}

int steering_explain(struct group *group, const struct steer_flow_request *flow,
		     struct steer_explanation *ret, struct err *err)
{
	bool ipv6 = !addr_is_v4(&flow->source);
	struct question q = {
		.group = group, .part = &group->parts[ipv6], .flow = flow, .answer = ret
	};

	/* A socket of both families takes IPv4 as well. */
	if (!ipv6 && !group->parts[0].group)
		q.part = &group->parts[1];
	if (!q.part->steer || !q.part->group)
		return err_set(err, -ENOENT, "cannot explain: group %s has no members for %s",
			       group->name, ipv6 ? "IPv6" : "IPv4");
	q.table = steer_table(q.part->steer);
	memset(ret, 0, sizeof(*ret));
	answer(&q);
	return 0;
}

/* Connection entries of either family in one form. */
#include <arpa/inet.h>
#include <string.h>

#include "lb_internal.h"

static void map_v4(__be32 *to, __be32 v4)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = htonl(0xffff);
	to[3] = v4;
}

void lb_entry_widen(const struct lb_key4 *key4, const struct lb_conn4 *conn4, struct lb_key6 *key,
		    struct lb_conn6 *conn)
{
	map_v4(key->saddr, key4->saddr);
	map_v4(key->daddr, key4->daddr);
	key->sport = key4->sport;
	key->dport = key4->dport;
	key->proto = key4->proto;
	memset(key->zero, 0, sizeof(key->zero));
	conn->flow = conn4->flow;
	map_v4(conn->saddr, conn4->saddr);
	map_v4(conn->daddr, conn4->daddr);
	conn->zero = 0;
	conn->l4_delta = conn4->l4_delta;
	conn->created = conn4->created;
}

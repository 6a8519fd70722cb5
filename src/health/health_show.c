/* What the records know, for people. */
#include <stdio.h>

#include "health_internal.h"

const char *health_name(enum backend_health state)
{
	static const char *const names[] = {
		[BACKEND_UNCHECKED] = "unchecked",
		[BACKEND_HEALTHY] = "healthy",
		[BACKEND_UNHEALTHY] = "unhealthy",
	};

	return names[state];
}

bool health_find(const struct health *health, const char *service, const struct backend *backend,
		 struct health_state *ret)
{
	static const char *const types[] = {
		[CONFIG_CHECK_TCP] = "tcp",	[CONFIG_CHECK_HTTP] = "http",
		[CONFIG_CHECK_HTTPS] = "https", [CONFIG_CHECK_UDP] = "udp",
		[CONFIG_CHECK_DNS] = "dns",
	};
	const struct health_record *record = health_record(health, service, backend);

	if (!record || !record->check)
		return false;
	*ret = (struct health_state){
		.state = record->verdict.state,
		.since_wall_s = record->since_wall_s,
		.last_error_wall_s = record->last_error_wall_s,
		.type = types[record->check->type],
		.port = record->check_port,
		.streak = record->verdict.streak,
		.needed = record->verdict.state == BACKEND_UNHEALTHY
				  ? health_verdict_rise(&record->verdict, record->check)
				  : record->check->fall,
		.checks = record->verdict.checks,
		.failures = record->verdict.failures,
		.falls = record->verdict.falls,
		.last_ns = record->last_ns,
	};
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", record->last_error);
	snprintf(ret->upstream, sizeof(ret->upstream), "%s", record->upstream);
	return true;
}

void health_totals(const struct health *health, struct health_totals *ret)
{
	*ret = health->totals;
	ret->in_flight = health->in_flight;
	ret->targets = 0;
	ret->waiting = 0;
	for (size_t i = 0; i < health->count; i++) {
		ret->targets += health->records[i]->check != NULL;
		ret->waiting += health->records[i]->waiting;
	}
}

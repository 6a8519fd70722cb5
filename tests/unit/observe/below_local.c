/* below_local.c - the few functions of the layers below that the tests of observe/ and admin/ need,
 * for a tree without the model's library. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "planes/lb/lb_stats.h"

struct service *model_service(const struct model *model, const char *name)
{
	for (size_t i = 0; i < model->service_count; i++)
		if (strcmp(model->services[i].name, name) == 0)
			return &model->services[i];
	return NULL;
}

struct backend *model_backend(const struct model *model, uint32_t id, struct service **ret_service)
{
	for (size_t i = 0; i < model->service_count; i++) {
		struct service *service = &model->services[i];

		for (size_t j = 0; j < service->backend_count; j++) {
			if (service->backends[j].id != id)
				continue;
			if (ret_service)
				*ret_service = service;
			return &service->backends[j];
		}
	}
	return NULL;
}

uint32_t model_free_id(const struct model *model)
{
	uint32_t id = 1;

	while (model_backend(model, id, NULL))
		id++;
	return id;
}

const char *backend_state_name(enum backend_state state)
{
	static const char *const names[] = {
		[BACKEND_ACTIVE] = "active",
		[BACKEND_DRAINING] = "draining",
		[BACKEND_REMOVED] = "removed",
		[BACKEND_RESET] = "reset",
	};

	return names[state];
}

static const struct {
	const char *name;
	enum lb_action action;
	const char *help;
} counters[] = {
#define COUNTER_ROW(name, value, action, help) [LB_##name] = { value, LB_ACTION_##action, help },
	LB_COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
};

static const char *const states[] = {
	[LB_STATE_NONE] = "udp",	  [LB_STATE_SYN_SENT] = "syn_sent",
	[LB_STATE_SYN_RECV] = "syn_recv", [LB_STATE_ESTABLISHED] = "established",
	[LB_STATE_FIN_WAIT] = "fin_wait", [LB_STATE_TIME_WAIT] = "time_wait",
	[LB_STATE_CLOSED] = "closed",
};

const char *lb_counter_name(enum lb_counter counter)
{
	return counters[counter].name;
}

const char *lb_counter_help(enum lb_counter counter)
{
	return counters[counter].help;
}

enum lb_action lb_counter_action(enum lb_counter counter)
{
	return counters[counter].action;
}

const char *lb_state_name(enum lb_state state)
{
	return states[state];
}

int lb_state_parse(const char *name, enum lb_state *ret)
{
	for (int i = 0; i < LB_STATES; i++) {
		if (strcmp(states[i], name) != 0)
			continue;
		*ret = (enum lb_state)i;
		return 0;
	}
	return -EINVAL;
}

void lb_snapshot_free(struct lb_snapshot *snapshot)
{
	if (!snapshot)
		return;
	free(snapshot->backends);
	free(snapshot);
}

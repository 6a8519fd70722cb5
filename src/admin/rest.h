/* rest.h - one function a route of docs/rest-api.md.
 * Layer: admin.  Threads: control thread only.  Blocks: as struct control does.
 *
 * Each answers call->reply; path, query and the body's size are checked already. */
#ifndef LOOM_REST_H
#define LOOM_REST_H

#include "route.h"

void rest_health(struct call *call);
void rest_ready(struct call *call);
void rest_metrics(struct call *call);
void rest_stats(struct call *call);

void rest_config(struct call *call);
void rest_config_reload(struct call *call);

void rest_services(struct call *call);
/* A SERVICE; NULL if out of memory. */
json_t *rest_service_json(const struct service *service);

/* What health checks say: GET /ebpf/health, and a backend's part in other answers. */
void rest_ebpf_health(struct call *call);
json_t *rest_health_json(const struct control *control, const char *service,
			 const struct backend *backend);

void rest_backends(struct call *call);
void rest_backends_stats(struct call *call);
/* Answers with a BACKEND after a change.  The change stands: that the data path cannot be read now
 * must not make it look failed, so its next hop then shows as resolving. */
void rest_answer_backend(struct call *call, unsigned int status, const struct backend *backend,
			 const char *service);
void rest_backend_add(struct call *call);
void rest_backend_patch(struct call *call);
void rest_backend_remove(struct call *call);

void rest_connections(struct call *call);
void rest_trace(struct call *call);

/* Socket steering: rest_steer.h. */
void rest_steer_groups(struct call *call);
void rest_steer_group(struct call *call);
void rest_steer_attach(struct call *call);
void rest_steer_detach(struct call *call);
void rest_steer_policy(struct call *call);
void rest_steer_rollout(struct call *call);
void rest_steer_freeze(struct call *call);
void rest_steer_unfreeze(struct call *call);
void rest_steer_fallback(struct call *call);
void rest_steer_resume(struct call *call);
void rest_steer_drain(struct call *call);
void rest_steer_undrain(struct call *call);
void rest_steer_swap(struct call *call);
void rest_steer_weight(struct call *call);
void rest_steer_indices_set(struct call *call);
void rest_steer_indices_remove(struct call *call);
void rest_steer_explain(struct call *call);
void rest_steer_trace(struct call *call);
void rest_steer_audit(struct call *call);
void rest_steer_history(struct call *call);
void rest_steer_capabilities(struct call *call);

#endif

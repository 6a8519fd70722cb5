/* config_build.h - checked items to struct config.
 * Layer: config.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_CONFIG_BUILD_H
#define LOOM_CONFIG_BUILD_H

#include "config.h"
#include "config_check.h"

struct build {
	struct item *root;
	struct arena *arena;
	struct complaints *complaints;
	struct config *config;
	bool failed; /* an allocation failed */
};

/* Owned copies that remember a failure in build. */
char *build_text(struct build *build, const char *text);
void *build_array(struct build *build, size_t count, size_t size);

/* config_lists.c: the ports of a list of them and of ranges, in host order; {0}: any. */
uint16_t *build_ports(struct build *build, const struct item *list, size_t *ret_count);
/* The networks of a list. */
struct addr_net *build_nets(struct build *build, const struct item *list, size_t *ret_count);
/* Does a list of choices hold that one?  otherwise: where there is no list. */
bool build_has_word(const struct item *list, uint64_t word, bool otherwise);

/* config_xdp.c: ebpf.xdp but for its services. */
void build_xdp(struct build *build);
/* config_services.c: the implicit service and the others, and what they contradict. */
void build_services(struct build *build);
/* What may be left open by a service, with the key below ebpf.xdp that then speaks for it. */
struct value build_service_value(struct build *build, struct item *item, const char *name,
				 const char *common);
/* config_health.c: upstreams, and what a service does with its backends' health. */
void build_upstreams(struct build *build);
void build_health(struct build *build, struct item *service, struct config_service *ret);

/* config_steer.c: steering groups. */
void build_steering(struct build *build);
void config_steering_free(struct config_steering *steering);
/* config_steer_guard.c: ret has its protocol and address. */
void build_guard(struct build *build, struct item *group, struct config_steer_group *ret);

/* config_unique.c: what must be there once over all services, and the ids that were left open. */
void build_unique(struct build *build, const struct item *const *services);

/* Everything but the services.  Returns 0 or -ENOMEM. */
int config_build(struct item *root, struct arena *arena, struct complaints *complaints,
		 struct config *config);

#endif

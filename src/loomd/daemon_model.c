/* The model's way into the kernel: configuration, changes by the API, what the kernel told. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon_internal.h"
#include "model/changes.h"
#include "planes/lb/lb_resolve.h"
#include "state.h"

/* ---- addresses of the interfaces ---- */

struct address_list {
	struct addr *list;
	size_t count;
	bool failed;
};

static void add_address(void *ctx, const struct netlink_addr *address)
{
	struct address_list *addresses = ctx;
	struct addr *list;

	if (!addr_is_unicast(&address->addr))
		return;
	list = realloc(addresses->list, (addresses->count + 1) * sizeof(*list));
	if (!list) {
		addresses->failed = true;
		return;
	}
	addresses->list = list;
	addresses->list[addresses->count++] = address->addr;
}

static int compare_addresses(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static int read_one(struct daemon *daemon, const char *name, uint32_t ifindex,
		    struct address_list *addresses, struct err *err)
{
	int r = netlink_addrs(daemon->netlink, ifindex, add_address, addresses);

	return r < 0 ? err_set(err, r, "cannot read the addresses of %s: %s", name, strerror(-r))
		     : 0;
}

int daemon_read_addresses(struct daemon *daemon, const struct config *config, struct err *err)
{
	struct address_list addresses = { 0 };
	bool same;
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->ebpf.interface_count; i++) {
		const char *name = config->ebpf.interfaces[i];
		unsigned int ifindex = if_nametoindex(name);

		if (!ifindex)
			r = err_set(err, -ENODEV,
				    "cannot use interface %s: it does not exist; see 'ip link'",
				    name);
		else
			r = read_one(daemon, name, ifindex, &addresses, err);
	}
	if (r == 0 && addresses.failed)
		r = err_set(err, -ENOMEM, "cannot read addresses: out of memory");
	if (r < 0) {
		free(addresses.list);
		return r;
	}
	if (addresses.count)
		qsort(addresses.list, addresses.count, sizeof(*addresses.list), compare_addresses);
	same = addresses.count == daemon->local_count &&
	       (!addresses.count ||
		!memcmp(addresses.list, daemon->local, addresses.count * sizeof(*addresses.list)));
	free(daemon->local);
	daemon->local = addresses.list;
	daemon->local_count = addresses.count;
	return !same;
}

/* ---- committing ---- */

static int save(struct daemon *daemon, const struct model *model, struct err *err)
{
	struct model_changes *changes;
	int r = model_changes_diff(daemon->configured, model, &changes);

	if (r < 0)
		return err_set(err, r, "cannot save the changes: %s", strerror(-r));
	r = state_save(daemon->state_path, changes, err);
	model_changes_free(changes);
	return r;
}

/* What has happened is not taken back for want of a disk: saving is tried again after each pass of
 * the sweep. */
static void save_later(struct daemon *daemon)
{
	struct err err = { 0 };
	bool failed = save(daemon, daemon->current, &err) < 0;

	if (failed && !daemon->unsaved)
		log_error("%s; serving goes on, and saving is tried again", err.text);
	daemon->unsaved = failed;
}

static int commit(struct daemon *daemon, struct model *next, bool saved, struct err *err)
{
	struct err back = { 0 };
	struct err why = { 0 };
	struct model *old;
	int r;

	backends_expire(next, clock_wall_s());
	r = daemon_health_overlay(daemon, next, err);
	if (r == 0 && daemon->lb)
		r = lb_apply(daemon->lb, next, err);
	if (r == 0 && saved) {
		r = save(daemon, next, &why);
		if (r < 0)
			err_set(err, r, "%s; the change was taken back", why.text);
		daemon->unsaved &= r < 0;
	}
	if (r < 0) {
		if (daemon->lb && lb_apply(daemon->lb, daemon->current, &back) < 0)
			log_error("cannot return to the previous state: %s; restart loomd",
				  back.text);
		model_free(next);
		return r;
	}
	old = daemon->current;
	daemon->current = next;
	daemon_health_compare(old, next);
	daemon_health_follow(daemon);
	model_free(old);
	if (daemon->lb && !lb_resolve_new(daemon->lb, daemon->netlink) && daemon->resolve_timer) {
		daemon->resolve_again = true;
		loop_arm_sooner(daemon->resolve_timer, 0);
	}
	if (daemon->sweep_timer)
		loop_arm(daemon->sweep_timer, 0); /* somebody may have begun to leave */
	return 0;
}

int daemon_commit(struct daemon *daemon, struct model *next, struct err *err)
{
	return commit(daemon, next, true, err);
}

int daemon_commit_observed(struct daemon *daemon, struct model *next, struct err *err)
{
	return commit(daemon, next, false, err);
}

/* ---- leaving backends ---- */

static struct leaving *find_leaving(struct daemon *daemon, uint32_t id)
{
	for (size_t i = 0; i < daemon->leaving_count; i++)
		if (daemon->leaving[i].id == id)
			return &daemon->leaving[i];
	return NULL;
}

/* Notes who is leaving now, and forgets who is not (any more). */
static int track_leaving(struct daemon *daemon)
{
	struct leaving *list = NULL;
	size_t count = 0;

	for (size_t s = 0; s < daemon->current->service_count; s++)
		for (size_t i = 0; i < daemon->current->services[s].backend_count; i++) {
			const struct backend *b = &daemon->current->services[s].backends[i];
			struct leaving *known;
			struct leaving *grown;

			if (b->state < BACKEND_REMOVED)
				continue;
			grown = realloc(list, (count + 1) * sizeof(*list));
			if (!grown) {
				free(list);
				return -ENOMEM;
			}
			list = grown;
			known = find_leaving(daemon, b->id);
			list[count++] = (struct leaving){ b->id,
							  known ? known->since
								: lb_sweep_passes(daemon->lb) };
		}
	free(daemon->leaving);
	daemon->leaving = list;
	daemon->leaving_count = count;
	return 0;
}

static bool take_out_idle(struct daemon *daemon, struct model *next)
{
	bool any = false;

	for (size_t i = 0; i < daemon->leaving_count; i++) {
		struct service *service;

		if (!lb_backend_idle(daemon->lb, daemon->leaving[i].id, daemon->leaving[i].since))
			continue;
		if (!model_backend(next, daemon->leaving[i].id, &service))
			continue;
		log_info("backend %u of service %s has ended its last connection and is gone",
			 daemon->leaving[i].id, service->name);
		model_backend_remove(service, daemon->leaving[i].id);
		any = true;
	}
	return any;
}

void daemon_reap(struct daemon *daemon)
{
	struct model *next;
	struct err err = { 0 };
	bool changed;

	if (daemon->unsaved)
		save_later(daemon);
	if (track_leaving(daemon) < 0 || !daemon->leaving_count)
		return;
	if (model_copy(daemon->current, &next) < 0)
		return; /* tried again after the next pass */
	changed = take_out_idle(daemon, next);
	changed |= backends_expire(next, clock_wall_s());
	if (!changed)
		model_free(next);
	else if (daemon_commit_observed(daemon, next, &err) < 0)
		log_error("cannot let a removed backend go: %s", err.text);
	else
		save_later(daemon);
}

/* ---- configuration ---- */

static int build(struct daemon *daemon, const struct config *config, struct model **ret,
		 struct err *err)
{
	int r = daemon_read_addresses(daemon, config, err);

	if (r < 0)
		return r;
	return model_build(config, daemon->local, daemon->local_count, ret, err);
}

static int restore_changes(struct daemon *daemon, struct err *err)
{
	struct model_changes *changes = NULL;
	struct buf dropped;
	int r = state_load(daemon->state_path, &changes, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		/* Serving by the configuration beats not serving. */
		log_error("%s; starting from the configuration alone", err->text);
		if (r == -EBADMSG && daemon->lock_fd >= 0)
			state_set_aside(daemon->state_path);
		return 0;
	}
	buf_init(&dropped);
	r = model_changes_apply(daemon->current, changes, &dropped);
	if (r < 0)
		err_set(err, r, "cannot restore the changes made by the API: %s", strerror(-r));
	else if (dropped.len)
		log_warning("changes made by the API that fit no more: %s", dropped.data);
	buf_done(&dropped);
	model_changes_free(changes);
	return r;
}

int daemon_load_model(struct daemon *daemon, struct err *err)
{
	int r = build(daemon, daemon->config, &daemon->configured, err);

	if (r == 0)
		r = model_copy(daemon->configured, &daemon->current);
	if (r == 0)
		r = restore_changes(daemon, err);
	return r;
}

int daemon_keep_leftovers(struct daemon *daemon, struct err *err)
{
	struct model_changes *leftovers = calloc(1, sizeof(*leftovers));
	struct buf dropped;
	int r = leftovers ? lb_leftovers(daemon->lb, daemon->current, leftovers) : -ENOMEM;

	buf_init(&dropped);
	if (r == 0)
		r = model_changes_apply(daemon->current, leftovers, &dropped);
	if (dropped.len)
		log_warning("connections to these backends are cut: %s", dropped.data);
	buf_done(&dropped);
	model_changes_free(leftovers);
	return r < 0 ? err_set(err, r, "cannot keep backends that drain: %s", strerror(-r)) : 0;
}

/* What cannot change while running is said, not done. */
static void report_fixed(const struct config *old, const struct config *new, struct buf *report)
{
	if (strcmp(old->instance, new->instance) != 0 ||
	    strcmp(old->state_dir, new->state_dir) != 0 ||
	    strcmp(old->ebpf.pin_path, new->ebpf.pin_path) != 0)
		buf_printf(report, "instance, state_dir, pin_path: after a restart\n");
	if (old->admin.port != new->admin.port ||
	    !addr_equal(&old->admin.listen, &new->admin.listen) ||
	    strcmp(old->admin.socket ? old->admin.socket : "",
		   new->admin.socket ? new->admin.socket : "") != 0)
		buf_printf(report, "admin.listen, admin.socket: after a restart\n");
	if (old->ebpf.max_connections != new->ebpf.max_connections ||
	    old->ebpf.max_backends != new->ebpf.max_backends ||
	    old->ebpf.connections_type != new->ebpf.connections_type)
		buf_printf(report, "map sizes and types: after 'loomd detach' and a restart\n");
	if (old->ebpf.mode != new->ebpf.mode || old->ebpf.enabled != new->ebpf.enabled)
		buf_printf(report, "ebpf.enabled, xdp.mode: after 'loomd detach' and a restart\n");
}

/* The model that config and, unless reset, the API's changes make. */
static int next_model(struct daemon *daemon, const struct config *config, bool reset,
		      struct model **ret_configured, struct model **ret_next, struct buf *report,
		      struct err *err)
{
	struct model_changes *changes = NULL;
	int r = build(daemon, config, ret_configured, err);

	if (r < 0)
		return r;
	r = model_copy(*ret_configured, ret_next);
	if (r == 0 && !reset)
		r = model_changes_diff(daemon->configured, daemon->current, &changes);
	if (r == 0 && changes)
		r = model_changes_apply(*ret_next, changes, report);
	if (r == 0)
		r = model_carry_over(daemon->current, *ret_next);
	model_changes_free(changes);
	if (r < 0) {
		model_free(*ret_configured);
		model_free(*ret_next);
		*ret_configured = *ret_next = NULL;
		err_set(err, r, "cannot apply the configuration: %s", strerror(-r));
	}
	return r;
}

static int adopt_config(struct daemon *daemon, struct config *config, struct model *configured,
			struct model *next, struct buf *report, struct err *err)
{
	struct config *old_config = daemon->config;
	struct model *old_configured = daemon->configured;
	int r;

	report_fixed(old_config, config, report);
	model_describe_difference(daemon->current, next, report);
	daemon->config = config;
	daemon->configured = configured;
	if (daemon->lb)
		lb_set_config(daemon->lb, &config->ebpf);
	r = daemon_steering_follow(daemon, config, err);
	/* Before anything else changes: a new interface may refuse. */
	if (r == 0 && daemon->lb)
		r = lb_attach(daemon->lb, err);
	if (r < 0)
		model_free(next);
	else
		r = daemon_commit(daemon, next, err);
	if (r < 0) {
		daemon_steering_follow(daemon, old_config, NULL);
		daemon->config = old_config;
		daemon->configured = old_configured;
		if (daemon->lb) {
			lb_set_config(daemon->lb, &old_config->ebpf);
			lb_attach(daemon->lb, NULL);
		}
		model_free(configured);
		config_free(config);
		return r;
	}
	model_free(old_configured);
	config_free(old_config);
	return 0;
}

int daemon_reload(struct daemon *daemon, bool reset, struct buf *complaints, struct buf *report,
		  struct err *err)
{
	struct model *configured = NULL;
	struct model *next = NULL;
	struct config *config;
	int r = config_load(daemon->options.config_paths, daemon->options.config_path_count,
			    &config, complaints);

	if (r == 0) {
		r = daemon->lb ? lb_check_config(&config->ebpf, err) : 0;
		if (r == 0)
			r = next_model(daemon, config, reset, &configured, &next, report, err);
		if (r < 0)
			config_free(config);
		else
			r = adopt_config(daemon, config, configured, next, report, err);
	} else {
		err_set(err, r, "the configuration has errors; nothing was changed");
	}
	if (r < 0) {
		daemon->reloads_failed++;
		return r;
	}
	daemon->reloads_ok++;
	daemon->last_reload_wall_s = clock_wall_s();
	log_set_level(daemon->config->log_level);
	return 0;
}

int daemon_follow_addresses(struct daemon *daemon, struct err *err)
{
	struct model *configured = NULL;
	struct model *next = NULL;
	struct model *old;
	struct buf report;
	int r = daemon_read_addresses(daemon, daemon->config, err);

	if (r <= 0)
		return r;
	buf_init(&report);
	r = next_model(daemon, daemon->config, false, &configured, &next, &report, err);
	if (r == 0) {
		old = daemon->configured;
		daemon->configured = configured;
		r = daemon_commit_observed(daemon, next, err);
		if (r < 0) {
			daemon->configured = old;
			old = configured;
		} else {
			save_later(daemon);
		}
		model_free(old);
	}
	buf_done(&report);
	return r;
}

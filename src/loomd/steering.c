/* Socket steering's life: groups from the configuration, namespaces, the two timers. */
#include "steering.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "steering_internal.h"
#include "sys/bpffs.h"
#include "sys/netns.h"

/* Members whose owner is looked at in one go. */
#define OWNER_LOOKS 500

/* A look at the kernel takes a tenth of the time at most. */
static uint64_t until_poll(const struct steering *steering)
{
	uint64_t rest = 10 * steering->poll_cost_ns;

	return rest > steering->config->steering.poll_ns ? rest
							 : steering->config->steering.poll_ns;
}

/* Nor does writing the state down take more. */
static void save_if_due(struct steering *steering)
{
	uint64_t now = clock_now_ns();

	if (!steering->save || now < steering->save_ns)
		return;
	steering_save_state(steering);
	steering->save_ns = clock_now_ns() + 10 * (clock_now_ns() - now);
}

static void on_poll(void *ctx)
{
	struct steering *steering = ctx;

	if (clock_now_ns() - steering->polled_ns < until_poll(steering) &&
	    steering_admit(steering)) {
		loop_arm(steering->poll_timer, 0);
		return;
	}
	steering_poll(steering);
	save_if_due(steering);
	loop_arm(steering->poll_timer, steering->admitting ? 0 : until_poll(steering));
}

/* A look at each owner is a call of the kernel: not so many at once that others wait. */
static void check_owners(struct steering *steering, uint64_t now)
{
	size_t looks = 0;

	if (now - steering->owners_ns < STEERING_SAMPLE_NS / 2)
		return;
	steering->owners_ns = now;
	for (size_t i = 0; i < steering->group_count && looks < OWNER_LOOKS; i++) {
		struct group *group =
			steering->groups[steering->owners_next++ % steering->group_count];

		members_check_owners(group);
		looks += group->member_count;
	}
}

static void on_sample(void *ctx)
{
	struct steering *steering = ctx;
	uint64_t now = clock_now_ns();
	uint64_t next = STEERING_SAMPLE_NS;

	report_resets(steering, now);
	check_owners(steering, now);
	for (size_t i = 0; i < steering->group_count; i++) {
		struct group *group = steering->groups[i];

		moves_sample(group, now);
		/* Several samples a window, however short those are. */
		if (group->guard_config.window_ns / 4 < next)
			next = group->guard_config.window_ns / 4;
		if (group->rollout_config.soak_ns / 2 < next)
			next = group->rollout_config.soak_ns / 2;
	}
	report_period(steering, now);
	save_if_due(steering);
	loop_arm(steering->sample_timer, next < 50 * NSEC_PER_MSEC ? 50 * NSEC_PER_MSEC : next);
}

/* ---- namespaces ---- */

struct deaths {
	const struct steering *steering;
	bool any;
};

/* Of a host's many sockets that end few are groups'. */
static void on_death(void *ctx, const struct sock_diag_death *death)
{
	struct deaths *deaths = ctx;

	deaths->any |= steering_has_port(deaths->steering, death->port);
}

static void on_deaths(void *ctx, uint32_t events)
{
	struct space *space = ctx;
	struct deaths deaths = { .steering = space->steering };

	(void)events;
	if (sock_diag_deaths_read(space->deaths, on_death, &deaths) == -ENOBUFS || deaths.any)
		loop_arm_sooner(space->steering->poll_timer, 0);
}

static void close_space(struct space *space)
{
	if (space->deaths_watch)
		loop_remove_fd(space->steering->loop, space->deaths_watch);
	sock_diag_deaths_close(space->deaths);
	for (int udp = 0; udp < 2; udp++)
		steer_truth_rows_done(&space->rows[udp]);
	if (space->fd >= 0)
		close(space->fd);
	free(space->name);
	free(space);
}

static int watch_deaths(struct space *space)
{
	struct err err = { 0 };
	int r = netns_enter(space->fd, &err);

	if (r == 0) {
		r = sock_diag_deaths_open(&space->deaths, &err);
		netns_leave();
	}
	if (r == 0)
		r = loop_add_fd(space->steering->loop, sock_diag_deaths_fd(space->deaths), EPOLLIN,
				on_deaths, space, &space->deaths_watch);
	return r;
}

static int open_space(struct steering *steering, const char *name, struct space **ret,
		      struct err *err)
{
	struct space *space = calloc(1, sizeof(*space));
	int r = -ENOMEM;

	if (!space)
		return err_set(err, r, "cannot watch a namespace: out of memory");
	space->steering = steering;
	space->fd = -1;
	space->name = strdup(name ? name : "");
	if (!space->name) {
		close_space(space);
		return err_set(err, r, "cannot watch a namespace: out of memory");
	}
	r = space->fd = netns_open(name, err);
	if (r >= 0)
		r = netns_enter(space->fd, err);
	if (r < 0) {
		close_space(space);
		return r;
	}
	netns_leave();
	if (watch_deaths(space) < 0)
		log_info("namespace %s: deaths of sockets are found by looking",
			 name ? name : "of loomd");
	*ret = space;
	return 0;
}

static int space_of(struct steering *steering, const char *name, struct space **ret,
		    struct err *err)
{
	void *spaces;
	int r;

	for (size_t i = 0; i < steering->space_count; i++)
		if (!strcmp(steering->spaces[i]->name, name ? name : "")) {
			*ret = steering->spaces[i];
			return 0;
		}
	spaces = reallocarray(steering->spaces, steering->space_count + 1,
			      sizeof(*steering->spaces));
	if (!spaces)
		return err_set(err, -ENOMEM, "cannot watch a namespace: out of memory");
	steering->spaces = spaces;
	r = open_space(steering, name, ret, err);
	if (r == 0)
		steering->spaces[steering->space_count++] = *ret;
	return r;
}

/* ---- groups ---- */

static void free_group(struct group *group, enum plane_exit how)
{
	parts_close(group, how);
	members_free(group);
	report_forget(group);
	report_end_probe(group);
	json_decref(group->saved_members);
	free(group->guard);
	free(group->rows);
	free(group);
}

static bool same_place(const struct config_steer_group *a, const struct config_steer_group *b)
{
	return a->udp == b->udp && a->port == b->port && a->any_family == b->any_family &&
	       addr_equal(&a->address, &b->address) &&
	       !strcmp(a->netns ? a->netns : "", b->netns ? b->netns : "");
}

static int new_group(struct steering *steering, const struct config_steer_group *config,
		     struct group **ret, struct err *err)
{
	struct group *group = calloc(1, sizeof(*group));
	int r = -ENOMEM;

	if (group)
		group->guard = calloc(1, sizeof(*group->guard));
	if (!group || !group->guard) {
		free(group);
		return err_set(err, r, "cannot make group %s: out of memory", config->name);
	}
	group->steering = steering;
	group->config = config;
	snprintf(group->name, sizeof(group->name), "%s", config->name);
	group->policy = config->policy;
	r = space_of(steering, config->netns, &group->space, err);
	if (r < 0) {
		err_prefix(err, "group %s", config->name);
		free_group(group, PLANE_KEEP);
		return r;
	}
	moves_configure(group);
	rollout_init(&group->rollout, &group->rollout_config, clock_now_ns());
	guard_init(group->guard, &group->guard_config);
	*ret = group;
	return 0;
}

static int by_port(const void *a, const void *b)
{
	const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;

	return x->config->port - y->config->port;
}

static int index_groups(struct steering *steering)
{
	struct group **sorted = calloc(steering->group_count + 1, sizeof(struct group *));

	if (!sorted)
		return -ENOMEM;
	if (steering->group_count)
		memcpy(sorted, steering->groups, steering->group_count * sizeof(struct group *));
	qsort(sorted, steering->group_count, sizeof(struct group *), by_port);
	free(steering->by_port);
	steering->by_port = sorted;
	for (size_t s = 0; s < steering->space_count; s++)
		memset(steering->spaces[s]->used, 0, sizeof(steering->spaces[s]->used));
	for (size_t i = 0; i < steering->group_count; i++)
		steering->groups[i]->space->used[steering->groups[i]->config->udp] = true;
	return 0;
}

static bool same_policy(const struct config_steer_policy_options *a,
			const struct config_steer_policy_options *b)
{
	return a->policy == b->policy && a->offset == b->offset && a->length == b->length &&
	       a->shift == b->shift && a->mask == b->mask &&
	       a->flow_timeout_ns == b->flow_timeout_ns && a->max_flows == b->max_flows &&
	       a->max_indices == b->max_indices;
}

static void keep_group(struct group *group, const struct config_steer_group *config)
{
	struct err err = { 0 };

	group->config = config;
	moves_configure(group);
	rollout_configure(&group->rollout, &group->rollout_config);
	guard_configure(group->guard, &group->guard_config);
	if (group->policy_overridden || same_policy(&group->policy, &config->policy))
		return;
	if (parts_load(group, &config->policy, &err) < 0)
		log_error("group %s keeps its policy: %s", group->name, err.text);
	else
		group->policy = config->policy;
}

/* The group of the running configuration that goes on as this one, taken out of the list. */
static struct group *inherit(struct steering *steering, const struct config_steer_group *config)
{
	for (size_t i = 0; i < steering->group_count; i++) {
		struct group *group = steering->groups[i];

		if (!group || strcmp(group->name, config->name) != 0 ||
		    !same_place(group->config, config))
			continue;
		steering->groups[i] = NULL;
		return group;
	}
	return NULL;
}

int steering_configure(struct steering *steering, const struct config *config, struct err *err)
{
	const struct config_steering *wanted = &config->steering;
	struct group **groups = calloc(wanted->group_count + 1, sizeof(struct group *));
	size_t made = 0;
	int r = 0;

	if (!groups)
		return err_set(err, -ENOMEM, "cannot configure steering: out of memory");
	/* What can fail comes first: groups that are new. */
	for (size_t i = 0; r == 0 && i < wanted->group_count; i++) {
		const struct config_steer_group *one = &wanted->groups[i];
		struct group *old = steering_group(steering, one->name);

		if (!old || !same_place(old->config, one)) {
			r = new_group(steering, one, &groups[i], err);
			made++;
		}
	}
	if (r < 0) {
		for (size_t i = 0; i < wanted->group_count; i++)
			if (groups[i])
				free_group(groups[i], PLANE_KEEP);
		free(groups);
		return r;
	}
	steering_trace_end(steering, "reload");
	steering_admit_anew(steering);
	for (size_t i = 0; i < wanted->group_count; i++) {
		if (groups[i])
			continue;
		groups[i] = inherit(steering, &wanted->groups[i]);
		keep_group(groups[i], &wanted->groups[i]);
	}
	for (size_t i = 0; i < steering->group_count; i++)
		if (steering->groups[i]) {
			moves_note(steering->groups[i], "operator", "removed",
				   "the configuration does not have it any more");
			free_group(steering->groups[i], PLANE_DETACH);
		}
	free(steering->groups);
	steering->groups = groups;
	steering->group_count = wanted->group_count;
	steering->config = config;
	joined_configure(steering);
	r = index_groups(steering);
	if (r < 0)
		return err_set(err, r, "cannot configure steering: out of memory");
	r = report_follow_probes(steering);
	if (r < 0)
		return err_set(err, r, "cannot configure steering: %s", strerror(-r));
	steering->save |= made > 0;
	if (steering->poll_timer)
		loop_arm(steering->poll_timer, 0);
	return 0;
}

/* ---- the whole ---- */

void steering_pin_base(const struct config *config, char base[256])
{
	snprintf(base, 256, "%.180s/steer@%.32s", config->ebpf.pin_path, config->instance);
}

static int make_state_dir(const char *dir, struct err *err)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make the state directory %s: %s", dir,
			       strerror(errno));
	return 0;
}

static int open_all(struct steering *steering, const struct config *config, struct err *err)
{
	int r;

	steering_pin_base(config, steering->pin_base);
	snprintf(steering->state_path, sizeof(steering->state_path), "%.200s/%.32s.steer.json",
		 config->state_dir, config->instance);
	snprintf(steering->audit_path, sizeof(steering->audit_path), "%.200s/%.32s.audit.jsonl",
		 config->state_dir, config->instance);
	r = make_state_dir(config->state_dir, err);
	if (r == 0)
		r = steering_open_audit(steering, err);
	if (r == 0)
		r = bpffs_ensure(steering->pin_base, err);
	if (r == 0)
		r = steer_truth_open(&steering->truth, err);
	if (r < 0)
		return r;
	steering->exact = steer_truth_is_exact(steering->truth, NULL);
	report_probe(steering);
	r = steering_configure(steering, config, err);
	if (r == 0)
		r = steering_load_state(steering, err);
	if (r == 0)
		r = loop_add_timer(steering->loop, on_poll, steering, &steering->poll_timer);
	if (r == 0)
		r = loop_add_timer(steering->loop, on_sample, steering, &steering->sample_timer);
	return r == 0 && !steering->detaching ? joined_open(steering, err) : r;
}

int steering_open(struct steering **ret, const struct steering_options *options, struct err *err)
{
	struct steering *steering = calloc(1, sizeof(*steering));
	int r;

	*ret = NULL;
	if (!steering)
		return err_set(err, -ENOMEM, "cannot open socket steering: out of memory");
	steering->loop = options->loop;
	steering->admin_soon = options->admin_soon;
	steering->admin_ctx = options->admin_ctx;
	steering->detaching = options->detaching;
	steering->audit_fd = -1;
	steering->config = options->config;
	steering_control_init(steering);
	r = open_all(steering, options->config, err);
	if (r < 0) {
		if (err && !err->text[0])
			err_set(err, r, "cannot open socket steering: %s", strerror(-r));
		steering_close(steering, PLANE_KEEP);
		return r;
	}
	steering->started = true;
	/* Who is there when we come has proved himself as far as anybody can tell. */
	steering->first_ns = steering->history_ns = clock_now_ns();
	on_poll(steering);
	on_sample(steering);
	steering->ready = true;
	*ret = steering;
	return 0;
}

void steering_close(struct steering *steering, enum plane_exit how)
{
	if (!steering)
		return;
	if (steering->started)
		steering_save_state(steering);
	steering_trace_end(steering, "shutdown");
	steering_admit_anew(steering);
	joined_close(steering);
	for (size_t i = 0; i < steering->group_count; i++)
		free_group(steering->groups[i], how);
	for (size_t i = 0; i < steering->space_count; i++)
		close_space(steering->spaces[i]);
	if (how == PLANE_DETACH && steering->pin_base[0])
		rmdir(steering->pin_base);
	steer_truth_close(steering->truth);
	report_close(steering);
	if (steering->audit_fd >= 0)
		close(steering->audit_fd);
	free(steering->spaces);
	free(steering->groups);
	free(steering->by_port);
	free(steering);
}

const struct control_steer *steering_control(struct steering *steering)
{
	return &steering->control;
}

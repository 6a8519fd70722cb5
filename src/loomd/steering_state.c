/* What outlives the daemon: how far each group was, and the audit log. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"

#define STATE_VERSION 1
#define PLACE_LEN     384

static json_t *save_policy(const struct config_steer_policy_options *policy)
{
	return json_pack("{s:s,s:i,s:i,s:i,s:I,s:I,s:I,s:I}", "name",
			 steer_policy_name((enum steer_policy)policy->policy), "offset",
			 (int)policy->offset, "length", (int)policy->length, "shift",
			 (int)policy->shift, "mask", (json_int_t)policy->mask, "flow_timeout_ns",
			 (json_int_t)policy->flow_timeout_ns, "max_flows",
			 (json_int_t)policy->max_flows, "max_indices",
			 (json_int_t)policy->max_indices);
}

static json_t *save_members(const struct group *group)
{
	json_t *members = json_array();

	/* By cookie: unique as long as the host runs. */
	for (size_t i = 0; i < group->member_count; i++) {
		const struct member *member = &group->members[i];

		if (member->view.state == STEER_QUARANTINED)
			continue;
		json_array_append_new(
			members,
			json_pack("{s:I,s:i,s:I,s:I,s:s,s:I}", "cookie",
				  (json_int_t)member->view.cookie, "state", (int)member->view.state,
				  "weight", (json_int_t)member->view.weight, "generation",
				  (json_int_t)member->view.generation, "label", member->view.label,
				  "drain_deadline_ns", (json_int_t)member->drain_deadline_ns));
	}
	return members;
}

/* Where its sockets are: elsewhere, the name is another group's. */
static void place_of(const struct config_steer_group *config, char text[PLACE_LEN])
{
	char address[ADDR_TEXT_LEN];

	snprintf(text, PLACE_LEN, "%s %s %u %.300s", config->udp ? "udp" : "tcp",
		 config->any_family ? "any" : addr_format(&config->address, address), config->port,
		 config->netns ? config->netns : "");
}

static void save_place(const struct group *group, json_t *saved)
{
	char text[PLACE_LEN];

	place_of(group->config, text);
	json_object_set_new(saved, "place", json_string(text));
}

static json_t *save_group(const struct group *group)
{
	char point[ROLLOUT_POINT_LEN], highest[ROLLOUT_POINT_LEN], target[ROLLOUT_POINT_LEN];
	json_t *saved =
		json_pack("{s:s,s:s,s:s,s:b,s:b,s:b,s:b,s:i,s:o}", "name", group->name, "point",
			  rollout_point_print(rollout_point(&group->rollout), point), "highest",
			  rollout_point_print(group->rollout.highest, highest), "frozen",
			  group->rollout.frozen, "fallback", group->rollout.fallback, "reverted",
			  group->rollout.reverted, "detached", group->detached, "fallback_by",
			  (int)group->rollout.fallback_by, "members", save_members(group));

	save_place(group, saved);
	if (group->rollout.held)
		json_object_set_new(
			saved, "held_at",
			json_string(rollout_point_print(group->rollout.target, target)));
	json_object_set_new(saved, group->policy_overridden ? "policy" : "configured_policy",
			    save_policy(&group->policy));
	return saved;
}

static int write_file(const char *path, const char *text)
{
	char temporary[320];
	FILE *file;
	int r = 0;

	snprintf(temporary, sizeof(temporary), "%.300s.new", path);
	file = fopen(temporary, "we");
	if (!file)
		return -errno;
	if (fputs(text, file) < 0 || fflush(file) != 0 || fsync(fileno(file)) < 0)
		r = -errno;
	if (fclose(file) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}

void steering_save_state(struct steering *steering)
{
	json_t *groups = json_array();
	json_t *root;
	char *text;
	int r = -ENOMEM;

	for (size_t i = 0; i < steering->group_count; i++)
		json_array_append_new(groups, save_group(steering->groups[i]));
	root = json_pack("{s:i,s:o}", "version", STATE_VERSION, "groups", groups);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	if (text)
		r = write_file(steering->state_path, text);
	free(text);
	if (r < 0 && !steering->unsaved)
		log_error("cannot save %s: %s; it is tried again, until then a restart begins at "
			  "what was saved before",
			  steering->state_path, strerror(-r));
	if (r == 0 && steering->unsaved)
		log_notice("saved %s again", steering->state_path);
	steering->unsaved = steering->save = r < 0;
}

static bool load_policy(json_t *from, struct config_steer_policy_options *ret)
{
	json_int_t mask = 0, timeout = 0, flows = 0, indices = 0;
	int offset = 0, length = 0, shift = 0;
	const char *name;

	if (!from ||
	    json_unpack(from, "{s:s,s:i,s:i,s:i,s:I,s:I,s:I,s:I}", "name", &name, "offset", &offset,
			"length", &length, "shift", &shift, "mask", &mask, "flow_timeout_ns",
			&timeout, "max_flows", &flows, "max_indices", &indices) < 0)
		return false;
	for (int i = STEER_HASH; i <= STEER_GENERATION; i++)
		if (!strcmp(name, steer_policy_name((enum steer_policy)i))) {
			*ret = (struct config_steer_policy_options){
				.policy = (enum config_steer_policy)i,
				.offset = (uint16_t)offset,
				.length = (uint8_t)length,
				.shift = (uint8_t)shift,
				.mask = (uint32_t)mask,
				.flow_timeout_ns = (uint64_t)timeout,
				.max_flows = (uint32_t)flows,
				.max_indices = (uint32_t)indices,
			};
			return true;
		}
	return false;
}

/* A policy that the configuration has changed meanwhile is not proven yet. */
static void follow_policy(struct group *group, json_t *from, struct rollout *saved)
{
	struct config_steer_policy_options was;

	group->policy_overridden = load_policy(json_object_get(from, "policy"), &group->policy);
	if (group->policy_overridden ||
	    !load_policy(json_object_get(from, "configured_policy"), &was) ||
	    steering_same_policy(&was, &group->policy))
		return;
	group->unproven = true;
	if (saved->state <= ROLLOUT_SHADOW)
		return;
	log_notice("group %s: goes back to shadow: the configuration has another policy",
		   group->name);
	saved->state = ROLLOUT_SHADOW;
	saved->canary_permille = 0;
}

static bool is_elsewhere(const struct group *group, json_t *from)
{
	const char *was = json_string_value(json_object_get(from, "place"));
	char is[PLACE_LEN];

	place_of(group->config, is);
	return was && strcmp(was, is) != 0;
}

/* What an operator held back stays so. */
static void load_hold(json_t *from, struct rollout *saved)
{
	const char *target = json_string_value(json_object_get(from, "held_at"));

	saved->held = target && rollout_point_parse(target, &saved->target, NULL) == 0;
}

static void load_group(struct steering *steering, json_t *from)
{
	const char *name, *point, *highest;
	int frozen, fallback, reverted, detached, by;
	struct rollout saved = { 0 };
	struct rollout_point at, top;
	struct group *group;

	if (json_unpack(from, "{s:s,s:s,s:s,s:b,s:b,s:b,s:b,s:i}", "name", &name, "point", &point,
			"highest", &highest, "frozen", &frozen, "fallback", &fallback, "reverted",
			&reverted, "detached", &detached, "fallback_by", &by) < 0)
		return;
	group = steering_group(steering, name);
	if (!group || rollout_point_parse(point, &at, NULL) < 0 ||
	    rollout_point_parse(highest, &top, NULL) < 0)
		return;
	group->moved = is_elsewhere(group, from);
	if (group->moved)
		return;
	saved.state = at.state;
	saved.canary_permille = at.permille;
	saved.highest = top;
	saved.frozen = frozen;
	saved.fallback = fallback;
	saved.fallback_by = (enum rollout_actor)by;
	saved.reverted = reverted;
	load_hold(from, &saved);
	follow_policy(group, from, &saved);
	rollout_adopt(&group->rollout, &saved, clock_now_ns());
	group->detached = detached;
	json_decref(group->saved_members);
	group->saved_members = json_incref(json_object_get(from, "members"));
}

bool state_of_member(const struct group *group, struct member *member)
{
	json_t *row;
	size_t i;

	json_array_foreach(group->saved_members, i, row)
	{
		json_int_t cookie, weight, generation;
		const char *label;
		int state;

		if (json_unpack(row, "{s:I,s:i,s:I,s:I,s:s}", "cookie", &cookie, "state", &state,
				"weight", &weight, "generation", &generation, "label",
				&label) < 0 ||
		    (uint64_t)cookie != member->view.cookie)
			continue;
		/* Of this boot, as the cookie is. */
		member->drain_deadline_ns =
			(uint64_t)json_integer_value(json_object_get(row, "drain_deadline_ns"));
		member->view.weight = (uint32_t)weight;
		member->view.generation = (uint32_t)generation;
		snprintf(member->view.label, sizeof(member->view.label), "%s", label);
		if (state == STEER_ACTIVE || state == STEER_DRAINING || state == STEER_DRAINED)
			member->view.state = (enum steer_member_state)state;
		return true;
	}
	return false;
}

int steering_load_state(struct steering *steering, struct err *err)
{
	json_error_t error;
	json_t *root, *row;
	int version = 0;
	size_t i;

	if (access(steering->state_path, F_OK) < 0)
		return 0;
	root = json_load_file(steering->state_path, JSON_REJECT_DUPLICATES, &error);
	if (!root || json_unpack(root, "{s:i}", "version", &version) < 0 ||
	    version != STATE_VERSION || !json_is_array(json_object_get(root, "groups"))) {
		json_decref(root);
		return err_set(err, -EBADMSG,
			       "cannot read %s: %s; move it away to begin at the configuration's "
			       "state",
			       steering->state_path,
			       root ? "not a state of this version" : error.text);
	}
	json_array_foreach(json_object_get(root, "groups"), i, row)
	{
		load_group(steering, row);
	}
	json_decref(root);
	return 0;
}

int steering_open_audit(struct steering *steering, struct err *err)
{
	struct stat status;
	char last = '\n';

	steering->audit_fd = open(steering->audit_path,
				  O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (steering->audit_fd < 0)
		return err_set(err, -errno, "cannot open the audit log %s: %s",
			       steering->audit_path, strerror(errno));
	if (fstat(steering->audit_fd, &status) == 0 && status.st_size)
		steering->audit_torn = pread(steering->audit_fd, &last, 1, status.st_size - 1) ==
					       1 &&
				       last != '\n';
	return 0;
}

/* One write a line: appended whole, whoever else writes.  What a full disk has cut off spoils no
 * line but its own. */
static void append(struct steering *steering, const char *text)
{
	struct buf out;
	ssize_t n;

	buf_init(&out);
	buf_printf(&out, "%s%s\n", steering->audit_torn ? "\n" : "", text);
	if (!buf_failed(&out)) {
		n = write(steering->audit_fd, out.data, out.len);
		if (n > 0)
			steering->audit_torn = (size_t)n < out.len;
		if (n < 0 || (size_t)n < out.len)
			log_error("cannot write to %s: %s", steering->audit_path,
				  strerror(n < 0 ? errno : ENOSPC));
	}
	buf_done(&out);
}

void steering_audit(struct steering *steering, json_t *line)
{
	struct timespec now;
	char second[32], stamp[48];
	struct tm when;
	char *text;

	if (!line)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &when);
	strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S", &when);
	snprintf(stamp, sizeof(stamp), "%s.%03uZ", second, (unsigned int)(now.tv_nsec / 1000000));
	json_object_set_new(line, "at", json_string(stamp));
	text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	if (!text)
		return;
	if (steering->audit_fd >= 0)
		append(steering, text);
	free(text);
}

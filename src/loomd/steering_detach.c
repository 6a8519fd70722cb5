/* What an instance left of its steering groups: loomd detach, and what the configuration does not
 * have any more when the next loomd starts. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "state.h"
#include "steering_internal.h"

/* Both families, and what they steered: cookies[2 * STEER_RETIRED_MAX].
 * The program stays on its sockets: nobody knows them any more.  It does nothing. */
static size_t sweep_group(const char *base, const char *name, uint64_t *cookies)
{
	char dir[600], part[620];
	size_t count = 0;

	snprintf(dir, sizeof(dir), "%.300s/%.255s", base, name);
	for (const char *family = "46"; *family; family++) {
		snprintf(part, sizeof(part), "%s/%c", dir, *family);
		count += steer_retire_pinned(part, cookies + count);
	}
	rmdir(dir);
	return count;
}

static void sweep(const char *base)
{
	uint64_t cookies[2 * STEER_RETIRED_MAX];
	DIR *dir = opendir(base);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			sweep_group(base, entry->d_name, cookies);
	if (dir)
		closedir(dir);
	rmdir(base);
}

static void retire(struct steering *steering, const char *name)
{
	size_t room = steering->retired_count + 2 * (size_t)STEER_RETIRED_MAX;
	uint64_t *cookies = reallocarray(steering->retired, room, sizeof(*cookies));

	if (!cookies)
		return;
	steering->retired = cookies;
	steering->retired_count += sweep_group(steering->pin_base, name,
					       cookies + steering->retired_count);
	log_notice("group %s of an earlier configuration is retired: its sockets are plain Linux's",
		   name);
}

void steering_retire(struct steering *steering)
{
	DIR *dir = opendir(steering->pin_base);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const struct group *group = steering_group(steering, entry->d_name);

		if (entry->d_name[0] != '.' && (!group || group->moved))
			retire(steering, entry->d_name);
	}
	if (dir)
		closedir(dir);
}

static int detach(const struct config *config, const char *base, struct err *err)
{
	struct steering_options options = { .config = config, .detaching = true };
	struct steering *steering;
	struct loop *loop;
	int r = loop_new(&loop);

	if (r < 0)
		return err_set(err, r, "cannot detach: %s", strerror(-r));
	options.loop = loop;
	r = steering_open(&steering, &options, err);
	if (r == 0)
		steering_close(steering, PLANE_DETACH);
	loop_free(loop);
	if (r == 0)
		sweep(base);
	return r;
}

int steering_detach(const struct config *config, struct err *err)
{
	char base[256], state_path[300];
	int lock, r;

	steering_pin_base(config, base);
	if (access(base, F_OK) < 0)
		return 0;
	/* Who runs would put back what is taken away here. */
	snprintf(state_path, sizeof(state_path), "%.200s/%.32s.json", config->state_dir,
		 config->instance);
	lock = state_lock(state_path, err);
	if (lock < 0)
		return lock;
	r = detach(config, base, err);
	close(lock);
	return r;
}

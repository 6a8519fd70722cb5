/* loomd detach: what an instance left of its steering groups, those that the configuration does not
 * have any more among them. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state.h"
#include "steering_internal.h"

/* The program stays on its sockets: nobody knows them any more.  It does nothing. */
static void sweep_group(const char *base, const char *name)
{
	char dir[600], part[620];

	snprintf(dir, sizeof(dir), "%.300s/%.255s", base, name);
	for (const char *family = "46"; *family; family++) {
		snprintf(part, sizeof(part), "%s/%c", dir, *family);
		steer_fallback_pinned(part, NULL);
		steer_unpin(part);
	}
	rmdir(dir);
}

static void sweep(const char *base)
{
	DIR *dir = opendir(base);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			sweep_group(base, entry->d_name);
	if (dir)
		closedir(dir);
	rmdir(base);
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

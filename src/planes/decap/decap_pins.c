/* What is pinned, and how it is replaced: prepared under other names, then renamed. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decap_internal.h"

#define NEW_PREFIX "new_" /* bpffs takes no dots in names */

static const char *const pin_names[DECAP_PIN_COUNT] = {
#define DECAP_PIN_NAME(name, text) [DECAP_PIN_##name] = text,
	DECAP_PINS(DECAP_PIN_NAME)
#undef DECAP_PIN_NAME
};

static const char *pin_path(const char *pin_dir, const char *prefix, enum decap_pin pin,
			    char path[DECAP_PATH_SIZE])
{
	snprintf(path, DECAP_PATH_SIZE, "%s/%s%s", pin_dir, prefix, pin_names[pin]);
	return path;
}

int decap_pins_lock(const char *pin_dir, struct err *err)
{
	int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	int r;

	if (fd < 0) {
		r = -errno;
		return r == -ENOENT ? r
				    : err_set(err, r, "cannot open %s: %s; run this as root",
					      pin_dir, strerror(-r));
	}
	if (flock(fd, LOCK_EX) < 0) {
		r = -errno;
		close(fd);
		return err_set(err, r, "cannot lock %s: %s; try again", pin_dir, strerror(-r));
	}
	/* Who had the lock may have removed the directory. */
	if (fstat(fd, &status) == 0 && status.st_nlink == 0) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}

int decap_pins_open(const char *pin_dir, enum decap_pin pin)
{
	char path[DECAP_PATH_SIZE];
	int fd = bpf_obj_get(pin_path(pin_dir, "", pin, path));

	return fd < 0 ? -errno : fd;
}

int decap_pins_prepare(const char *pin_dir, enum decap_pin pin, int fd, struct err *err)
{
	char path[DECAP_PATH_SIZE];
	int r;

	pin_path(pin_dir, NEW_PREFIX, pin, path);
	unlink(path); /* of a process that was killed here */
	if (bpf_obj_pin(fd, path) == 0)
		return 0;
	r = -errno;
	return err_set(err, r, "cannot pin %s: %s; choose another --pin-path", path, strerror(-r));
}

int decap_pins_commit(const char *pin_dir, struct err *err)
{
	char from[DECAP_PATH_SIZE];
	char to[DECAP_PATH_SIZE];
	int r;

	for (int pin = 0; pin < DECAP_PIN_COUNT; pin++) {
		if (rename(pin_path(pin_dir, NEW_PREFIX, pin, from),
			   pin_path(pin_dir, "", pin, to)) == 0)
			continue;
		r = -errno;
		return err_set(err, r, "cannot rename %s: %s; set it up once more", from,
			       strerror(-r));
	}
	return 0;
}

static void remove_all(const char *pin_dir, const char *prefix)
{
	char path[DECAP_PATH_SIZE];

	for (int pin = 0; pin < DECAP_PIN_COUNT; pin++)
		unlink(pin_path(pin_dir, prefix, pin, path));
}

void decap_pins_abandon(const char *pin_dir)
{
	remove_all(pin_dir, NEW_PREFIX);
	rmdir(pin_dir); /* goes if nothing was there before */
}

void decap_pins_remove(const char *pin_dir)
{
	remove_all(pin_dir, "");
	decap_pins_abandon(pin_dir);
}

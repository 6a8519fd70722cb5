#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_VERSION 1
#define STATE_MAX     (64u << 20)

static const char *const kind_names[] = { "added", "set", "gone" };

/* ---- writing ---- */

static json_t *encode_change(const struct model_change *change)
{
	const struct backend *b = &change->backend;
	char text[ADDR_TEXT_LEN];

	return json_pack("{s:s, s:s, s:I, s:s, s:i, s:I, s:s, s:s, s:I}", "change",
			 kind_names[change->kind], "service", change->service, "id",
			 (json_int_t)b->id, "address", addr_format(&b->address, text), "port",
			 (int)b->port, "weight", (json_int_t)b->weight, "state",
			 backend_state_name(b->state), "origin",
			 b->origin == BACKEND_FROM_API ? "api" : "config", "deadline",
			 (json_int_t)b->deadline_wall_s);
}

static char *encode(const struct model_changes *changes)
{
	json_t *list = json_array();
	json_t *root;
	char *text;

	for (size_t i = 0; list && i < changes->count; i++)
		if (json_array_append_new(list, encode_change(&changes->list[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	root = json_pack("{s:i, s:o}", "version", STATE_VERSION, "changes", list);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	return text;
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		length -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int make_directories(const char *dir)
{
	char part[512];
	size_t length = strlen(dir);

	if (length >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= length; i++) {
		if (dir[i] != '/' && dir[i] != '\0')
			continue;
		memcpy(part, dir, i);
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int replace_file(const char *path, const char *dir, const char *text)
{
	char temporary[600];
	int fd;
	int r = make_directories(dir);

	if (r < 0)
		return r;
	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, strlen(text));
	close(fd);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return sync_directory(dir);
}

int state_lock(const char *path, struct err *err)
{
	char lock[600];
	char *copy = strdup(path);
	int r = copy ? make_directories(dirname(copy)) : -ENOMEM;
	int fd = -1;

	free(copy);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	if (r == 0)
		fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r == 0 && fd < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r, "cannot open %s: %s; see state_dir", lock, strerror(-r));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return err_set(
			err, -EBUSY,
			"cannot start: another loomd runs this instance (%s is locked); stop it, "
			"or give this one another 'instance'",
			lock);
	}
	return fd;
}

int state_save(const char *path, const struct model_changes *changes, struct err *err)
{
	char *text = encode(changes);
	char *copy = strdup(path);
	int r = text && copy ? replace_file(path, dirname(copy), text) : -ENOMEM;

	free(copy);
	free(text);
	if (r < 0)
		return err_set(err, r, "cannot save %s: %s; the change was taken back", path,
			       strerror(-r));
	return 0;
}

/* ---- reading ---- */

static int parse_name(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

static int parse_state(const char *name)
{
	for (int i = BACKEND_ACTIVE; i <= BACKEND_RESET; i++)
		if (!strcmp(name, backend_state_name(i)))
			return i;
	return -1;
}

/* Returns 0, -EBADMSG or -ENOMEM. */
static int decode_change(json_t *item, struct model_changes *changes)
{
	const char *change;
	const char *service;
	const char *address;
	const char *state;
	const char *origin;
	json_int_t id;
	json_int_t weight;
	json_int_t deadline;
	struct backend backend = { 0 };
	int port;
	int kind;
	int parsed;

	if (json_unpack(item, "{s:s, s:s, s:I, s:s, s:i, s:I, s:s, s:s, s:I !}", "change", &change,
			"service", &service, "id", &id, "address", &address, "port", &port,
			"weight", &weight, "state", &state, "origin", &origin, "deadline",
			&deadline) < 0)
		return -EBADMSG;
	kind = parse_name(change, kind_names, 3);
	parsed = parse_state(state);
	if (kind < 0 || parsed < 0 || addr_parse(address, &backend.address) < 0 || id < 1 ||
	    id > UINT32_MAX || port < 0 || port > 65535 || weight < 0 || weight > 65535 ||
	    deadline < 0)
		return -EBADMSG;
	backend.id = (uint32_t)id;
	backend.port = (uint16_t)port;
	backend.weight = (uint32_t)weight;
	backend.state = (enum backend_state)parsed;
	backend.origin = strcmp(origin, "api") ? BACKEND_FROM_CONFIG : BACKEND_FROM_API;
	backend.deadline_wall_s = deadline;
	return model_changes_add(changes, service, (enum model_change_kind)kind, &backend);
}

static int decode(json_t *root, struct model_changes *changes, struct err *err)
{
	json_t *list;
	json_t *item;
	size_t i;
	int version;
	int r;

	if (json_unpack(root, "{s:i, s:o !}", "version", &version, "changes", &list) < 0 ||
	    !json_is_array(list))
		return err_set(err, -EBADMSG, "it has not the form of a state file");
	if (version != STATE_VERSION)
		return err_set(err, -EBADMSG, "its version is %d, this loomd writes %d", version,
			       STATE_VERSION);
	json_array_foreach(list, i, item)
	{
		r = decode_change(item, changes);
		if (r == -EBADMSG)
			return err_set(err, r, "change %zu cannot be understood", i + 1);
		if (r < 0)
			return err_set(err, r, "out of memory");
	}
	return 0;
}

int state_parse(const char *text, size_t size, struct model_changes **ret, struct err *err)
{
	struct model_changes *changes = calloc(1, sizeof(*changes));
	json_error_t where;
	json_t *root;
	int r;

	*ret = NULL;
	if (!changes)
		return err_set(err, -ENOMEM, "out of memory");
	root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
	if (root)
		r = decode(root, changes, err);
	else
		r = err_set(err, -EBADMSG, "line %d: %s", where.line, where.text);
	json_decref(root);
	if (r < 0) {
		model_changes_free(changes);
		return r;
	}
	*ret = changes;
	return 0;
}

/* The whole file; NUL-terminated.  -EFBIG above STATE_MAX. */
static int read_file(const char *path, char **ret, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_size > (off_t)STATE_MAX)
		r = -EFBIG;
	*ret = r == 0 ? malloc((size_t)st.st_size + 1) : NULL;
	if (r == 0 && !*ret)
		r = -ENOMEM;
	if (r == 0) {
		n = read(fd, *ret, (size_t)st.st_size);
		r = n < 0 ? -errno : 0;
		*ret_size = n < 0 ? 0 : (size_t)n;
		(*ret)[*ret_size] = '\0';
	}
	close(fd);
	return r;
}

int state_load(const char *path, struct model_changes **ret, struct err *err)
{
	struct err why = { 0 };
	char *text = NULL;
	size_t size = 0;
	int r = read_file(path, &text, &size);

	*ret = NULL;
	if (r == -ENOENT)
		return r;
	if (r < 0)
		err_set(&why, r, "%s", strerror(-r));
	else
		r = state_parse(text, size, ret, &why);
	free(text);
	if (r < 0)
		return err_set(err, r,
			       "cannot read %s: %s; repair it, or remove it to forget the changes",
			       path, why.text);
	return 0;
}

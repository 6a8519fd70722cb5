#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

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

static json_t *encode(const struct model_changes *changes)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < changes->count; i++)
		if (json_array_append_new(list, encode_change(&changes->list[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return json_pack("{s:i, s:o}", "version", STATE_VERSION, "changes", list);
}

static int append(const char *text, size_t length, void *buf)
{
	buf_append(buf, text, length);
	return buf_failed(buf) ? -1 : 0;
}

/* json_dumps() of jansson 2.14 overlooks a key that it had no memory for; buf remembers. */
static char *encode_text(const struct model_changes *changes)
{
	json_t *root = encode(changes);
	struct buf buf;

	buf_init(&buf);
	if (!root || json_dump_callback(root, append, &buf, JSON_INDENT(1)) < 0)
		buf.failed = true;
	json_decref(root);
	return buf_take(&buf);
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
	char part[PATH_MAX];
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

/* A file of ours alone: what an earlier run left half-written, or somebody put there, goes first.
 */
static int open_temporary(const char *path)
{
	int fd;

	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static int replace_file(const char *path, const char *dir, const char *text)
{
	char temporary[PATH_MAX];
	int fd;
	int r = make_directories(dir);

	if (r < 0)
		return r;
	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open_temporary(temporary);
	if (fd < 0)
		return fd;
	r = write_all(fd, text, strlen(text));
	if (close(fd) < 0 && r == 0)
		r = -errno;
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

void state_announce(int lock_fd)
{
	if (ftruncate(lock_fd, 0) < 0 || dprintf(lock_fd, "%d\n", (int)getpid()) < 0)
		log_warning("cannot write the process id into the lock file: %s; 'loomd upgrade' "
			    "will not find this daemon",
			    strerror(errno));
}

int state_owner(const char *path, pid_t *ret, struct timespec *ret_since)
{
	char lock[600];
	char text[32] = "";
	struct stat st;
	int fd;
	int r;

	snprintf(lock, sizeof(lock), "%s.lock", path);
	fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	/* What is not held is what a dead daemon left. */
	r = flock(fd, LOCK_SH | LOCK_NB) == 0 ? -ESRCH : errno == EWOULDBLOCK ? 0 : -errno;
	if (r == 0 && (read(fd, text, sizeof(text) - 1) < 0 || fstat(fd, &st) < 0))
		r = -errno;
	if (r == 0)
		*ret_since = st.st_mtim;
	close(fd);
	*ret = (pid_t)strtol(text, NULL, 10);
	return r < 0 ? r : *ret > 1 ? 0 : -ESRCH;
}

int state_save(const char *path, const struct model_changes *changes, struct err *err)
{
	char *text = encode_text(changes);
	char *copy = strdup(path);
	int r = text && copy ? replace_file(path, dirname(copy), text) : -ENOMEM;

	free(copy);
	free(text);
	if (r < 0)
		return err_set(err, r, "cannot save %s: %s", path, strerror(-r));
	return 0;
}

/* ---- reading ---- */

static bool is_service_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return length && !name[length];
}

static int parse_kind(const char *name, enum model_change_kind *ret)
{
	for (int i = CHANGE_ADDED; i <= CHANGE_GONE; i++) {
		if (strcmp(name, kind_names[i]) != 0)
			continue;
		*ret = (enum model_change_kind)i;
		return 0;
	}
	return -EINVAL;
}

static int parse_origin(const char *name, enum backend_origin *ret)
{
	*ret = strcmp(name, "api") == 0 ? BACKEND_FROM_API : BACKEND_FROM_CONFIG;
	return *ret == BACKEND_FROM_API || !strcmp(name, "config") ? 0 : -EINVAL;
}

/* A change as the file has it: whole numbers are checked before they are narrowed. */
struct raw_change {
	const char *kind;
	const char *service;
	const char *address;
	const char *state;
	const char *origin;
	json_int_t id;
	json_int_t port;
	json_int_t weight;
	json_int_t deadline;
};

/* Returns the member that is wrong, or NULL with *ret_kind and *ret_backend set. */
static const char *check_change(const struct raw_change *raw, enum model_change_kind *ret_kind,
				struct backend *ret_backend)
{
	if (parse_kind(raw->kind, ret_kind) < 0)
		return "change";
	if (!is_service_name(raw->service))
		return "service";
	if (addr_parse(raw->address, &ret_backend->address) < 0)
		return "address";
	if (backend_state_parse(raw->state, &ret_backend->state) < 0)
		return "state";
	if (parse_origin(raw->origin, &ret_backend->origin) < 0)
		return "origin";
	if (raw->id < 1 || raw->id > UINT32_MAX)
		return "id";
	if (raw->port < 0 || raw->port > UINT16_MAX)
		return "port";
	if (raw->weight < 0 || raw->weight > BACKEND_WEIGHT_MAX)
		return "weight";
	if (raw->deadline < 0)
		return "deadline";
	ret_backend->id = (uint32_t)raw->id;
	ret_backend->port = (uint16_t)raw->port;
	ret_backend->weight = (uint32_t)raw->weight;
	ret_backend->deadline_wall_s = raw->deadline;
	return NULL;
}

static int decode_change(json_t *item, size_t number, struct model_changes *changes,
			 struct err *err)
{
	struct backend backend;
	struct raw_change raw;
	enum model_change_kind kind;
	json_error_t where;
	const char *wrong;

	memset(&backend, 0, sizeof(backend));
	if (json_unpack_ex(item, &where, 0, "{s:s, s:s, s:I, s:s, s:I, s:I, s:s, s:s, s:I !}",
			   "change", &raw.kind, "service", &raw.service, "id", &raw.id, "address",
			   &raw.address, "port", &raw.port, "weight", &raw.weight, "state",
			   &raw.state, "origin", &raw.origin, "deadline", &raw.deadline) < 0)
		return err_set(err, -EBADMSG, "change %zu: %s", number, where.text);
	wrong = check_change(&raw, &kind, &backend);
	if (wrong)
		return err_set(err, -EBADMSG, "change %zu: %s has no value it can have", number,
			       wrong);
	if (model_changes_add(changes, raw.service, kind, &backend) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int decode(json_t *root, struct model_changes *changes, struct err *err)
{
	json_error_t where;
	json_int_t version;
	json_t *list;
	json_t *item;
	size_t i;
	int r = 0;

	/* The version first: another one may have another form. */
	if (json_unpack_ex(root, &where, 0, "{s:I}", "version", &version) < 0)
		return err_set(err, -EBADMSG, "%s", where.text);
	if (version != STATE_VERSION)
		return err_set(err, -EBADMSG, "its version is %lld, this loomd knows %d",
			       (long long)version, STATE_VERSION);
	if (json_unpack_ex(root, &where, 0, "{s:I, s:o !}", "version", &version, "changes", &list) <
	    0)
		return err_set(err, -EBADMSG, "%s", where.text);
	if (!json_is_array(list))
		return err_set(err, -EBADMSG, "changes is not a list");
	json_array_foreach(list, i, item)
	{
		r = decode_change(item, i + 1, changes, err);
		if (r < 0)
			break;
	}
	return r;
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
	else if (!where.text[0]) /* how jansson tells that it had no memory */
		r = err_set(err, -ENOMEM, "out of memory");
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

/* Up to size bytes; a file that shrinks meanwhile gives less. */
static ssize_t read_all(int fd, char *text, size_t size)
{
	size_t length = 0;

	while (length < size) {
		ssize_t n = read(fd, text + length, size - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		length += (size_t)n;
	}
	return (ssize_t)length;
}

/* The whole file.  -EBADMSG: it is no file, or above STATE_MAX. */
static int read_file(const char *path, char **ret, size_t *ret_size, struct err *err)
{
	/* A FIFO in its place must not hold up the daemon. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return err_set(err, -errno, "%s", strerror(errno));
	if (fstat(fd, &st) < 0)
		r = err_set(err, -errno, "%s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		r = err_set(err, -EBADMSG, "it is not a file");
	else if (st.st_size > (off_t)STATE_MAX)
		r = err_set(err, -EBADMSG, "it is larger than %u MiB", STATE_MAX >> 20);
	*ret = r == 0 ? malloc((size_t)st.st_size + 1) : NULL;
	if (r == 0 && !*ret)
		r = err_set(err, -ENOMEM, "out of memory");
	if (r == 0) {
		n = read_all(fd, *ret, (size_t)st.st_size);
		if (n < 0)
			r = err_set(err, (int)n, "%s", strerror((int)-n));
		*ret_size = n < 0 ? 0 : (size_t)n;
	}
	close(fd);
	return r;
}

void state_set_aside(const char *path)
{
	char aside[PATH_MAX];

	snprintf(aside, sizeof(aside), "%s.bad", path);
	if (rename(path, aside) < 0)
		log_warning("cannot keep it as %s: %s", aside, strerror(errno));
	else
		log_notice("it is kept as %s", aside);
}

int state_load(const char *path, struct model_changes **ret, struct err *err)
{
	struct err why = { 0 };
	char *text = NULL;
	size_t size = 0;
	int r = read_file(path, &text, &size, &why);

	*ret = NULL;
	if (r == 0)
		r = state_parse(text, size, ret, &why);
	free(text);
	if (r < 0 && r != -ENOENT)
		err_set(err, r, "cannot read %s: %s; repair it, or remove it to forget the changes",
			path, why.text);
	return r;
}

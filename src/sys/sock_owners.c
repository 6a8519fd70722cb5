#include "sock_owners.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pidfd.h"

/* ---- who a process is ---- */

/* Reads a file of /proc, cut to size, as text.  Returns its length or -errno. */
static ssize_t read_text(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	text[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

/* Into ret[size], harmless in a terminal and in JSON. */
static void copy_printable(const char *text, size_t length, char *ret, size_t size)
{
	if (length >= size)
		length = size - 1;
	for (size_t i = 0; i < length; i++)
		ret[i] = isascii(text[i]) && isprint(text[i]) ? text[i] : '?';
	ret[length] = '\0';
}

static void read_exe(pid_t pid, char *ret, size_t size)
{
	static const char deleted[] = " (deleted)"; /* replaced since by an upgrade */
	const size_t tail = sizeof(deleted) - 1;
	char path[64], target[4096];
	const char *name;
	ssize_t n;

	ret[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	if ((size_t)n > tail && !strcmp(target + n - tail, deleted))
		target[(size_t)n - tail] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	copy_printable(name, strlen(name), ret, size);
}

/* Field 22 of /proc/PID/stat; the second may hold anything but ends with the last ")". */
static uint64_t start_of(const char *stat)
{
	const char *at = strrchr(stat, ')');

	for (int field = 2; at && field < 22; field++) {
		at = strchr(at, ' ');
		if (at)
			at++;
	}
	return at ? strtoull(at, NULL, 10) : 0;
}

static bool ends_with(const char *text, size_t length, const char *suffix)
{
	size_t tail = strlen(suffix);

	return length > tail && !memcmp(text + length - tail, suffix, tail);
}

/* Of one line's path. */
static void unit_of_path(const char *path, char *unit, size_t size)
{
	while (*path == '/') {
		const char *name = path + 1;
		size_t length = strcspn(name, "/\n");

		if (ends_with(name, length, ".service") || ends_with(name, length, ".scope")) {
			/* systemd puts "_" before names that the kernel would take for its own. */
			bool is_escaped = name[0] == '_';

			copy_printable(name + is_escaped, length - is_escaped, unit, size);
			return;
		}
		path = name + length;
	}
}

void sock_owners_unit(const char *cgroup, char *unit, size_t size)
{
	unit[0] = '\0';
	/* Lines are "0::PATH" or, of a v1 hierarchy, "1:name=systemd:PATH". */
	for (const char *line = cgroup; line && *line && !unit[0];) {
		const char *controllers = strchr(line, ':');
		const char *end = strchr(line, '\n');

		if (!controllers || (end && controllers > end))
			return;
		if (!strncmp(controllers, "::", 2))
			unit_of_path(controllers + 2, unit, size);
		else if (!strncmp(controllers, ":name=systemd:", 14))
			unit_of_path(controllers + 14, unit, size);
		line = end ? end + 1 : NULL;
	}
}

int sock_process_read(pid_t pid, struct sock_process *ret)
{
	char text[4096] = "";
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	ret->pid = pid;
	if (read_text(pid, "stat", text, sizeof(text)) <= 0)
		return -ESRCH;
	ret->start_ticks = start_of(text);
	n = read_text(pid, "comm", text, sizeof(text));
	if (n > 0)
		copy_printable(text, (size_t)n - (text[n - 1] == '\n'), ret->comm,
			       sizeof(ret->comm));
	read_exe(pid, ret->exe, sizeof(ret->exe));
	if (read_text(pid, "cgroup", text, sizeof(text)) > 0)
		sock_owners_unit(text, ret->unit, sizeof(ret->unit));
	return 0;
}

/* ---- the scan ---- */

struct scan {
	const uint64_t *inodes;
	size_t inode_count;
	struct sock_owners *owners;
	size_t process_room;
	size_t hold_room;
};

static int compare_inodes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int compare_holds(const void *a, const void *b)
{
	const struct sock_hold *x = a;
	const struct sock_hold *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	return (x->fd > y->fd) - (x->fd < y->fd);
}

/* Room for one more of size bytes. */
static int grow(void **array, size_t count, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 64;
	void *larger;

	if (count < *room)
		return 0;
	larger = reallocarray(*array, more, size);
	if (!larger)
		return -ENOMEM;
	*array = larger;
	*room = more;
	return 0;
}

static int note_socket(void *ctx, int fd, uint64_t inode)
{
	struct scan *scan = ctx;
	struct sock_owners *owners = scan->owners;

	if (!bsearch(&inode, scan->inodes, scan->inode_count, sizeof(inode), compare_inodes))
		return 0;
	if (grow((void **)&owners->holds, owners->hold_count, &scan->hold_room,
		 sizeof(*owners->holds)) < 0)
		return -ENOMEM;
	owners->holds[owners->hold_count++] =
		(struct sock_hold){ inode, (uint32_t)owners->process_count, fd };
	return 0;
}

/* Whose holds are those from number before on, if there are any. */
static int note_process(struct scan *scan, pid_t pid, size_t before)
{
	struct sock_owners *owners = scan->owners;

	if (owners->hold_count == before)
		return 0;
	if (grow((void **)&owners->processes, owners->process_count, &scan->process_room,
		 sizeof(*owners->processes)) < 0)
		return -ENOMEM;
	/* Who is gone by now held nothing. */
	if (sock_process_read(pid, &owners->processes[owners->process_count]) < 0)
		owners->hold_count = before;
	else
		owners->process_count++;
	return 0;
}

/* 0 also where the process is gone or closed to us. */
static int scan_process(struct scan *scan, pid_t pid)
{
	size_t before = scan->owners->hold_count;
	int r = pidfd_sockets(pid, note_socket, scan);

	if (r == -ENOMEM)
		return r;
	if (r < 0 && r != -ESRCH)
		scan->owners->unreadable++;
	return note_process(scan, pid, before);
}

/* /proc lists them in ascending order. */
static int scan_all(struct scan *scan)
{
	const struct dirent *entry;
	DIR *dir = opendir("/proc");
	int r = 0;

	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			r = scan_process(scan, atoi(entry->d_name));
	closedir(dir);
	return r;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a;
	pid_t y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int scan_some(struct scan *scan, const pid_t *pids, size_t count)
{
	pid_t *sorted = malloc((count ? count : 1) * sizeof(*sorted));
	int r = 0;

	if (!sorted)
		return -ENOMEM;
	if (count)
		memcpy(sorted, pids, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_pids);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (sorted[i] > 0 && (i == 0 || sorted[i] != sorted[i - 1]))
			r = scan_process(scan, sorted[i]);
	free(sorted);
	return r;
}

/* Sorted; of a process's several descriptors for one socket the first. */
static void order(struct sock_owners *owners)
{
	size_t kept = 0;

	if (!owners->hold_count)
		return;
	qsort(owners->holds, owners->hold_count, sizeof(*owners->holds), compare_holds);
	for (size_t i = 1; i < owners->hold_count; i++) {
		const struct sock_hold *hold = &owners->holds[i];

		if (hold->inode != owners->holds[kept].inode ||
		    hold->process != owners->holds[kept].process)
			owners->holds[++kept] = *hold;
	}
	owners->hold_count = kept + 1;
}

int sock_owners_scan(const uint64_t *inodes, size_t inode_count, const pid_t *pids,
		     size_t pid_count, struct sock_owners *ret, struct err *err)
{
	struct scan scan = { .inodes = inodes, .inode_count = inode_count, .owners = ret };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!inode_count)
		return 0;
	r = pids ? scan_some(&scan, pids, pid_count) : scan_all(&scan);
	order(ret);
	return r < 0 ? err_set(err, r,
			       "cannot look for the sockets' processes: %s; is /proc there?",
			       strerror(-r))
		     : 0;
}

int sock_owners_of_files(const uint64_t *inodes, size_t inode_count,
			 const struct steer_truth_file *files, size_t file_count,
			 struct sock_owners *ret, struct err *err)
{
	struct scan scan = { .inodes = inodes, .inode_count = inode_count, .owners = ret };
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; r == 0 && i < file_count;) {
		size_t before = ret->hold_count;
		pid_t pid = files[i].pid;

		for (; r == 0 && i < file_count && files[i].pid == pid; i++)
			r = note_socket(&scan, files[i].fd, files[i].inode);
		if (r == 0)
			r = note_process(&scan, pid, before);
	}
	order(ret);
	return r < 0 ? err_set(err, r, "cannot list the sockets' processes: out of memory") : 0;
}

void sock_owners_done(struct sock_owners *owners)
{
	free(owners->processes);
	free(owners->holds);
	memset(owners, 0, sizeof(*owners));
}

const struct sock_hold *sock_owners_of(const struct sock_owners *owners, uint64_t inode,
				       size_t *ret_count)
{
	size_t low = 0;
	size_t high = owners->hold_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (owners->holds[middle].inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	high = low;
	while (high < owners->hold_count && owners->holds[high].inode == inode)
		high++;
	*ret_count = high - low;
	return high > low ? &owners->holds[low] : NULL;
}

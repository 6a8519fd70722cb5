#include "planes/steer/steer_truth.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "steer_truth_internal.h"
#include "sys/netns.h"

#include "planes/steer/steer_iter.skel.h"

/* The kernel hands over at most this many bytes at once (kernel/bpf/bpf_iter.c: 8 pages). */
#define PIECE 32768
/* Groups that change meanwhile: reads until one is of one piece. */
#define TRIES 3
/* After a million sockets in none of which it found anything to tell, the kernel says EAGAIN. */
#define MILLIONS 64
/* The inode of the first PID namespace (include/linux/proc_ns.h). */
#define FIRST_PID_NAMESPACE 0xeffffffcu

struct steer_truth {
	struct steer_iter *bpf; /* owned; NULL: sock_diag is what there is */
	struct bpf_link *tcp;	/* owned */
	struct bpf_link *udp;	/* owned */
	struct bpf_link *files; /* owned; NULL: not known here */
	struct err why;		/* bpf is NULL */
};

/* ---- rows ---- */

int steer_truth_reserve(struct steer_truth_rows *rows, size_t count)
{
	size_t room = rows->room ? rows->room : PIECE / sizeof(*rows->rows);
	struct steer_truth_row *larger;

	if (count <= rows->room)
		return 0;
	while (room < count)
		room *= 2;
	larger = reallocarray(rows->rows, room, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	rows->rows = larger;
	rows->room = room;
	return 0;
}

void steer_truth_rows_done(struct steer_truth_rows *rows)
{
	free(rows->rows);
	memset(rows, 0, sizeof(*rows));
}

static int compare(const void *a, const void *b)
{
	const struct steer_truth_row *x = a;
	const struct steer_truth_row *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	/* Where the order is not known: the same one each time. */
	return (x->inode > y->inode) - (x->inode < y->inode);
}

void steer_truth_sort(struct steer_truth_rows *rows)
{
	if (rows->count)
		qsort(rows->rows, rows->count, sizeof(*rows->rows), compare);
}

size_t steer_truth_group(const struct steer_truth_rows *rows, size_t from)
{
	size_t end = from;

	while (end < rows->count && rows->rows[end].group == rows->rows[from].group)
		end++;
	return end - from;
}

/* Every member of a group is there once, in the kernel's order. */
static bool is_of_one_piece(const struct steer_truth_rows *rows)
{
	for (size_t i = 0; i < rows->count;) {
		size_t members = steer_truth_group(rows, i);

		for (size_t j = 0; j < members; j++) {
			const struct steer_truth_row *row = &rows->rows[i + j];

			if (row->members != members ||
			    (row->index != j && row->index != STEER_TRUTH_NO_INDEX))
				return false;
		}
		i += members;
	}
	return true;
}

/* ---- the iterators ---- */

/* The iterator tells pids as the first namespace has them. */
static bool has_first_pids(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == FIRST_PID_NAMESPACE;
}

static int load(struct steer_truth *truth, bool cookies)
{
	bool files = cookies && has_first_pids();
	int r;

	truth->bpf = steer_iter__open();
	if (!truth->bpf)
		return -errno;
	truth->bpf->rodata->truth_const_cookies = cookies;
	bpf_program__set_autoload(truth->bpf->progs.steer_iter_files, files);
	if (getrandom((void *)&truth->bpf->rodata->truth_const_secret,
		      sizeof(truth->bpf->rodata->truth_const_secret), 0) < 0)
		return -errno;
	r = steer_iter__load(truth->bpf);
	if (r < 0)
		return r;
	truth->tcp = bpf_program__attach_iter(truth->bpf->progs.steer_iter_tcp, NULL);
	if (!truth->tcp)
		return -errno;
	truth->udp = bpf_program__attach_iter(truth->bpf->progs.steer_iter_udp, NULL);
	if (!truth->udp)
		return -errno;
	if (files)
		truth->files = bpf_program__attach_iter(truth->bpf->progs.steer_iter_files, NULL);
	return 0;
}

static void unload(struct steer_truth *truth)
{
	bpf_link__destroy(truth->tcp);
	bpf_link__destroy(truth->udp);
	bpf_link__destroy(truth->files);
	steer_iter__destroy(truth->bpf);
	truth->tcp = truth->udp = truth->files = NULL;
	truth->bpf = NULL;
}

/* What fails here has another way and a sentence: libbpf need not write to stderr. */
static int load_quietly(struct steer_truth *truth)
{
	libbpf_print_fn_t before = libbpf_set_print(NULL);
	int r = load(truth, true);

	if (r == -EINVAL) {
		unload(truth);
		r = load(truth, false);
	}
	if (r < 0)
		unload(truth);
	libbpf_set_print(before);
	return r;
}

static void explain(int error, struct err *why)
{
	if (error == -EPERM || error == -EACCES)
		err_set(why, error,
			"cannot read reuseport groups from the kernel: not permitted; this takes "
			"cap_bpf and cap_perfmon");
	else if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		err_set(why, error,
			"cannot read reuseport groups from the kernel: it has no BTF; build it "
			"with CONFIG_DEBUG_INFO_BTF");
	else
		err_set(why, error, "cannot read reuseport groups from the kernel: %s",
			strerror(-error));
}

int steer_truth_open(struct steer_truth **ret, struct err *err)
{
	struct steer_truth *truth = calloc(1, sizeof(*truth));
	int r;

	*ret = NULL;
	if (!truth)
		return err_set(err, -ENOMEM, "cannot read reuseport groups: out of memory");
	r = load_quietly(truth);
	if (r < 0)
		explain(r, &truth->why);
	*ret = truth;
	return 0;
}

void steer_truth_close(struct steer_truth *truth)
{
	if (!truth)
		return;
	unload(truth);
	free(truth);
}

bool steer_truth_is_exact(const struct steer_truth *truth, const char **why)
{
	if (why && !truth->bpf)
		*why = truth->why.text;
	return truth->bpf;
}

/* ---- reading ---- */

/* Until the kernel has no more.  Of TCP, -EAGAIN is the end: see steer_iter.bpf.c. */
static int drain(int fd, int protocol, struct steer_truth_rows *rows)
{
	const size_t size = sizeof(*rows->rows);
	int millions = 0;

	for (;;) {
		ssize_t n;

		if (steer_truth_reserve(rows, rows->count + PIECE / size) < 0)
			return -ENOMEM;
		n = read(fd, &rows->rows[rows->count], PIECE / size * size);
		if (n == 0 || (n < 0 && errno == EAGAIN && protocol == IPPROTO_TCP))
			return 0;
		if (n < 0 && errno == EAGAIN && ++millions < MILLIONS)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n % size)
			return -EPROTO; /* not our program's */
		rows->count += (size_t)n / size;
	}
}

/* The iterator walks the namespace of who makes it. */
static int read_once(const struct steer_truth *truth, int protocol, struct steer_truth_rows *rows)
{
	const struct bpf_link *link = protocol == IPPROTO_TCP ? truth->tcp : truth->udp;
	int fd = bpf_iter_create(bpf_link__fd(link));
	int r;

	rows->count = 0;
	if (fd < 0)
		return -errno;
	r = drain(fd, protocol, rows);
	close(fd);
	steer_truth_sort(rows);
	rows->torn = !is_of_one_piece(rows);
	return r;
}

static int read_exact(const struct steer_truth *truth, int protocol, struct steer_truth_rows *rows,
		      struct err *err)
{
	int r = 0;

	rows->exact = true;
	for (int i = 0; i < TRIES; i++) {
		r = read_once(truth, protocol, rows);
		if (r < 0)
			return err_set(err, r, "cannot read reuseport groups from the kernel: %s",
				       strerror(-r));
		if (!rows->torn)
			break;
	}
	return r;
}

int steer_truth_read(struct steer_truth *truth, int netns_fd, int protocol,
		     struct steer_truth_rows *rows, struct err *err)
{
	int r, left = 0;

	rows->count = 0;
	rows->torn = false;
	if (netns_fd >= 0) {
		r = netns_enter(netns_fd, err);
		if (r < 0)
			return r;
	}
	r = truth->bpf ? read_exact(truth, protocol, rows, err)
		       : steer_truth_diag_read(protocol, rows, err);
	if (netns_fd >= 0)
		left = netns_leave();
	if (left < 0)
		return err_set(err, left, "cannot return to the own network namespace: %s",
			       strerror(-left));
	return r;
}

static int drain_files(int fd, struct buf *ret)
{
	char piece[PIECE];

	for (int millions = 0; millions < MILLIONS;) {
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n < 0 && errno == EAGAIN)
			millions++;
		else if (n <= 0)
			return n < 0 ? -errno : 0;
		else
			buf_append(ret, piece, (size_t)n);
	}
	return -EAGAIN;
}

int steer_truth_files(const struct steer_truth *truth, struct buf *ret)
{
	int fd, r;

	if (!truth->files)
		return -ENOTSUP;
	fd = bpf_iter_create(bpf_link__fd(truth->files));
	if (fd < 0)
		return -errno;
	r = drain_files(fd, ret);
	close(fd);
	if (r == 0 && ret->len % sizeof(struct steer_truth_file))
		r = -EPROTO;
	return buf_failed(ret) ? -ENOMEM : r;
}

#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 64
#define LISTEN_TYPE    (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static socklen_t sockaddr_of(const struct addr *addr, uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr_is_v4(addr)) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = addr_v4(addr);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, addr, sizeof(*addr));
	return sizeof(*in6);
}

int listen_tcp(const struct addr *addr, uint16_t port, struct err *err)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_of(addr, port, &sa);
	char text[ADDR_PORT_TEXT_LEN];
	int fd = socket(sa.ss_family, LISTEN_TYPE, 0);
	int on = 1;
	int r;

	if (fd < 0)
		goto fail;
	/* The last daemon's connections may still stand in TIME_WAIT. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		goto fail;
	if (sa.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		goto fail;
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		goto fail;
	return fd;
fail:
	r = -errno;
	if (fd >= 0)
		close(fd);
	return err_set(err, r,
		       "cannot listen on %s: %s; choose another admin.listen or end the program "
		       "that uses it",
		       addr_port_format(addr, port, text), strerror(-r));
}

static int unix_address(const char *path, const char *key, struct sockaddr_un *ret, struct err *err)
{
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(ret->sun_path))
		return err_set(err, -ENAMETOOLONG,
			       "cannot listen on %s: the path is longer than %zu bytes; choose a "
			       "shorter %s",
			       path, sizeof(ret->sun_path) - 1, key);
	strcpy(ret->sun_path, path);
	return 0;
}

static int make_directory_of(const char *path, const char *key, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX];

	if (!slash || slash == path)
		return 0;
	snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path), path);
	if (mkdir(directory, 0755) == 0 || errno == EEXIST)
		return 0;
	return err_set(err, -errno, "cannot create %s: %s; create it or set %s", directory,
		       strerror(errno), key);
}

/* 1 if a process answers at the address, 0 if none does, or -errno. */
static int is_answered(const struct sockaddr_un *address, int type)
{
	int fd = socket(AF_UNIX, type, 0);
	int r = 1;

	if (fd < 0)
		return -errno;
	/* A full backlog (EAGAIN) is a living owner, too. */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno != EAGAIN)
		r = errno == ECONNREFUSED ? 0 : -errno;
	close(fd);
	return r;
}

static int remove_stale(const struct sockaddr_un *address, int type, const char *key,
			struct err *err)
{
	const char *path = address->sun_path;
	struct stat st;
	int r;

	if (lstat(path, &st) < 0)
		return errno == ENOENT
			       ? 0
			       : err_set(err, -errno, "cannot look at %s: %s; check its mode", path,
					 strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST,
			       "cannot listen on %s: it is no socket; remove it or set %s", path,
			       key);
	r = is_answered(address, type);
	if (r > 0)
		return err_set(
			err, -EADDRINUSE,
			"cannot listen on %s: another process answers there; end it, or give "
			"this one its own instance name",
			path);
	if (r < 0)
		return err_set(err, r, "cannot probe %s: %s; remove it if nobody needs it", path,
			       strerror(-r));
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(err, -errno, "cannot remove %s: %s; remove it", path,
			       strerror(errno));
	return 0;
}

int listen_unix(const char *path, int type, const char *key, struct stat *ret_id, struct err *err)
{
	struct sockaddr_un address;
	bool bound = false;
	int fd = -1;
	int r = unix_address(path, key, &address, err);

	if (r < 0 || (r = make_directory_of(path, key, err)) < 0 ||
	    (r = remove_stale(&address, type | SOCK_NONBLOCK | SOCK_CLOEXEC, key, err)) < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* bind(2) gives the file the socket's mode less the umask: it is never wider than 0660, and
	 * chmod then gives back what the umask took. */
	if (fd < 0 || fchmod(fd, 0660) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		goto fail;
	bound = true;
	if (chmod(path, 0660) < 0 || listen(fd, LISTEN_BACKLOG) < 0 || lstat(path, ret_id) < 0)
		goto fail;
	return fd;
fail:
	r = -errno;
	if (bound)
		unlink(path);
	if (fd >= 0)
		close(fd);
	return err_set(err, r, "cannot listen on %s: %s; check the directory or set %s", path,
		       strerror(-r), key);
}

void listen_unlink(const char *path, const struct stat *id)
{
	struct stat st;

	if (lstat(path, &st) == 0 && st.st_dev == id->st_dev && st.st_ino == id->st_ino)
		unlink(path);
}

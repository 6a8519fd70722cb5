/* The device: its queues, masks and NUMA node; what is written. */
#include "irq.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "irq_internal.h"

int irq_read_text(const char *root, const char *path, char *text, size_t size)
{
	char full[1024];
	ssize_t len;
	int error;
	int fd;

	*text = '\0';
	snprintf(full, sizeof(full), "%s%s", root, path);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, text, size - 1);
	error = errno;
	close(fd);
	if (len < 0)
		return -error;
	text[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

void irq_line_path(uint32_t number, char *path)
{
	snprintf(path, IRQ_PATH_LEN, "/proc/irq/%u/smp_affinity_list", number);
}

void irq_mask_path(const char *interface, const struct irq_mask *mask, char *path)
{
	snprintf(path, IRQ_PATH_LEN, "/sys/class/net/%s/queues/%s-%u/%s", interface,
		 mask->tx ? "tx" : "rx", mask->queue, mask->tx ? "xps_cpus" : "rps_cpus");
}

/* Behind virtio and the like, the parent is what sits on the bus and has a node. */
static void read_node(struct irq_device *device, const char *root)
{
	static const char *const formats[] = { "/sys/class/net/%s/device/numa_node",
					       "/sys/class/net/%s/device/../numa_node" };
	char path[IRQ_PATH_LEN];
	char text[4096];

	device->node = -1;
	for (size_t i = 0; i < 2 && device->node < 0; i++) {
		snprintf(path, sizeof(path), formats[i], device->interface);
		if (irq_read_text(root, path, text, sizeof(text)) == 0)
			device->node = atoi(text);
	}
	if (device->node < 0)
		return;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", device->node);
	if (irq_read_text(root, path, text, sizeof(text)) < 0 ||
	    cpus_parse_list(&device->local, text) < 0) {
		device->node = -1;
		memset(&device->local, 0, sizeof(device->local));
	}
}

/* A mask that cannot be read cannot be set either: XPS of an interface with one queue is -ENOENT
 * (net/core/net-sysfs.c), kernels may be built without. */
static int add_mask(struct irq_device *device, const char *root, bool tx, uint32_t queue)
{
	struct irq_mask mask = { .tx = tx, .queue = queue };
	struct irq_mask *masks;
	char path[IRQ_PATH_LEN];
	char text[4096];

	irq_mask_path(device->interface, &mask, path);
	if (irq_read_text(root, path, text, sizeof(text)) < 0 ||
	    cpus_parse_mask(&mask.cpus, text) < 0)
		return 0;
	masks = realloc(device->masks, (device->mask_count + 1) * sizeof(*masks));
	if (!masks)
		return -ENOMEM;
	device->masks = masks;
	masks[device->mask_count++] = mask;
	return 0;
}

static uint32_t count_queues(const char *root, const char *interface, const char *prefix)
{
	char path[1024];
	struct dirent *entry;
	uint32_t count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/sys/class/net/%s/queues", root, interface);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	if (dir)
		closedir(dir);
	return count;
}

static int read_queues(struct irq_device *device, const char *root)
{
	int r = 0;

	device->rx_queues = count_queues(root, device->interface, "rx-");
	device->tx_queues = count_queues(root, device->interface, "tx-");
	for (uint32_t i = 0; r == 0 && i < device->rx_queues; i++)
		r = add_mask(device, root, false, i);
	for (uint32_t i = 0; r == 0 && i < device->tx_queues; i++)
		r = add_mask(device, root, true, i);
	return r;
}

static int check_exists(const char *root, const char *interface, struct err *err)
{
	char path[1024];

	if (!*interface || strchr(interface, '/') || interface[0] == '.' ||
	    strlen(interface) >= IF_NAMESIZE)
		return err_set(err, -ENODEV, "cannot use '%s': it is no interface's name",
			       interface);
	snprintf(path, sizeof(path), "%s/sys/class/net/%s", root, interface);
	if (access(path, F_OK) < 0)
		return err_set(err, -ENODEV,
			       "cannot find interface %s in %s/sys/class/net: %s; see 'ip link'",
			       interface, root, strerror(errno));
	return 0;
}

int irq_device_read(struct irq_device *device, const char *root, const char *interface,
		    struct err *err)
{
	int r;

	memset(device, 0, sizeof(*device));
	r = check_exists(root, interface, err);
	if (r < 0)
		return r;
	snprintf(device->interface, sizeof(device->interface), "%s", interface);
	r = cpus_online(&device->online, root, err);
	if (r < 0)
		return r;
	read_node(device, root);
	r = read_queues(device, root);
	if (r < 0)
		err_set(err, r, "cannot read the queues of %s: out of memory", interface);
	if (r == 0)
		r = irq_lines_read(device, root, err);
	if (r < 0)
		irq_device_done(device);
	return r;
}

void irq_device_done(struct irq_device *device)
{
	for (size_t i = 0; i < device->line_count; i++)
		free(device->lines[i].counts);
	free(device->lines);
	free(device->masks);
	memset(device, 0, sizeof(*device));
}

bool irq_device_has_queue_lines(const struct irq_device *device)
{
	for (size_t i = 0; i < device->line_count; i++)
		if (device->lines[i].is_queue)
			return true;
	return false;
}

bool irq_balancer_runs(const char *root)
{
	char path[1024];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/proc", root);
	dir = opendir(path);
	while (!found && dir && (entry = readdir(dir))) {
		char comm[300];
		char text[32];

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(comm, sizeof(comm), "/proc/%s/comm", entry->d_name);
		found = irq_read_text(root, comm, text, sizeof(text)) == 0 &&
			strcmp(text, "irqbalance") == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Why the kernel refuses what looks right. */
static const char *next_step(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return "run it as root";
	case EROFS:
		return "mount /sys writable: containers do not have it so";
	case EIO:
		return "the kernel keeps this interrupt's CPU to itself; leave it";
	case ENOENT:
		return "the interface's queues changed; plan again";
	default:
		return "see dmesg";
	}
}

int irq_write(const char *root, const char *path, const char *value, struct err *err)
{
	size_t len = strlen(value);
	char full[1024];
	ssize_t done;
	int error;
	int fd;

	snprintf(full, sizeof(full), "%s%s", root, path);
	/* O_TRUNC means nothing to the kernel's files, and keeps copies of them true. */
	fd = open(full, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open %s: %s; %s", full, strerror(errno),
			       next_step(errno));
	done = write(fd, value, len);
	error = done < 0 ? errno : EIO;
	close(fd);
	if (done != (ssize_t)len)
		return err_set(err, -error, "cannot write '%s' to %s: %s; %s", value, full,
			       strerror(error), next_step(error));
	return 0;
}

/* Interrupts: which are the interface's, what each serves, and how often each CPU took it. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "irq_internal.h"

/* What drivers call the interrupts that are no queue's. */
static const char *const no_queue[] = { "config", "control", "ctrl", "async", "mgmnt", "misc",
					"fdir",	  "cmd",     "hwc",  "admin", "pages", "ptp" };

/* The columns of /proc/interrupts. */
struct columns {
	uint32_t *cpus; /* owned */
	size_t count;
};

static bool has(const char *name, const char *word)
{
	return strcasestr(name, word) != NULL;
}

/* The queue's number is the last one of the name, before "@pci:...": "i40e-eth0-TxRx-3",
 * "virtio2-input.0", "mlx5_comp7@pci:0000:81:00.0". */
static bool last_number(const char *name, uint32_t *ret)
{
	size_t end = strcspn(name, "@");
	size_t start = end;

	while (start && isdigit((unsigned char)name[start - 1]))
		start--;
	if (start == end || end - start > 6)
		return false;
	*ret = (uint32_t)strtoul(name + start, NULL, 10);
	return true;
}

/* An interface may be called ctrl0, or bear a number where the queue has none. */
static void cut_interface(char *name, const char *interface)
{
	char *at = strstr(name, interface);

	if (at)
		memmove(at, at + strlen(interface), strlen(at + strlen(interface)) + 1);
}

void irq_line_classify(struct irq_line *line, const char *interface)
{
	char name[IRQ_NAME_LEN];

	memcpy(name, line->name, sizeof(name));
	cut_interface(name, interface);
	line->is_queue = false;
	for (size_t i = 0; i < sizeof(no_queue) / sizeof(no_queue[0]); i++)
		if (has(name, no_queue[i]))
			return;
	if (!last_number(name, &line->queue))
		return;
	line->is_queue = true;
	line->rx = has(name, "rx") || has(name, "input");
	line->tx = has(name, "tx") || has(name, "output");
	if (!line->rx && !line->tx)
		line->rx = line->tx = true;
}

static int read_columns(struct columns *columns, char *header)
{
	char *state = NULL;

	for (char *word = strtok_r(header, " \n", &state); word;
	     word = strtok_r(NULL, " \n", &state)) {
		uint32_t *cpus;
		unsigned int cpu;

		if (sscanf(word, "CPU%u", &cpu) != 1 || cpu >= CPUS_MAX)
			continue;
		cpus = realloc(columns->cpus, (columns->count + 1) * sizeof(*cpus));
		if (!cpus)
			return -ENOMEM;
		columns->cpus = cpus;
		cpus[columns->count++] = cpu;
	}
	return columns->count ? 0 : -EBADMSG;
}

/* Is that name the interface's, where the device does not list its interrupts?  "eth0",
 * "eth0-rx-1", "driver-eth0-TxRx-0". */
static bool names_interface(const char *name, const char *interface)
{
	const char *at = strstr(name, interface);
	size_t len = strlen(interface);

	if (!at)
		return false;
	return (at == name || at[-1] == '-') && (at[len] == '\0' || at[len] == '-');
}

static bool is_of_device(const struct irq_device *device, const char *root, uint32_t number,
			 const char *name)
{
	static const char *const formats[] = { "%s/sys/class/net/%s/device/msi_irqs",
					       "%s/sys/class/net/%s/device/../msi_irqs" };
	bool listed = false;
	struct dirent *entry;

	for (size_t i = 0; i < 2 && !listed; i++) {
		char path[1024];
		bool found = false;
		DIR *dir;

		snprintf(path, sizeof(path), formats[i], root, device->interface);
		dir = opendir(path);
		while (dir && !found && (entry = readdir(dir))) {
			listed |= isdigit((unsigned char)entry->d_name[0]) != 0;
			found = isdigit((unsigned char)entry->d_name[0]) &&
				strtoul(entry->d_name, NULL, 10) == number;
		}
		if (dir)
			closedir(dir);
		if (found)
			return true;
	}
	return !listed && names_interface(name, device->interface);
}

static void read_affinity(struct irq_line *line, const char *root)
{
	char path[IRQ_PATH_LEN];
	char text[4096];

	irq_line_path(line->number, path);
	if (irq_read_text(root, path, text, sizeof(text)) < 0 ||
	    cpus_parse_list(&line->allowed, text) < 0)
		memset(&line->allowed, 0, sizeof(line->allowed));
	snprintf(path, sizeof(path), "/proc/irq/%u/effective_affinity_list", line->number);
	if (irq_read_text(root, path, text, sizeof(text)) < 0 ||
	    cpus_parse_list(&line->effective, text) < 0)
		memset(&line->effective, 0, sizeof(line->effective));
}

static int add_line(struct irq_device *device, const struct irq_line *line)
{
	struct irq_line *lines = realloc(device->lines, (device->line_count + 1) * sizeof(*lines));

	if (!lines)
		return -ENOMEM;
	device->lines = lines;
	lines[device->line_count++] = *line;
	return 0;
}

/* "  38:  0  1923  PCI-MSIX-0000:00:03.0  1-edge  virtio2-input.0": the name is the last word. */
static int read_line(struct irq_device *device, const char *root, const struct columns *columns,
		     char *text)
{
	struct irq_line line = { 0 };
	const char *name;
	char *at;
	int r;

	line.number = (uint32_t)strtoul(text, &at, 10);
	if (at == text || *at++ != ':')
		return 0; /* NMI and the like */
	text[strcspn(text, "\n")] = '\0';
	name = strrchr(text, ' ');
	name = name ? name + 1 : "";
	if (!is_of_device(device, root, line.number, name))
		return 0;
	snprintf(line.name, sizeof(line.name), "%s", name);
	line.counts = calloc(device->cpu_count, sizeof(*line.counts));
	if (!line.counts)
		return -ENOMEM;
	for (size_t i = 0; i < columns->count; i++)
		line.counts[columns->cpus[i]] = strtoull(at, &at, 10);
	irq_line_classify(&line, device->interface);
	read_affinity(&line, root);
	r = add_line(device, &line);
	if (r < 0)
		free(line.counts);
	return r;
}

/* Simple cards have one interrupt, called as the interface, for all they do. */
static void adopt_only_line(struct irq_device *device)
{
	struct irq_line *line = device->lines;

	if (device->line_count != 1 || line->is_queue || device->rx_queues != 1 ||
	    !names_interface(line->name, device->interface))
		return;
	line->is_queue = line->rx = line->tx = true;
	line->queue = 0;
}

static int compare(const void *a, const void *b)
{
	const struct irq_line *x = a;
	const struct irq_line *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int read_table(struct irq_device *device, const char *root, FILE *file)
{
	struct columns columns = { 0 };
	char *line = NULL;
	size_t room = 0;
	int r = getline(&line, &room, file) < 0 ? -EBADMSG : read_columns(&columns, line);

	for (size_t i = 0; r == 0 && i < columns.count; i++)
		if (columns.cpus[i] >= device->cpu_count)
			device->cpu_count = columns.cpus[i] + 1;
	while (r == 0 && getline(&line, &room, file) > 0)
		r = read_line(device, root, &columns, line);
	free(line);
	free(columns.cpus);
	return r;
}

int irq_lines_read(struct irq_device *device, const char *root, struct err *err)
{
	char path[1024];
	FILE *file;
	int r;

	snprintf(path, sizeof(path), "%s/proc/interrupts", root);
	file = fopen(path, "re");
	if (!file)
		return err_set(err, -errno, "cannot read %s: %s; is /proc mounted?", path,
			       strerror(errno));
	r = read_table(device, root, file);
	fclose(file);
	if (r < 0)
		return err_set(err, r, "cannot read %s: %s", path,
			       r == -ENOMEM ? "out of memory" : "it does not begin with CPUs");
	adopt_only_line(device);
	if (device->line_count)
		qsort(device->lines, device->line_count, sizeof(*device->lines), compare);
	return 0;
}

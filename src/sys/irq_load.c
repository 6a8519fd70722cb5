/* What each CPU received, of all interfaces. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "irq.h"

static int open_file(FILE **ret, const char *root, const char *name, struct err *err)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s%s", root, name);
	*ret = fopen(path, "re");
	return *ret ? 0
		    : err_set(err, -errno, "cannot read %s: %s; is /proc mounted?", path,
			      strerror(errno));
}

/* A column of /proc/softirqs for each possible CPU, from the header's names. */
static void read_softirqs(struct irq_load *loads, uint32_t cpu_count, char *header, char *row)
{
	char *state = NULL;
	char *at = strchr(row, ':') + 1;

	for (char *word = strtok_r(header, " \n", &state); word;
	     word = strtok_r(NULL, " \n", &state)) {
		uint64_t count = strtoull(at, &at, 10);
		unsigned int cpu;

		if (sscanf(word, "CPU%u", &cpu) == 1 && cpu < cpu_count)
			loads[cpu].softirqs = count;
	}
}

static int softirqs(struct irq_load *loads, uint32_t cpu_count, const char *root, struct err *err)
{
	char *header = NULL;
	char *row = NULL;
	size_t header_room = 0;
	size_t room = 0;
	FILE *file;
	int r = open_file(&file, root, "/proc/softirqs", err);

	if (r < 0)
		return r;
	if (getline(&header, &header_room, file) > 0)
		while (getline(&row, &room, file) > 0)
			if (strstr(row, "NET_RX:"))
				read_softirqs(loads, cpu_count, header, row);
	free(header);
	free(row);
	fclose(file);
	return 0;
}

/* Lines are of online CPUs only; the CPU stands in column 13 since Linux 5.10
 * (net/core/net-procfs.c).
 */
static int softnet(struct irq_load *loads, uint32_t cpu_count, const char *root, struct err *err)
{
	char *row = NULL;
	size_t room = 0;
	uint32_t next = 0;
	FILE *file;
	int r = open_file(&file, root, "/proc/net/softnet_stat", err);

	if (r < 0)
		return r;
	while (getline(&row, &room, file) > 0) {
		uint64_t field[13];
		char *at = row;
		size_t count = 0;
		uint32_t cpu = next++;

		while (count < 13) {
			char *end;

			field[count] = strtoull(at, &end, 16);
			if (end == at)
				break;
			at = end;
			count++;
		}
		if (count == 13)
			cpu = (uint32_t)field[12];
		if (count < 3 || cpu >= cpu_count)
			continue;
		loads[cpu].packets = field[0];
		loads[cpu].dropped = field[1];
		loads[cpu].squeezed = field[2];
	}
	free(row);
	fclose(file);
	return 0;
}

int irq_loads_read(struct irq_load *loads, uint32_t cpu_count, const char *root, struct err *err)
{
	int r;

	memset(loads, 0, cpu_count * sizeof(*loads));
	r = softirqs(loads, cpu_count, root, err);
	return r < 0 ? r : softnet(loads, cpu_count, root, err);
}

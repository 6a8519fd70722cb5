#include "cpus.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_blanks(const char *at)
{
	while (isspace((unsigned char)*at))
		at++;
	return at;
}

static int read_cpu(const char **at, uint32_t *ret)
{
	unsigned long number;
	char *end;

	if (!isdigit((unsigned char)**at))
		return -EINVAL;
	errno = 0;
	number = strtoul(*at, &end, 10);
	if (errno || number >= CPUS_MAX)
		return -ERANGE;
	*ret = (uint32_t)number;
	*at = end;
	return 0;
}

int cpus_parse_list(struct cpus *set, const char *text)
{
	const char *at = skip_blanks(text);

	memset(set, 0, sizeof(*set));
	if (!*at)
		return 0;
	for (;; at++) {
		uint32_t first;
		uint32_t last;
		int r = read_cpu(&at, &first);

		if (r < 0)
			return r;
		last = first;
		if (*at == '-') {
			at++;
			r = read_cpu(&at, &last);
			if (r < 0)
				return r;
		}
		if (last < first)
			return -EINVAL;
		for (uint32_t cpu = first; cpu <= last; cpu++)
			cpus_add(set, cpu);
		if (*at != ',')
			return *skip_blanks(at) ? -EINVAL : 0;
	}
}

static unsigned int hex_digit(char digit)
{
	if (digit <= '9')
		return (unsigned int)(digit - '0');
	return (unsigned int)(tolower((unsigned char)digit) - 'a') + 10;
}

/* The highest digit comes first, so the end is found before anything is known. */
int cpus_parse_mask(struct cpus *set, const char *text)
{
	const char *start = skip_blanks(text);
	const char *end = start + strspn(start, "0123456789abcdefABCDEF,");
	uint32_t bit = 0;

	memset(set, 0, sizeof(*set));
	if (end == start || *skip_blanks(end))
		return -EINVAL;
	while (end-- > start) {
		unsigned int digit;

		if (*end == ',')
			continue;
		digit = hex_digit(*end);
		if (digit && bit >= CPUS_MAX)
			return -ERANGE;
		if (digit)
			set->words[bit / 64] |= (uint64_t)digit << (bit % 64);
		bit += 4;
	}
	return 0;
}

void cpus_print_list(const struct cpus *set, struct buf *out)
{
	uint32_t first = cpus_next(set, 0);
	const char *comma = "";

	buf_append(out, "", 0);
	while (first < CPUS_MAX) {
		uint32_t last = first;

		while (last + 1 < CPUS_MAX && cpus_has(set, last + 1))
			last++;
		if (last > first)
			buf_printf(out, "%s%u-%u", comma, first, last);
		else
			buf_printf(out, "%s%u", comma, first);
		comma = ",";
		first = cpus_next(set, last + 1);
	}
}

static uint32_t word32(const struct cpus *set, uint32_t index)
{
	return (uint32_t)(set->words[index / 2] >> (index % 2 * 32));
}

void cpus_print_mask(const struct cpus *set, struct buf *out)
{
	uint32_t index = CPUS_MAX / 32 - 1;

	while (index && !word32(set, index))
		index--;
	buf_printf(out, "%x", word32(set, index));
	while (index--)
		buf_printf(out, ",%08x", word32(set, index));
}

void cpus_add(struct cpus *set, uint32_t cpu)
{
	bitset_set(set->words, cpu);
}

bool cpus_has(const struct cpus *set, uint32_t cpu)
{
	return cpu < CPUS_MAX && bitset_test(set->words, cpu);
}

uint32_t cpus_count(const struct cpus *set)
{
	uint32_t count = 0;

	for (size_t i = 0; i < sizeof(set->words) / sizeof(set->words[0]); i++)
		count += (uint32_t)__builtin_popcountll(set->words[i]);
	return count;
}

uint32_t cpus_next(const struct cpus *set, uint32_t cpu)
{
	while (cpu < CPUS_MAX && !bitset_test(set->words, cpu))
		cpu++;
	return cpu;
}

bool cpus_equal(const struct cpus *a, const struct cpus *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int cpus_online(struct cpus *set, const char *root, struct err *err)
{
	char path[512];
	char line[4096];
	FILE *file;
	int r = 0;

	snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/online", root);
	file = fopen(path, "re");
	if (!file)
		return err_set(err, -errno, "cannot read %s: %s; is /sys mounted?", path,
			       strerror(errno));
	if (!fgets(line, sizeof(line), file) || cpus_parse_list(set, line) < 0 || !cpus_count(set))
		r = err_set(err, -EBADMSG, "cannot read %s: it holds no list of CPUs", path);
	fclose(file);
	return r;
}

int cpus_check_online(const struct cpus *wanted, const struct cpus *online, struct err *err)
{
	struct buf list;
	int r = 0;

	for (uint32_t cpu = cpus_next(wanted, 0); cpu < CPUS_MAX;
	     cpu = cpus_next(wanted, cpu + 1)) {
		if (cpus_has(online, cpu))
			continue;
		buf_init(&list);
		cpus_print_list(online, &list);
		r = err_set(err, -ENXIO,
			    "cannot use CPU %u: it is not online; name some of %s, or 'all'", cpu,
			    list.data ? list.data : "those that are");
		buf_done(&list);
		break;
	}
	return r;
}

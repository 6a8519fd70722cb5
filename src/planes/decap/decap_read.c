/* What is in force, as the pins tell. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decap_internal.h"

static const struct {
	const char *name;
	const char *action;
	const char *help;
} counters[DECAP_COUNTER_COUNT] = {
#define UNWRAP					     "unwrap"
#define PASS					     "pass"
#define DROP					     "drop"
#define DECAP_COUNTER_ROW(name, text, verdict, help) [DECAP_##name] = { text, verdict, help },
	DECAP_COUNTERS(DECAP_COUNTER_ROW)
#undef DECAP_COUNTER_ROW
};

const char *decap_counter_name(enum decap_counter counter)
{
	return counters[counter].name;
}

const char *decap_counter_action(enum decap_counter counter)
{
	return counters[counter].action;
}

const char *decap_counter_help(enum decap_counter counter)
{
	return counters[counter].help;
}

static int read_control(int fd, struct decap_state *ret, const char *pin_dir, struct err *err)
{
	struct decap_control control = { 0 };
	__u32 zero = 0;

	if (bpf_map_lookup_elem(fd, &zero, &control) < 0)
		return err_set(err, -EIO, "cannot read %s/decap_control: %s; set it up anew",
			       pin_dir, strerror(errno));
	if (control.abi_version != DECAP_ABI_VERSION)
		return err_set(err, -EPROTO,
			       "cannot read %s: it is of layout version %u, this loom knows %u; "
			       "set it up anew",
			       pin_dir, control.abi_version, DECAP_ABI_VERSION);
	ret->gue_port = control.gue_port;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static void read_vips(int fd, struct decap_state *ret)
{
	struct addr key;
	struct addr *last = NULL;

	_Static_assert(sizeof(struct addr) == sizeof(struct decap_addr), "one form of addresses");
	while (ret->vip_count < DECAP_MAX_VIPS && bpf_map_get_next_key(fd, last, &key) == 0) {
		ret->vips[ret->vip_count++] = key;
		last = &ret->vips[ret->vip_count - 1];
	}
	qsort(ret->vips, ret->vip_count, sizeof(*ret->vips), by_value);
}

static int read_counts(int fd, struct decap_state *ret, struct err *err)
{
	int cpus = libbpf_num_possible_cpus();
	struct decap_count *each = cpus > 0 ? calloc((size_t)cpus, sizeof(*each)) : NULL;
	int r = 0;

	if (!each)
		return err_set(err, -ENOMEM, "cannot read the counters: out of memory; try again");
	for (__u32 row = 0; r == 0 && row < DECAP_COUNTER_COUNT; row++) {
		if (bpf_map_lookup_elem(fd, &row, each) < 0) {
			r = err_set(err, -EIO, "cannot read the counters: %s; set it up anew",
				    strerror(errno));
			break;
		}
		for (int cpu = 0; cpu < cpus; cpu++) {
			ret->counts[row].packets += each[cpu].packets;
			ret->counts[row].bytes += each[cpu].bytes;
		}
	}
	free(each);
	return r;
}

static int open_pin(const char *pin_dir, enum decap_pin pin, struct err *err)
{
	int fd = decap_pins_open(pin_dir, pin);

	if (fd == -ENOENT)
		return err_set(err, fd,
			       "cannot show what is unwrapped: nothing is set up below %s; 'loom "
			       "decap --iface IF --vip ADDR' does",
			       pin_dir);
	if (fd < 0)
		return err_set(err, fd, "cannot open the pins below %s: %s; run this as root",
			       pin_dir, strerror(-fd));
	return fd;
}

int decap_read(const char *pin_dir, struct decap_state *ret, struct err *err)
{
	int control = open_pin(pin_dir, DECAP_PIN_CONTROL, err);
	int vips = control < 0 ? -1 : open_pin(pin_dir, DECAP_PIN_VIPS, err);
	int counts = vips < 0 ? -1 : open_pin(pin_dir, DECAP_PIN_COUNTERS, err);
	int r = -ENOENT;

	memset(ret, 0, sizeof(*ret));
	if (control < 0)
		r = control;
	if (counts >= 0)
		r = read_control(control, ret, pin_dir, err);
	if (r == 0) {
		read_vips(vips, ret);
		r = read_counts(counts, ret, err);
	}
	if (r == 0)
		ret->link_count = decap_links_read(pin_dir, ret->links, DECAP_MAX_INTERFACES);
	if (control >= 0)
		close(control);
	if (vips >= 0)
		close(vips);
	if (counts >= 0)
		close(counts);
	return r;
}

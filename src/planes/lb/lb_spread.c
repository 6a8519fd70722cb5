/* Packets to CPUs, for interfaces with too few queues (lb_spread.bpf.h). */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "lb_internal.h"
#include "sys/irq.h"

#include "planes/lb/lb.skel.h"

/* Packets that may wait for a CPU: as many as a receive ring has, twice. */
#define QUEUE_SIZE 4096

void lb_spread_cpus(const struct config_ebpf *config, struct cpus *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < config->cpu_affinity_count; i++)
		if (config->cpu_affinity[i] < CPUS_MAX)
			cpus_add(ret, config->cpu_affinity[i]);
}

bool lb_spread_changed(const struct lb *lb)
{
	struct cpus wanted;

	lb_spread_cpus(lb->options.config, &wanted);
	return !cpus_equal(&wanted, &lb->spread);
}

/* -EINVAL: it is the configuration that asks for what is not there. */
static int check_online(const struct cpus *cpus, struct err *err)
{
	struct err cause = { 0 };
	struct cpus online;
	int r = cpus_count(cpus) ? cpus_online(&online, "", &cause) : 0;

	if (r == 0 && cpus_count(cpus))
		r = cpus_check_online(cpus, &online, &cause);
	return r < 0 ? err_set(err, -EINVAL, "ebpf.xdp.cpu_affinity: %s", cause.text) : 0;
}

int lb_check_config(const struct config_ebpf *config, struct err *err)
{
	struct cpus wanted;
	int r;

	lb_spread_cpus(config, &wanted);
	r = check_online(&wanted, err);
	return r < 0 ? r : lb_chain_check(config, err);
}

int lb_spread_prepare(struct lb_bpf *bpf, const struct cpus *cpus, struct err *err)
{
	bool on = cpus_count(cpus) > 0;
	uint32_t end = 1;
	int r = 0;

	for (uint32_t cpu = cpus_next(cpus, 0); cpu < CPUS_MAX; cpu = cpus_next(cpus, cpu + 1))
		end = cpu + 1;
	bpf->rodata->lb_const_spread = on;
	r |= bpf_program__set_autoload(bpf->progs.lb_spread, on);
	r |= bpf_program__set_autoload(bpf->progs.lb_main_cpu, on);
	r |= bpf_map__set_autocreate(bpf->maps.lb_cpus, on);
	r |= bpf_map__set_autocreate(bpf->maps.lb_cpu_slots, on);
	r |= bpf_map__set_max_entries(bpf->maps.lb_cpus, end);
	if (r)
		return err_set(err, -EINVAL, "cannot prepare the program that spreads packets");
	return check_online(cpus, err);
}

static int fill_cpu(const struct lb_bpf *bpf, uint32_t cpu, struct err *err)
{
	struct bpf_cpumap_val value = {
		.qsize = QUEUE_SIZE,
		.bpf_prog.fd = bpf_program__fd(bpf->progs.lb_main_cpu),
	};

	if (bpf_map_update_elem(bpf_map__fd(bpf->maps.lb_cpus), &cpu, &value, BPF_ANY) < 0)
		return err_set(err, -errno,
			       "cannot have CPU %u balance packets: %s; leave it out of "
			       "ebpf.xdp.cpu_affinity",
			       cpu, strerror(errno));
	return 0;
}

int lb_spread_fill(const struct lb_bpf *bpf, const struct cpus *cpus, struct err *err)
{
	uint32_t cpu = cpus_next(cpus, 0);
	int r = 0;

	if (cpu >= CPUS_MAX)
		return 0;
	for (; r == 0 && cpu < CPUS_MAX; cpu = cpus_next(cpus, cpu + 1))
		r = fill_cpu(bpf, cpu, err);
	cpu = cpus_next(cpus, 0);
	for (uint32_t slot = 0; r == 0 && slot < LB_SPREAD_SLOTS; slot++) {
		if (bpf_map_update_elem(bpf_map__fd(bpf->maps.lb_cpu_slots), &slot, &cpu, BPF_ANY) <
		    0)
			r = err_set(err, -errno, "cannot write lb_cpu_slots: %s", strerror(errno));
		cpu = cpus_next(cpus, cpu + 1);
		if (cpu >= CPUS_MAX)
			cpu = cpus_next(cpus, 0);
	}
	return r;
}

/* Queues with interrupts of their own, as many as CPUs are wanted: the card spreads packets by
 * itself, and sooner. */
static bool has_queues(const struct cpus *cpus, const char *interface)
{
	struct irq_device device;
	struct err ignored;
	bool enough;

	if (irq_device_read(&device, "", interface, &ignored) < 0)
		return false;
	enough = irq_device_has_queue_lines(&device) && device.rx_queues >= cpus_count(cpus);
	irq_device_done(&device);
	return enough;
}

int lb_spread_program_fd(const struct lb *lb, const char *interface)
{
	if (!cpus_count(&lb->spread))
		return lb_program_fd(lb);
	if (has_queues(&lb->spread, interface)) {
		log_debug("%s has a queue for each CPU of cpu_affinity: 'loom irq plan --iface %s' "
			  "shows which serve them",
			  interface, interface);
		return lb_program_fd(lb);
	}
	return bpf_program__fd(lb->bpf->progs.lb_spread);
}

/* Over copies of /sys and /proc as cards of several makers present themselves. */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/irq.h"

static char root[] = "/tmp/loom-irq-XXXXXX";

static void make_dirs(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
}

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	make_dirs(full);
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int remove_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int make_root(void **state)
{
	strcpy(root + strlen(root) - 6, "XXXXXX");
	assert_non_null(mkdtemp(root));
	put("/sys/devices/system/cpu/online", "0-3\n");
	put("/sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000\n");
	put("/sys/class/net/eth0/queues/rx-1/rps_cpus", "00000005\n");
	put("/sys/class/net/eth0/queues/tx-0/xps_cpus", "f\n");
	put("/sys/class/net/eth0/device/driver", "");
	return 0;
}

static int remove_root(void **state)
{
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const struct row {
	const char *name; /* NULL ends a card */
	bool is_queue;
	bool rx;
	bool tx;
	uint32_t queue;
} rows[] = {
	{ "virtio2-config" },
	{ "virtio2-input.0", true, true, false, 0 },
	{ "virtio2-output.11", true, false, true, 11 },
	{ "eth0-TxRx-3", true, true, true, 3 },
	{ "i40e-eth0-TxRx-7", true, true, true, 7 },
	{ "i40e-0000:05:00.0:misc" },
	{ "ice-eth0-fdir-TxRx-0" },
	{ "eth0-Tx-Rx-2", true, true, true, 2 },
	{ "ena-mgmnt@pci:0000:00:05.0" },
	{ "mlx5_comp12@pci:0000:81:00.0", true, true, true, 12 },
	{ "mlx5_async0@pci:0000:81:00.0" },
	{ "eth0-rx-1", true, true, false, 1 },
	{ "eth0-tx-1", true, false, true, 1 },
	{ "eth0-fp-5", true, true, true, 5 },
	{ "mana_q4@pci:7870:00:00.0", true, true, true, 4 },
	{ "mana_hwc@pci:7870:00:00.0" },
	{ "eth0" }, /* its 0 is no queue's: other causes, beside queues */
};

static void drivers_names_tell_their_queues(void **state)
{
	char table[4096] = "            CPU0       CPU2\n";
	struct irq_device device;
	struct err err = { 0 };
	size_t count = sizeof(rows) / sizeof(rows[0]);

	for (size_t i = 0; i < count; i++) {
		char path[128];
		size_t len = strlen(table);

		snprintf(table + len, sizeof(table) - len, " %zu:  %zu  7  PCI-MSI  1-edge  %s\n",
			 100 + i, i, rows[i].name);
		snprintf(path, sizeof(path), "/sys/class/net/eth0/device/msi_irqs/%zu", 100 + i);
		put(path, "msix\n");
	}
	strcat(table, " 99:  5  5  PCI-MSI  1-edge  other-eth0-rx-0\nNMI:  1  2  Non-maskable\n");
	put("/proc/interrupts", table);
	put("/proc/irq/103/smp_affinity_list", "1,3\n");
	put("/proc/irq/103/effective_affinity_list", "3\n");
	assert_int_equal(irq_device_read(&device, root, "eth0", &err), 0);
	assert_int_equal(device.line_count, count);
	assert_int_equal(device.cpu_count, 3);
	for (size_t i = 0; i < count; i++) {
		const struct irq_line *line = &device.lines[i];

		assert_string_equal(line->name, rows[i].name);
		assert_int_equal(line->is_queue, rows[i].is_queue);
		assert_int_equal(line->number, 100 + i);
		assert_int_equal(line->counts[0], i);
		assert_int_equal(line->counts[1], 0);
		assert_int_equal(line->counts[2], 7);
		if (!rows[i].is_queue)
			continue;
		assert_int_equal(line->queue, rows[i].queue);
		assert_int_equal(line->rx, rows[i].rx);
		assert_int_equal(line->tx, rows[i].tx);
	}
	assert_true(cpus_has(&device.lines[3].allowed, 1) && cpus_has(&device.lines[3].allowed, 3));
	assert_int_equal(cpus_next(&device.lines[3].effective, 0), 3);
	irq_device_done(&device);
}

static void queues_masks_and_the_node_are_read(void **state)
{
	struct irq_device device;
	struct err err = { 0 };

	put("/proc/interrupts", "  CPU0\n 1: 0 x eth0\n");
	put("/sys/class/net/eth0/device/numa_node", "1\n");
	put("/sys/devices/system/node/node1/cpulist", "2-3\n");
	assert_int_equal(irq_device_read(&device, root, "eth0", &err), 0);
	assert_int_equal(device.rx_queues, 2);
	assert_int_equal(device.tx_queues, 1);
	assert_int_equal(device.node, 1);
	assert_int_equal(cpus_next(&device.local, 0), 2);
	assert_int_equal(device.mask_count, 3);
	assert_false(device.masks[1].tx);
	assert_int_equal(device.masks[1].queue, 1);
	assert_int_equal(cpus_count(&device.masks[1].cpus), 2);
	assert_true(device.masks[2].tx);
	assert_false(irq_device_has_queue_lines(&device)); /* two queues do not share one */
	irq_device_done(&device);
}

static void a_card_without_a_list_is_known_by_its_name(void **state)
{
	struct irq_device device;
	struct err err = { 0 };

	put("/proc/interrupts", "  CPU0\n 1: 0 x eth01-rx-0\n 2: 0 x eth0-rx-0\n 3: 0 x veth0\n");
	assert_int_equal(irq_device_read(&device, root, "eth0", &err), 0);
	assert_int_equal(device.line_count, 1);
	assert_int_equal(device.lines[0].number, 2);
	irq_device_done(&device);
}

static void the_only_interrupt_of_a_simple_card_is_its_queues(void **state)
{
	struct irq_device device;
	struct err err = { 0 };

	put("/sys/class/net/ctrl1/queues/rx-0/rps_cpus", "0\n");
	put("/proc/interrupts", "  CPU0\n 5: 9 IO-APIC 5-edge ctrl1\n");
	assert_int_equal(irq_device_read(&device, root, "ctrl1", &err), 0);
	assert_int_equal(device.line_count, 1);
	assert_true(device.lines[0].is_queue && device.lines[0].rx && device.lines[0].tx);
	irq_device_done(&device);
}

static void what_is_missing_is_named(void **state)
{
	struct irq_device device;
	struct err err = { 0 };

	assert_int_equal(irq_device_read(&device, root, "eth1", &err), -ENODEV);
	assert_non_null(strstr(err.text, "cannot find interface eth1"));
	assert_int_equal(irq_device_read(&device, root, "../../etc", &err), -ENODEV);
	assert_int_equal(irq_device_read(&device, root, "", &err), -ENODEV);
	assert_int_equal(irq_device_read(&device, root, "eth0", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/proc/interrupts"));
	put("/proc/interrupts", "no table\n");
	assert_int_equal(irq_device_read(&device, root, "eth0", &err), -EBADMSG);
}

static void loads_go_to_their_cpus_though_some_are_offline(void **state)
{
	struct irq_load loads[4];
	struct err err = { 0 };

	put("/proc/softirqs", "     CPU0 CPU1 CPU3\n NET_TX: 9 9 9\n NET_RX: 10 20 40\n");
	put("/proc/net/softnet_stat",
	    "00000a00 00000001 00000002 0 0 0 0 0 0 0 0 0 00000000 0 0\n"
	    "0000000b 00000000 00000000 0 0 0 0 0 0 0 0 0 00000003 0 0\n"
	    "0000000c 00000000 00000000 0 0 0 0 0 0 0 0 0 00000009 0 0\n");
	assert_int_equal(irq_loads_read(loads, 4, root, &err), 0);
	assert_int_equal(loads[0].softirqs, 10);
	assert_int_equal(loads[1].softirqs, 20);
	assert_int_equal(loads[2].softirqs, 0);
	assert_int_equal(loads[3].softirqs, 40);
	assert_int_equal(loads[0].packets, 0xa00);
	assert_int_equal(loads[0].dropped, 1);
	assert_int_equal(loads[0].squeezed, 2);
	assert_int_equal(loads[1].packets, 0);
	assert_int_equal(loads[3].packets, 11);
	/* Before Linux 5.10 lines had no number, and stood in order. */
	put("/proc/net/softnet_stat", "1 0 0 0 0 0 0 0 0 0 0\n2 0 0 0 0 0 0 0 0 0 0\n");
	assert_int_equal(irq_loads_read(loads, 4, root, &err), 0);
	assert_int_equal(loads[1].packets, 2);
}

static void irqbalance_is_seen_by_its_name(void **state)
{
	put("/proc/12/comm", "irqbalance-ui\n");
	put("/proc/self/comm", "irqbalance\n");
	assert_false(irq_balancer_runs(root));
	put("/proc/345/comm", "irqbalance\n");
	assert_true(irq_balancer_runs(root));
}

static void a_write_replaces_what_was_there_or_says_why_not(void **state)
{
	char path[512];
	char text[32] = "";
	struct err err = { 0 };
	FILE *file;

	put("/proc/irq/5/smp_affinity_list", "0-3\n");
	assert_int_equal(irq_write(root, "/proc/irq/5/smp_affinity_list", "2", &err), 0);
	snprintf(path, sizeof(path), "%s/proc/irq/5/smp_affinity_list", root);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "2");
	assert_int_equal(irq_write(root, "/proc/irq/6/smp_affinity_list", "2", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/proc/irq/6/smp_affinity_list"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(drivers_names_tell_their_queues),
		CASE(queues_masks_and_the_node_are_read),
		CASE(a_card_without_a_list_is_known_by_its_name),
		CASE(the_only_interrupt_of_a_simple_card_is_its_queues),
		CASE(what_is_missing_is_named),
		CASE(loads_go_to_their_cpus_though_some_are_offline),
		CASE(irqbalance_is_seen_by_its_name),
		CASE(a_write_replaces_what_was_there_or_says_why_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

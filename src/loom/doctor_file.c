/* Where Loom keeps what it keeps: pins, state, memory. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "doctor.h"

#define BPFFS_ROOT "/sys/fs/bpf"

/* As the kernel's hash tables count them, key and value included. */
#define ENTRY4_BYTES 128ull
#define ENTRY6_BYTES 176ull

/* Cuts path to what of it exists; "" if it is relative and nothing does. */
static void existing(char *path)
{
	while (*path && strcmp(path, "/") != 0 && access(path, F_OK) < 0 && errno == ENOENT) {
		char *slash = strrchr(path, '/');

		if (slash)
			slash[slash == path] = '\0';
		else
			*path = '\0';
	}
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static void check_pins(struct doctor *doctor)
{
	const char *wanted = doctor->config ? doctor->config->ebpf.pin_path : BPFFS_ROOT;
	char path[512];

	snprintf(path, sizeof(path), "%s", wanted);
	existing(path);
	if (is_bpffs(path)) {
		doctor_find(doctor, DOCTOR_OK, "files", "%s is on a BPF filesystem", wanted);
	} else if (geteuid() == 0 && (!strcmp(wanted, BPFFS_ROOT) ||
				      !strncmp(wanted, BPFFS_ROOT "/", strlen(BPFFS_ROOT "/")))) {
		doctor_find(doctor, DOCTOR_OK, "files",
			    "%s has no BPF filesystem yet; loomd mounts it", wanted);
	} else {
		doctor_find(doctor, DOCTOR_PROBLEM, "files", "%s is not on a BPF filesystem%s",
			    wanted, access(path, X_OK) < 0 ? ", or not one this user may see" : "");
		doctor_remedy(doctor,
			      "mount -t bpf bpf DIRECTORY, and set ebpf.pin_path to what is below");
	}
}

static void check_state_dir(struct doctor *doctor)
{
	const char *wanted = doctor->config->state_dir;
	char path[512];

	snprintf(path, sizeof(path), "%s", wanted);
	existing(path);
	if (access(*path ? path : ".", W_OK | X_OK) == 0) {
		doctor_find(doctor, DOCTOR_OK, "files", "%s can be written", wanted);
		return;
	}
	doctor_find(doctor, DOCTOR_PROBLEM, "files",
		    "%s cannot be written: %s; changes by the API would be refused", wanted,
		    strerror(errno));
	doctor_remedy(doctor, "make %s writable for loomd, or set state_dir", path);
}

/* 0 if it cannot be read. */
static unsigned long long available_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	fclose(file);
	return kib * 1024;
}

/* Two entries a connection; maps are filled with their entries when they are made. */
static unsigned long long table_bytes(const struct config *config)
{
	unsigned long long entries = 2ull * config->ebpf.max_connections;
	unsigned long long bytes = 0;

	if (doctor_has_ipv4(config))
		bytes += entries * ENTRY4_BYTES;
	if (doctor_has_ipv6(config))
		bytes += entries * ENTRY6_BYTES;
	return bytes;
}

static void check_memory(struct doctor *doctor)
{
	unsigned long long available = available_bytes();
	unsigned long long needed = table_bytes(doctor->config);
	enum doctor_severity severity = needed > available	 ? DOCTOR_PROBLEM
					: needed > available / 2 ? DOCTOR_WARNING
								 : DOCTOR_OK;
	char path[512];

	doctor_pin_dir(doctor->config, path, sizeof(path));
	strncat(path, "/lb_conns4", sizeof(path) - strlen(path) - 1);
	if (!available || access(path, F_OK) == 0)
		return; /* taken already, by the tables that are pinned */
	doctor_find(doctor, severity, "memory",
		    "the table for %u connections takes about %llu MiB of the %llu MiB available",
		    doctor->config->ebpf.max_connections, needed >> 20, available >> 20);
	if (severity != DOCTOR_OK)
		doctor_remedy(doctor, "lower ebpf.conntrack.max_entries, or add memory");
}

const struct doctor_check doctor_file_checks[] = {
	{ "pin_path", false, check_pins },
	{ "state_dir", true, check_state_dir },
	{ "memory", true, check_memory },
	{ 0 },
};

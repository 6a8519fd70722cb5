#include "doctor.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct doctor_check *const groups[] = {
	doctor_kernel_checks,  doctor_file_checks,   doctor_port_checks,    doctor_link_checks,
	doctor_offload_checks, doctor_sysctl_checks, doctor_backend_checks, doctor_steer_checks,
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

int doctor_init(struct doctor *doctor, const struct config *config, struct err *err)
{
	memset(doctor, 0, sizeof(*doctor));
	doctor->config = config;
	return netlink_open(&doctor->netlink, err);
}

void doctor_done(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->count; i++) {
		free(doctor->findings[i].subject);
		free(doctor->findings[i].finding);
		free(doctor->findings[i].remedy);
	}
	free(doctor->findings);
	netlink_close(doctor->netlink);
	memset(doctor, 0, sizeof(*doctor));
}

/* ---- findings ---- */

static struct doctor_finding *add(struct doctor *doctor)
{
	struct doctor_finding *grown;

	if (doctor->count < doctor->room)
		return &doctor->findings[doctor->count++];
	doctor->room = doctor->room ? doctor->room * 2 : 64;
	grown = realloc(doctor->findings, doctor->room * sizeof(*grown));
	if (!grown) {
		doctor->room = doctor->count;
		return NULL;
	}
	doctor->findings = grown;
	return &grown[doctor->count++];
}

void doctor_find(struct doctor *doctor, enum doctor_severity severity, const char *subject,
		 const char *fmt, ...)
{
	struct doctor_finding *finding = doctor->failed ? NULL : add(doctor);
	va_list ap;

	if (!finding) {
		doctor->failed = true;
		return;
	}
	*finding = (struct doctor_finding){ .check = doctor->check,
					    .severity = severity,
					    .subject = strdup(subject),
					    .remedy = strdup("") };
	va_start(ap, fmt);
	if (vasprintf(&finding->finding, fmt, ap) < 0)
		finding->finding = NULL;
	va_end(ap);
	if (!finding->subject || !finding->finding || !finding->remedy)
		doctor->failed = true;
}

void doctor_remedy(struct doctor *doctor, const char *fmt, ...)
{
	struct doctor_finding *finding;
	char *text;
	va_list ap;
	int n;

	if (doctor->failed)
		return;
	finding = &doctor->findings[doctor->count - 1];
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		doctor->failed = true;
		return;
	}
	free(finding->remedy);
	finding->remedy = text;
}

enum doctor_severity doctor_worst(const struct doctor *doctor)
{
	enum doctor_severity worst = DOCTOR_OK;

	for (size_t i = 0; i < doctor->count; i++)
		if (doctor->findings[i].severity > worst)
			worst = doctor->findings[i].severity;
	return worst;
}

/* Stable: subjects in the order they first came up, findings in that of the checks. */
static int group_by_subject(struct doctor *doctor)
{
	struct doctor_finding *sorted = calloc(doctor->count, sizeof(*sorted));
	bool *taken = calloc(doctor->count, sizeof(*taken));
	size_t n = 0;

	for (size_t i = 0; sorted && taken && i < doctor->count; i++) {
		const char *subject = doctor->findings[i].subject;

		for (size_t k = i; k < doctor->count; k++) {
			if (taken[k] || strcmp(doctor->findings[k].subject, subject) != 0)
				continue;
			sorted[n++] = doctor->findings[k];
			taken[k] = true;
		}
	}
	if (sorted && taken)
		memcpy(doctor->findings, sorted, n * sizeof(*sorted));
	else
		doctor->failed = true;
	free(sorted);
	free(taken);
	return doctor->failed ? -ENOMEM : 0;
}

/* ---- checks ---- */

static bool is_native(const struct config *config, const struct netlink_link *link)
{
	if (link->xdp_attached == XDP_ATTACHED_SKB)
		return false;
	return config->ebpf.mode == CONFIG_XDP_NATIVE;
}

static void look_at(struct doctor *doctor, struct doctor_link *link)
{
	if (ethtool_driver(link->name, link->driver) < 0)
		snprintf(link->driver, sizeof(link->driver), "%s", link->link.kind);
	ethtool_features(link->name, link->features);
	link->has_peer = netlink_peer_get(doctor->netlink, &link->link, &link->peer) == 0;
	link->peer_here = link->has_peer && link->link.peer_nsid < 0;
	link->native = is_native(doctor->config, &link->link);
}

static void run_on_links(struct doctor *doctor, const struct config_ebpf *ebpf,
			 const struct doctor_check *check)
{
	for (size_t i = 0; i < ebpf->interface_count; i++) {
		struct doctor_link link = { .name = ebpf->interfaces[i] };
		uint32_t ifindex = if_nametoindex(link.name);

		/* That it is missing is doctor_link_checks' to say. */
		if (!ifindex || netlink_link_get(doctor->netlink, ifindex, &link.link) < 0)
			continue;
		look_at(doctor, &link);
		check->run_on(doctor, &link);
	}
}

int doctor_run(struct doctor *doctor, struct err *err)
{
	for (size_t i = 0; i < GROUPS; i++) {
		for (const struct doctor_check *check = groups[i]; check->name; check++) {
			if (check->needs_config && !doctor->config)
				continue;
			doctor->check = check->name;
			if (check->run)
				check->run(doctor);
			else if (doctor->config)
				run_on_links(doctor, &doctor->config->ebpf, check);
		}
	}
	if (doctor->failed || group_by_subject(doctor) < 0)
		return err_set(err, -ENOMEM, "cannot look at this machine: out of memory");
	return 0;
}

/* ---- what checks share ---- */

int doctor_read_number(const char *path, long *ret)
{
	FILE *file = fopen(path, "re");
	int n;

	if (!file)
		return -errno;
	n = fscanf(file, "%ld", ret);
	fclose(file);
	return n == 1 ? 0 : -EBADMSG;
}

/* The path, not the dotted name: interfaces have dots in theirs. */
int doctor_read_conf(const char *family, const char *interface, const char *key, long *ret)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, interface, key);
	return doctor_read_number(path, ret);
}

void doctor_pin_dir(const struct config *config, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", config->ebpf.pin_path, config->instance);
}

static bool has_family(const struct config *config, bool v4)
{
	for (size_t i = 0; i < config->service_count; i++) {
		const struct config_service *service = &config->services[i];

		for (size_t k = 0; k < service->address_count; k++)
			if (addr_is_v4(&service->addresses[k]) == v4)
				return true;
		for (size_t k = 0; k < service->backend_count; k++)
			if (addr_is_v4(&service->backends[k].address) == v4)
				return true;
	}
	return false;
}

bool doctor_has_ipv4(const struct config *config)
{
	return has_family(config, true);
}

bool doctor_has_ipv6(const struct config *config)
{
	return has_family(config, false);
}

bool doctor_has_nat(const struct config *config, enum config_forwarding nat)
{
	for (size_t i = 0; i < config->service_count; i++)
		if (config->services[i].forwarding == nat)
			return true;
	return false;
}

/* Interfaces: there, up, and able to run XDP. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"
#include "sys/cpus.h"

/* A page less headroom, frame and the kernel's own share, as most drivers have it. */
#define MTU_NATIVE 3498u

static const char *const native_drivers[] = {
	"atlantic",  "bnxt_en",	      "bonding",   "cpsw",	    "dpaa2-eth",
	"ena",	     "fec",	      "fsl_dpa",   "fsl_dpaa2_eth", "fsl_enetc",
	"gve",	     "hv_netvsc",     "i40e",	   "ice",	    "igb",
	"igc",	     "ionic",	      "ixgbe",	   "ixgbevf",	    "lan966x-switch",
	"mana",	     "mlx4_en",	      "mlx5_core", "mtk_soc_eth",   "mvneta",
	"mvpp2",     "netdevsim",     "netsec",	   "nfp",	    "qede",
	"rvu-nicpf", "rvu_nicpf",     "rvu_nicvf", "sfc",	    "sfc_ef100",
	"st_gmac",   "thunder-nicvf", "tsnep",	   "tun",	    "veth",
	"vif",	     "virtio_net",
};

/* Virtual ones of which it is known that they run generic XDP only. */
static const char *const generic_kinds[] = {
	"bridge", "dummy",  "gre",    "gretap",	 "ifb",	    "ip6gre", "ip6tnl",
	"ipip",	  "ipvlan", "macsec", "macvlan", "macvtap", "sit",    "team",
	"vcan",	  "vlan",   "vrf",    "vxlan",	 "geneve",  "nlmon",  "wireguard",
};

static bool is_among(const char *name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(name, list[i]))
			return true;
	return false;
}
#define IS_AMONG(name, list) is_among(name, list, sizeof(list) / sizeof((list)[0]))

static void check_exists(struct doctor *doctor)
{
	const struct config_ebpf *ebpf = &doctor->config->ebpf;

	if (ebpf->enabled && !ebpf->interface_count) {
		doctor_find(doctor, DOCTOR_PROBLEM, "interfaces", "none is configured");
		doctor_remedy(doctor, "set ebpf.xdp.interface");
	}
	for (size_t i = 0; i < ebpf->interface_count; i++) {
		if (if_nametoindex(ebpf->interfaces[i]))
			continue;
		doctor_find(doctor, DOCTOR_PROBLEM, ebpf->interfaces[i],
			    "there is no such interface");
		doctor_remedy(doctor, "see 'ip link', and correct ebpf.xdp.interface");
	}
}

static void check_up(struct doctor *doctor, const struct doctor_link *link)
{
	if (link->link.up) {
		doctor_find(doctor, DOCTOR_OK, link->name, "it is up");
		return;
	}
	doctor_find(doctor, DOCTOR_PROBLEM, link->name, "it is down%s",
		    link->link.admin_up ? ": no carrier" : "");
	if (!link->link.admin_up)
		doctor_remedy(doctor, "ip link set %s up", link->name);
	else if (!strcmp(link->link.kind, "veth"))
		doctor_remedy(doctor, "set the other end of the veth pair up");
	else
		doctor_remedy(doctor, "check the cable, and the other end of it");
}

static void report_no_native(struct doctor *doctor, const struct doctor_link *link, bool certain)
{
	bool fatal = certain && !doctor->config->ebpf.generic_fallback;
	const char *driver = *link->driver ? link->driver : "unknown";

	doctor_find(doctor, fatal ? DOCTOR_PROBLEM : DOCTOR_WARNING, link->name,
		    certain ? "its driver (%s) cannot run XDP programs natively"
			    : "its driver (%s) is not known to run XDP programs natively",
		    link->link.loopback ? "loopback" : driver);
	if (link->link.parent)
		doctor_remedy(doctor, "use the interface below it: Loom reads VLAN tags itself");
	else
		doctor_remedy(doctor, "set mode: generic, or generic_fallback: true");
}

static void check_mode(struct doctor *doctor, const struct doctor_link *link)
{
	const struct config_ebpf *ebpf = &doctor->config->ebpf;

	if (ebpf->mode == CONFIG_XDP_OFFLOAD) {
		doctor_find(doctor, DOCTOR_PROBLEM, link->name,
			    "mode: offload is configured, and Loom's program runs on no card");
		doctor_remedy(doctor, "set mode: native");
	} else if (ebpf->mode == CONFIG_XDP_GENERIC) {
		doctor_find(
			doctor, DOCTOR_WARNING, link->name,
			"mode: generic is configured, which is several times slower than native");
		if (IS_AMONG(link->driver, native_drivers))
			doctor_remedy(doctor, "set mode: native; its driver (%s) can",
				      link->driver);
	} else if (IS_AMONG(link->driver, native_drivers)) {
		doctor_find(doctor, DOCTOR_OK, link->name,
			    "its driver (%s) runs XDP programs natively", link->driver);
	} else {
		report_no_native(doctor, link,
				 link->link.loopback || IS_AMONG(link->link.kind, generic_kinds));
	}
}

/* Of the other end's MTU: a page less headroom, Ethernet header and struct skb_shared_info
 * (drivers/net/veth.c, veth_xdp_set). */
static uint32_t veth_limit(void)
{
	return (uint32_t)sysconf(_SC_PAGESIZE) - 256 - 14 - 320;
}

static void check_mtu(struct doctor *doctor, const struct doctor_link *link)
{
	const struct config_ebpf *ebpf = &doctor->config->ebpf;
	bool veth = !strcmp(link->link.kind, "veth");
	uint32_t limit = veth ? veth_limit() : MTU_NATIVE;
	uint32_t mtu = link->has_peer ? link->peer.mtu : link->link.mtu;
	bool fatal = link->has_peer && !ebpf->generic_fallback;

	if (!link->native)
		return;
	if (mtu <= limit) {
		doctor_find(doctor, DOCTOR_OK, link->name, "an MTU of %u suits XDP", mtu);
		return;
	}
	doctor_find(doctor, fatal ? DOCTOR_PROBLEM : DOCTOR_WARNING, link->name,
		    "%san MTU of %u is more than native XDP %s (%u)",
		    link->has_peer ? "at its other end, " : "", mtu,
		    link->has_peer ? "takes" : "takes with most drivers", limit);
	if (link->peer_here)
		doctor_remedy(doctor, "ip link set %s mtu %u", link->peer.name, limit);
	else
		doctor_remedy(doctor, "set an MTU of %u%s, or mode: generic", limit,
			      link->has_peer ? " at the other end" : "");
}

/* The program of a pinned link to ifindex; 0: it is none. */
static uint32_t link_program(const char *path, uint32_t ifindex)
{
	struct bpf_link_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_obj_get(path);
	int r;

	if (fd < 0)
		return 0;
	r = bpf_obj_get_info_by_fd(fd, &info, &size);
	close(fd);
	return r == 0 && info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == ifindex
		       ? info.prog_id
		       : 0;
}

/* Is one of the pinned links of this instance the one that attached the program? */
static bool is_ours(const struct config *config, const struct netlink_link *link)
{
	char dir_path[256];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	doctor_pin_dir(config, dir_path, sizeof(dir_path));
	dir = opendir(dir_path);
	while (!found && dir && (entry = readdir(dir))) {
		char path[768];

		if (strncmp(entry->d_name, "link_", 5) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name);
		found = link_program(path, link->ifindex) == link->xdp_program;
	}
	if (dir)
		closedir(dir);
	return found;
}

static void check_program(struct doctor *doctor, const struct doctor_link *link)
{
	static const char *const modes[] = {
		[XDP_ATTACHED_DRV] = " in native mode",
		[XDP_ATTACHED_SKB] = " in generic mode",
		[XDP_ATTACHED_HW] = " on the card",
	};
	uint8_t mode = link->link.xdp_attached;
	const char *how = mode < sizeof(modes) / sizeof(modes[0]) && modes[mode] ? modes[mode] : "";

	if (mode == XDP_ATTACHED_NONE) {
		doctor_find(doctor, DOCTOR_OK, link->name, "no XDP program is in Loom's place");
	} else if (link->link.xdp_program && is_ours(doctor->config, &link->link)) {
		doctor_find(doctor, DOCTOR_OK, link->name, "Loom's program is attached%s", how);
	} else {
		doctor_find(doctor, DOCTOR_PROBLEM, link->name,
			    "an XDP program that is not Loom's (id %u) is attached%s",
			    link->link.xdp_program, how);
		doctor_remedy(doctor,
			      "end the program that attached it, or ip link set %s xdp off; "
			      "bpftool link shows what holds it",
			      link->name);
	}
}

static void check_cpus(struct doctor *doctor)
{
	const struct config_ebpf *ebpf = &doctor->config->ebpf;
	struct cpus wanted = { 0 };
	struct cpus online;
	struct err err = { 0 };

	for (size_t i = 0; i < ebpf->cpu_affinity_count; i++)
		cpus_add(&wanted, ebpf->cpu_affinity[i]);
	if (!ebpf->cpu_affinity_count || cpus_online(&online, "", &err) < 0)
		return;
	if (cpus_check_online(&wanted, &online, &err) < 0) {
		doctor_find(doctor, DOCTOR_PROBLEM, "CPUs", "%s", err.text);
		doctor_remedy(doctor, "correct ebpf.xdp.cpu_affinity");
		return;
	}
	doctor_find(doctor, DOCTOR_OK, "CPUs", "the %u of ebpf.xdp.cpu_affinity are online",
		    cpus_count(&wanted));
}

static void check_queues(struct doctor *doctor, const struct doctor_link *link)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t queues;

	if (ethtool_rx_queues(link->name, &queues) < 0)
		queues = link->link.rx_queues;
	if (!queues || cpus < 1)
		return;
	if (doctor->config->ebpf.cpu_affinity_count > queues) {
		doctor_find(doctor, DOCTOR_OK, link->name,
			    "%u receive queue%s, from which ebpf.xdp.cpu_affinity spreads packets "
			    "over %zu CPUs",
			    queues, queues == 1 ? "" : "s",
			    doctor->config->ebpf.cpu_affinity_count);
		return;
	}
	if (queues >= (uint32_t)cpus) {
		doctor_find(doctor, DOCTOR_OK, link->name, "%u receive queue%s for %ld CPU%s",
			    queues, queues == 1 ? "" : "s", cpus, cpus == 1 ? "" : "s");
		return;
	}
	doctor_find(doctor, DOCTOR_WARNING, link->name,
		    "with %u receive queue%s, no more than that of the %ld CPUs balance", queues,
		    queues == 1 ? "" : "s", cpus);
	if (!strcmp(link->link.kind, "veth"))
		doctor_remedy(doctor, "make it with 'numtxqueues %ld numrxqueues %ld' on both ends",
			      cpus, cpus);
	else
		doctor_remedy(doctor, "ethtool -L %s combined %ld, as far as the card has them",
			      link->name, cpus);
}

const struct doctor_check doctor_link_checks[] = {
	{ "interface", true, check_exists, NULL },
	{ "cpus", true, check_cpus, NULL },
	{ "up", true, NULL, check_up },
	{ "mode", true, NULL, check_mode },
	{ "mtu", true, NULL, check_mtu },
	{ "program", true, NULL, check_program },
	{ "queues", true, NULL, check_queues },
	{ 0 },
};

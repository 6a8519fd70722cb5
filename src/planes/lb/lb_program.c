/* Loads the program, specialised, over maps that outlive it. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "lb_internal.h"
#include "lb_traced.h"

#include "planes/lb/lb.skel.h"

const char *const lb_map_names[LB_MAP_COUNT] = {
#define LB_MAP_NAME(name, symbol) [LB_MAP_##name] = #symbol,
	LB_MAPS(LB_MAP_NAME)
#undef LB_MAP_NAME
};

static void forwarding_features(const struct service *service, struct lb_features *features)
{
	switch (service->forwarding) {
	case CONFIG_NAT_FULL:
		features->nat_full = true;
		break;
	case CONFIG_NAT_DESTINATION:
		features->nat_destination = true;
		break;
	case CONFIG_DSR_IPIP:
		features->ipip = true;
		break;
	case CONFIG_DSR_GUE:
		features->gue = true;
		break;
	case CONFIG_DSR_L2:
		features->l2 = true;
		break;
	}
}

static bool has_any_port(const struct service *service)
{
	return (service->tcp_port_count && !service->tcp_ports[0]) ||
	       (service->udp_port_count && !service->udp_ports[0]);
}

static void affinity_features(uint64_t timeout_ns, struct lb_features *features)
{
	uint32_t ticks = timeout_ns >> LB_TICK_SHIFT > UINT32_MAX
				 ? UINT32_MAX
				 : (uint32_t)(timeout_ns >> LB_TICK_SHIFT);

	if (!timeout_ns)
		return;
	if (!features->affinity || ticks < features->affinity_ticks)
		features->affinity_ticks = ticks;
	features->affinity = true;
}

static void service_features(const struct service *service, struct lb_features *features)
{
	bool v4 = false;

	for (size_t k = 0; k < service->address_count; k++) {
		if (addr_is_v4(&service->addresses[k]))
			v4 = features->ipv4 = true;
		else
			features->ipv6 = true;
	}
	/* Whether or not there is such a backend now: the API may bring one any time. */
	features->outer6 |= v4 && (service->forwarding == CONFIG_DSR_IPIP ||
				   service->forwarding == CONFIG_DSR_GUE);
	features->udp |= service->udp_port_count > 0;
	features->turns |= service->algorithm == CONFIG_ROUND_ROBIN ||
			   service->algorithm == CONFIG_WEIGHTED ||
			   service->algorithm == CONFIG_LEAST_CONNECTIONS;
	affinity_features(service->tcp_affinity_ns, features);
	affinity_features(service->udp_affinity_ns, features);
	features->quic |= service->quic.enabled;
	features->filter |= service->allow_count || service->deny_count;
	features->limits |= service->limits.new_per_second ||
			    service->limits.new_per_second_per_source;
	features->any_port |= has_any_port(service);
	features->local |= service->local;
	forwarding_features(service, features);
}

static void outer_features(const struct config_ebpf *config, struct lb_features *features)
{
	unsigned int bits4 = 128u - addr_net_bits(&config->outer4);
	unsigned int bits6 = 128u - addr_net_bits(&config->outer6);
	__be32 words[4];

	memcpy(words, &config->outer4.addr, sizeof(words));
	features->outer4 = words[3];
	features->outer4_hosts = bits4 >= 32 ? UINT32_MAX : (1u << bits4) - 1;
	memcpy(features->outer_net6, &config->outer6.addr, sizeof(features->outer_net6));
	features->outer6_hosts = bits6 >= 32 ? UINT32_MAX : (1u << bits6) - 1;
	features->gue_port = htons(config->gue_port);
}

/* A service that changes its mode does so for new flows: the others go on as they began. */
static void keep_modes(const struct lb_features *past, struct lb_features *features)
{
	if (features->stateless)
		return;
	features->nat_full |= past->nat_full;
	features->nat_destination |= past->nat_destination;
	features->ipip |= past->ipip;
	features->gue |= past->gue;
	features->l2 |= past->l2;
	features->outer6 |= past->outer6;
}

static void note_mode(const struct lb_service_key *key, const struct lb_service *service,
		      struct lb_features *past)
{
	past->nat_full |= service->mode == LB_MODE_NAT_FULL;
	past->nat_destination |= service->mode == LB_MODE_NAT_DESTINATION;
	past->ipip |= service->mode == LB_MODE_IPIP;
	past->gue |= service->mode == LB_MODE_GUE;
	past->l2 |= service->mode == LB_MODE_L2;
	past->outer6 |= (service->mode == LB_MODE_IPIP || service->mode == LB_MODE_GUE) &&
			addr_is_v4((const struct addr *)key->addr);
}

void lb_features_found(const struct lb *lb, struct lb_features *ret)
{
	struct lb_service_key key;
	struct lb_service service;
	int fd = lb->maps[LB_MAP_SERVICES];

	memset(ret, 0, sizeof(*ret));
	for (void *last = NULL; fd >= 0 && !bpf_map_get_next_key(fd, last, &key); last = &key)
		if (!bpf_map_lookup_elem(fd, &key, &service) && key.proto != IPPROTO_ICMP)
			note_mode(&key, &service, ret);
}

static bool can_make_cookies(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_tcp_raw_gen_syncookie_ipv4,
				       NULL) == 1;
}

struct lb_features lb_features_of(const struct config_ebpf *config, const struct model *model,
				  const struct lb_features *past)
{
	struct lb_features features;

	memset(&features, 0, sizeof(features)); /* padding, too */
	for (size_t i = 0; i < model->service_count; i++)
		service_features(&model->services[i], &features);
	features.stateless = config->stateless;
	keep_modes(past, &features);
	if (features.ipip || features.gue)
		outer_features(config, &features);
	features.local |= config->hybrid || !config->stateless;
	features.cookies = features.limits && (features.nat_full || features.nat_destination) &&
			   can_make_cookies();
	features.echo = config->icmp_echo;
	if (config->mss_clamp)
		features.mss_max = config->mss_max ? config->mss_max : UINT16_MAX;
	features.icmp_interval_ns =
		(uint32_t)(NSEC_PER_SEC / (config->icmp_rate ? config->icmp_rate : 1000));
	return features;
}

bool lb_features_equal(const struct lb_features *a, const struct lb_features *b)
{
	/* Padding, too: lb_features_of clears it. */
	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
	return !memcmp(a, b, sizeof(*a));
}

static uint32_t touch_ticks(const struct config_ebpf *config, const struct lb_features *features)
{
	/* The states in which one side may speak for long while the other is silent. */
	const uint64_t timeouts[] = { config->timeout_ns, config->tcp.established_ns,
				      config->tcp.fin_wait_ns };
	uint64_t least = UINT64_MAX;
	uint64_t ticks;

	for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++)
		if (timeouts[i] < least)
			least = timeouts[i];
	ticks = (least / 4) >> LB_TICK_SHIFT;
	/* Clients with long connections are remembered until those end. */
	if (features->affinity && features->affinity_ticks / 4 < ticks)
		ticks = features->affinity_ticks / 4;
	return ticks < 1 ? 1 : ticks > 8 ? 8 : (uint32_t)ticks;
}

uint32_t lb_touch_ticks(const struct lb *lb)
{
	return touch_ticks(lb->options.config, &lb->features);
}

/* Table entries for max_connections: NAT takes two each. */
static uint32_t conn_entries(const struct lb *lb, bool used)
{
	uint64_t entries = (uint64_t)lb->options.config->max_connections * 2;

	if (!used)
		return 1;
	return entries > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)entries;
}

static int size_maps(struct lb *lb, struct lb_bpf *bpf, const struct lb_features *features)
{
	const struct config_ebpf *config = lb->options.config;
	enum bpf_map_type type = config->connections_type == CONFIG_MAP_HASH
					 ? BPF_MAP_TYPE_HASH
					 : BPF_MAP_TYPE_LRU_HASH;
	int r = 0;

	r |= bpf_map__set_type(bpf->maps.lb_conns4, type);
	r |= bpf_map__set_type(bpf->maps.lb_conns6, type);
	r |= bpf_map__set_max_entries(bpf->maps.lb_conns4, conn_entries(lb, features->ipv4));
	r |= bpf_map__set_max_entries(bpf->maps.lb_conns6, conn_entries(lb, features->ipv6));
	r |= bpf_map__set_max_entries(bpf->maps.lb_backends, lb->row_count);
	r |= bpf_map__set_max_entries(bpf->maps.lb_backend_counts, lb->row_count);
	r |= bpf_map__set_max_entries(bpf->maps.lb_reals, lb->row_count * 2);
	r |= bpf_map__set_max_entries(bpf->maps.lb_server_ids, lb->row_count * 2);
	r |= bpf_map__set_max_entries(bpf->maps.lb_affinity,
				      features->affinity ? config->max_affinities : 1);
	r |= bpf_map__set_max_entries(bpf->maps.lb_source_rates,
				      features->limits ? config->max_sources : 1);
	r |= bpf_map__set_max_entries(bpf->maps.lb_fragments,
				      config->max_fragments ? config->max_fragments : 1);
	r |= bpf_map__set_max_entries(bpf->maps.lb_events, config->ring_buffer_size);
	return r ? -EINVAL : 0;
}

static void pin_path(const struct lb *lb, enum lb_map map, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", lb->options.pin_dir, lb_map_names[map]);
}

static bool is_wanted(enum lb_map map, const struct lb_features *features)
{
	switch (map) {
	case LB_MAP_CONNS4:
		return features->ipv4;
	case LB_MAP_CONNS6:
		return features->ipv6;
	case LB_MAP_AFFINITY:
		return features->affinity;
	default:
		return false;
	}
}

/* A table of one entry was made while nobody needed it: a real one takes its place. */
static bool outgrown(const struct lb *lb, enum lb_map map, const struct lb_features *features)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (!is_wanted(map, features) || lb->maps[map] < 0)
		return false;
	return bpf_obj_get_info_by_fd(lb->maps[map], &info, &size) == 0 && info.max_entries == 1;
}

static int reuse_maps(struct lb *lb, struct lb_bpf *bpf, const struct lb_features *features,
		      struct err *err)
{
	for (int i = 0; i < LB_MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(bpf->obj, lb_map_names[i]);
		char path[256];
		int r;

		if (lb->maps[i] < 0)
			continue;
		if (outgrown(lb, i, features)) {
			pin_path(lb, i, path, sizeof(path));
			if (!lb->options.trial)
				unlink(path);
			close(lb->maps[i]);
			lb->maps[i] = -1;
			continue;
		}
		r = bpf_map__reuse_fd(map, lb->maps[i]);
		if (r < 0)
			return err_set(err, r, "cannot reuse map %s: %s", lb_map_names[i],
				       strerror(-r));
	}
	return 0;
}

static int pin_new_maps(struct lb *lb, struct lb_bpf *bpf, struct err *err)
{
	for (int i = 0; i < LB_MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(bpf->obj, lb_map_names[i]);
		char path[256];
		int r;

		if (lb->maps[i] >= 0)
			continue;
		pin_path(lb, i, path, sizeof(path));
		lb->maps[i] = dup(bpf_map__fd(map));
		if (lb->maps[i] < 0)
			return err_set(err, -errno, "cannot duplicate a map: %s", strerror(errno));
		r = bpf_obj_pin(lb->maps[i], path);
		if (r < 0)
			return err_set(err, -errno,
				       "cannot pin %s: %s; is the directory on a bpf filesystem?",
				       path, strerror(errno));
	}
	return 0;
}

static void specialise(const struct lb *lb, struct lb_bpf *bpf, const struct lb_features *features)
{
	bpf->rodata->lb_const_ipv4 = features->ipv4;
	bpf->rodata->lb_const_ipv6 = features->ipv6;
	bpf->rodata->lb_const_udp = features->udp;
	bpf->rodata->lb_const_nat_full = features->nat_full;
	bpf->rodata->lb_const_nat_destination = features->nat_destination;
	bpf->rodata->lb_const_ipip = features->ipip;
	bpf->rodata->lb_const_gue = features->gue;
	bpf->rodata->lb_const_l2 = features->l2;
	bpf->rodata->lb_const_outer6 = features->outer6;
	bpf->rodata->lb_const_stateless = features->stateless;
	bpf->rodata->lb_const_turns = features->turns;
	bpf->rodata->lb_const_affinity = features->affinity;
	bpf->rodata->lb_const_quic = features->quic;
	bpf->rodata->lb_const_filter = features->filter;
	bpf->rodata->lb_const_limits = features->limits;
	bpf->rodata->lb_const_cookies = features->cookies;
	bpf->rodata->lb_const_any_port = features->any_port;
	bpf->rodata->lb_const_local = features->local;
	bpf->rodata->lb_const_echo = features->echo;
	bpf->rodata->lb_const_mss_max = features->mss_max;
	bpf->rodata->lb_const_icmp_interval_ns = features->icmp_interval_ns;
	bpf->rodata->lb_const_outer4 = features->outer4;
	bpf->rodata->lb_const_outer4_hosts = features->outer4_hosts;
	for (int i = 0; i < 4; i++)
		bpf->rodata->lb_const_outer_net6[i] = features->outer_net6[i];
	bpf->rodata->lb_const_outer6_hosts = features->outer6_hosts;
	bpf->rodata->lb_const_gue_port = features->gue_port;
	bpf->rodata->lb_const_port_first = lb->options.port_first;
	bpf->rodata->lb_const_port_last = lb->options.port_last;
	bpf->rodata->lb_const_touch_ticks = touch_ticks(lb->options.config, features);
	bpf->rodata->lb_const_coarse_clock =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_ktime_get_coarse_ns, NULL) == 1;
}

int lb_program_load(struct lb *lb, const struct lb_features *features, struct err *err)
{
	struct lb_bpf *bpf = features->trace ? lb_traced_open() : lb_bpf__open();
	struct cpus spread;
	int r;

	if (!bpf)
		return err_set(err, -errno, "cannot open the embedded program: %s",
			       strerror(errno));
	specialise(lb, bpf, features);
	lb_spread_cpus(lb->options.config, &spread);
	r = lb_spread_prepare(bpf, &spread, err);
	if (r < 0)
		goto fail;
	r = size_maps(lb, bpf, features);
	if (r < 0) {
		err_set(err, r, "cannot size the maps: ring_buffer_size must be a power of two");
		goto fail;
	}
	r = reuse_maps(lb, bpf, features, err);
	if (r == 0 && features->trace)
		r = lb_trace_prepare(lb, bpf, err);
	if (r < 0)
		goto fail;
	r = lb_bpf__load(bpf);
	if (r < 0) {
		err_set(err, r,
			"cannot load the load balancer's program: %s; 'loom doctor' says what this "
			"kernel lacks",
			strerror(-r));
		goto fail;
	}
	r = lb_spread_fill(bpf, &spread, err);
	if (r == 0 && !lb->options.trial)
		r = pin_new_maps(lb, bpf, err);
	if (r < 0)
		goto fail;
	lb_program_unload(lb->bpf);
	lb->bpf = bpf;
	lb->features = *features;
	lb->spread = spread;
	return 0;
fail:
	lb_program_unload(bpf);
	return r;
}

void lb_program_unload(struct lb_bpf *bpf)
{
	lb_bpf__destroy(bpf); /* NULL is fine */
}

int lb_program_fd(const struct lb *lb)
{
	return bpf_program__fd(lb->bpf->progs.lb_main);
}

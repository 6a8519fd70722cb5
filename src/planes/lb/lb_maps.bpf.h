/* lb_maps.bpf.h - the maps and load-time constants of the load balancer (lb_abi.h says who writes
 * what). */
#ifndef LB_MAPS_BPF_H
#define LB_MAPS_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb_abi.h"

/* Set before load.  The verifier deletes what they switch off. */
const volatile bool lb_const_ipv4 = true;
const volatile bool lb_const_ipv6 = true;
const volatile bool lb_const_udp = true;
const volatile bool lb_const_nat_full = true;
const volatile bool lb_const_nat_destination = true;
const volatile bool lb_const_ipip = true;
const volatile bool lb_const_gue = true;
const volatile bool lb_const_l2 = true;
const volatile bool lb_const_outer6 = true; /* IPv4 in IPv6 */
const volatile bool lb_const_stateless;	    /* no entries: all services are DSR */
const volatile bool lb_const_turns = true;  /* some service picks slots in turn */
const volatile bool lb_const_affinity = true;
const volatile bool lb_const_quic = true;
const volatile bool lb_const_filter = true;
const volatile bool lb_const_limits = true;
const volatile bool lb_const_cookies = true; /* bpf_tcp_raw_gen_syncookie_*: Linux 6.0 */
const volatile bool lb_const_any_port = true;
const volatile bool lb_const_local = true; /* some new flows are left to the stack */
const volatile bool lb_const_echo = true;
const volatile bool lb_const_fallback = true; /* what finds no way goes to the stack */
const volatile __u16 lb_const_mss_max;	      /* of SYNs; 0: not clamped; 65535: by MTU alone */
const volatile __u32 lb_const_icmp_interval_ns = 1000000; /* between two ICMP errors, a CPU */
const volatile __be32 lb_const_outer4;			  /* outer source addresses: network ... */
const volatile __u32 lb_const_outer4_hosts;		  /* ... and host bits, host order */
const volatile __be32 lb_const_outer_net6[4];
const volatile __u32 lb_const_outer6_hosts; /* of the last word */
const volatile __be16 lb_const_gue_port;
const volatile __u32 lb_const_touch_ticks = 8;	  /* halves look after each other so often */
const volatile bool lb_const_coarse_clock = true; /* bpf_ktime_get_coarse_ns: Linux 5.11 */
const volatile bool lb_const_spread;		  /* lb_spread hands packets to CPUs */
const volatile __u16 lb_const_port_first = 1024;  /* source ports of NAT, host order */
const volatile __u16 lb_const_port_last = 32767;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* sized before load */
	__type(key, struct lb_key4);
	__type(value, struct lb_conn4);
} lb_conns4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct lb_key6);
	__type(value, struct lb_conn6);
} lb_conns6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LB_MAX_SERVICE_KEYS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
} lb_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LB_MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct lb_vips);
} lb_vips SEC(".maps");

/* Row: a service of one family.  Its slots hold rows of lb_backends; a new table replaces the old
 * in one step. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, LB_MAX_SERVICES);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(max_entries, 1);
			/* Tables differ in size (Linux 5.10), and are filled through memory. */
			__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
			__type(key, __u32);
			__type(value, __u32);
		});
} lb_tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* sized before load */
	__type(key, __u32);
	__type(value, struct lb_backend);
} lb_backends SEC(".maps");

/* How many slots of a table were taken in turn. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LB_MAX_SERVICES);
	__type(key, __u32);
	__type(value, __u32);
} lb_turns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* sized before load */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_server_id);
	__type(value, __u32);
} lb_server_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, LB_MAX_FILTERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_filter_key);
	__type(value, __u32);
} lb_filters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* sized before load */
	__type(key, struct lb_affinity_key);
	__type(value, struct lb_affinity);
} lb_affinity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LB_MAX_SERVICES);
	__type(key, __u32);
	__type(value, __u64);
} lb_rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* sized before load */
	__type(key, struct lb_source_key);
	__type(value, __u64);
} lb_source_rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* sized before load */
	__type(key, struct lb_fragment_key);
	__type(value, struct lb_fragment);
} lb_fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LB_MAX_LINKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct lb_link_info);
} lb_links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LB_MAX_SOURCES);
	__type(key, __u32);
	__type(value, struct lb_addr);
} lb_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* sized before load */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_service_key);
	__type(value, __u32);
} lb_reals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_ports);
} lb_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_control);
} lb_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LB_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, struct lb_count);
} lb_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1); /* sized before load */
	__type(key, __u32);
	__type(value, struct lb_backend_count);
} lb_backend_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16384); /* sized before load */
} lb_events SEC(".maps");

#endif

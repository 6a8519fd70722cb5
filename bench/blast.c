// SPDX-License-Identifier: GPL-2.0-only
/* blast.c - sends packets through a balancer as fast as one CPU can and counts what comes out.
 *
 * One line of JSON: what was sent, what arrived where it should, and on which CPUs; how long it
 * took by the clock and by the sending CPU.  Everything it attaches goes with the process. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "blast.h"
#include "blast.skel.h"

#define BATCH	    256
#define SETTLE_US   50000 /* from the start of sending to the first reading */
#define MAX_CPUS    1024
#define MAX_SENDERS 16
#define MAX_FLOWS   (1u << 24)
#define FIRST_PORT  10000

struct port {
	char netns[64];
	char name[IFNAMSIZ];
	unsigned int ifindex;
	__u8 mac[ETH_ALEN];
};

struct options {
	struct port from;    /* the generator's end */
	struct port to;	     /* the receiver's end */
	struct port through; /* the balancer's port, if it needs a program of ours */
	struct port out;     /* the balancer's other port, for --forward */
	bool pass;
	bool forward;
	__u8 next_mac[ETH_ALEN];
	struct in_addr vip;
	struct in_addr client;
	unsigned int vip_port;
	unsigned int receive_port;
	unsigned int flows;
	unsigned int cpu;  /* the first of them */
	unsigned int cpus; /* that send */
	int proto;
	double seconds;
	unsigned long warm_up;
};

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("blast: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static double seconds_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void enter(const char *netns)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die("cannot enter %s: %m", path);
	close(fd);
}

/* "NETNS:INTERFACE" */
static void port_find(struct port *port, const char *text)
{
	struct ifreq request = { 0 };
	int fd;

	if (sscanf(text, "%63[^:]:%15s", port->netns, port->name) != 2)
		die("%s: expected NETNS:INTERFACE", text);
	enter(port->netns);
	port->ifindex = if_nametoindex(port->name);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(request.ifr_name, port->name, sizeof(port->name));
	if (!port->ifindex || fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		die("cannot read %s: %m", text);
	memcpy(port->mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
}

static void parse_mac(__u8 mac[ETH_ALEN], const char *text)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		   &mac[4], &mac[5]) != 6)
		die("%s: expected a MAC address", text);
}

static void parse_address(struct in_addr *address, const char *text)
{
	if (!inet_aton(text, address))
		die("%s: expected an IPv4 address", text);
}

/* Options that name a station on the packets' way.  Returns false for others. */
static bool parse_station(struct options *o, int option, const char *text)
{
	switch (option) {
	case 'f':
		port_find(&o->from, text);
		return true;
	case 't':
		port_find(&o->to, text);
		return true;
	case 'o':
		port_find(&o->out, text);
		return true;
	case 'p':
	case 'w':
		port_find(&o->through, text);
		o->pass = option == 'p';
		o->forward = option == 'w';
		return true;
	case 'm':
		parse_mac(o->next_mac, text);
		return true;
	case 'v':
		parse_address(&o->vip, text);
		return true;
	case 'c':
		parse_address(&o->client, text);
		return true;
	default:
		return false;
	}
}

static bool parse_amount(struct options *o, int option, const char *text)
{
	switch (option) {
	case 'V':
		o->vip_port = atoi(text);
		return true;
	case 'r':
		o->receive_port = atoi(text);
		return true;
	case 'n':
		o->flows = atoi(text);
		return true;
	case 'C':
		o->cpu = atoi(text);
		return true;
	case 'N':
		o->cpus = atoi(text);
		return true;
	case 'u':
		o->proto = IPPROTO_UDP;
		return true;
	case 's':
		o->seconds = atof(text);
		return true;
	case 'W':
		o->warm_up = strtoul(text, NULL, 10);
		return true;
	default:
		return false;
	}
}

static void parse_options(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{ "from", required_argument, NULL, 'f' },
		{ "to", required_argument, NULL, 't' },
		{ "pass", required_argument, NULL, 'p' },
		{ "forward", required_argument, NULL, 'w' },
		{ "out", required_argument, NULL, 'o' },
		{ "next-mac", required_argument, NULL, 'm' },
		{ "vip", required_argument, NULL, 'v' },
		{ "client", required_argument, NULL, 'c' },
		{ "vip-port", required_argument, NULL, 'V' },
		{ "receive-port", required_argument, NULL, 'r' },
		{ "flows", required_argument, NULL, 'n' },
		{ "cpu", required_argument, NULL, 'C' },
		{ "cpus", required_argument, NULL, 'N' },
		{ "udp", no_argument, NULL, 'u' },
		{ "seconds", required_argument, NULL, 's' },
		{ "warm-up", required_argument, NULL, 'W' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
		if (!parse_station(o, option, optarg) && !parse_amount(o, option, optarg))
			exit(2);
	if (!o->flows || o->flows & (o->flows - 1) || o->flows > MAX_FLOWS)
		die("--flows: expected a power of two up to %u", MAX_FLOWS);
	if (!o->cpus || o->cpus > MAX_SENDERS || o->cpu + o->cpus > BLAST_CPUS)
		die("--cpus: expected 1 to %d", MAX_SENDERS);
	if (!o->from.ifindex || !o->to.ifindex)
		die("--from and --to are needed");
}

static __u32 sum_of(const void *data, size_t len)
{
	const __u16 *words = data;
	__u32 sum = 0;

	for (size_t i = 0; i < len / 2; i++)
		sum += words[i];
	return sum;
}

/* Fills in the template: an ACK without data of an established connection, or 18 bytes of UDP. */
static void order_fill(struct blast_order *order, const struct options *o)
{
	struct ethhdr *eth = (struct ethhdr *)order->frame;
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = o->proto };
	struct tcphdr tcp = { .dest = htons(o->vip_port),
			      .seq = htonl(1),
			      .ack_seq = htonl(1),
			      .doff = 5,
			      .ack = 1,
			      .window = htons(65535) };
	struct udphdr udp = { .dest = htons(o->vip_port) };
	bool is_tcp = o->proto == IPPROTO_TCP;
	__u16 l4_len = is_tcp ? sizeof(tcp) : BLAST_FRAME_SIZE - ETH_HLEN - sizeof(ip);
	int client_bits = __builtin_ctz(o->flows) / 2;

	memset(order, 0, sizeof(*order));
	udp.len = htons(l4_len);
	ip.tot_len = htons(sizeof(ip) + l4_len);
	ip.daddr = o->vip.s_addr;
	memcpy(eth->h_dest, o->next_mac, ETH_ALEN);
	memcpy(eth->h_source, o->from.mac, ETH_ALEN);
	eth->h_proto = htons(ETH_P_IP);
	memcpy(eth + 1, &ip, sizeof(ip));
	memcpy((char *)(eth + 1) + sizeof(ip), is_tcp ? (void *)&tcp : (void *)&udp,
	       is_tcp ? sizeof(tcp) : sizeof(udp));

	order->ip_sum = sum_of(&ip, sizeof(ip));
	order->l4_sum = sum_of(&ip.daddr, 4) + htons(o->proto) + htons(l4_len) +
			(is_tcp ? sum_of(&tcp, sizeof(tcp)) : sum_of(&udp, sizeof(udp)));
	order->l4_check_at = is_tcp ? offsetof(struct tcphdr, check)
				    : offsetof(struct udphdr, check);
	order->ifindex = o->from.ifindex;
	order->saddr = ntohl(o->client.s_addr);
	order->sport = FIRST_PORT;
	order->mask = o->flows - 1;
	order->client_bits = client_bits;
	order->client_mask = (1u << client_bits) - 1;
}

/* Somewhere else every time, and each CPU far from the others. */
static void places_fill(struct blast_place *places, const struct options *o)
{
	for (unsigned int i = 0; i < o->cpus; i++)
		places[o->cpu + i].next = time(NULL) * 7919 + (__u64)o->flows / o->cpus * i;
}

static int attach(const struct bpf_program *program, const struct port *port)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int link;

	enter(port->netns);
	link = bpf_link_create(bpf_program__fd(program), port->ifindex, BPF_XDP, &opts);
	if (link < 0)
		die("cannot attach %s to %s: %m", bpf_program__name(program), port->name);
	return link;
}

static struct blast_bpf *load(const struct options *o)
{
	struct blast_bpf *bpf = blast_bpf__open();

	if (!bpf)
		die("cannot open the programs: %m");
	bpf->rodata->receive_port = htons(o->receive_port);
	bpf->rodata->forward_ifindex = o->out.ifindex;
	memcpy((void *)bpf->rodata->forward_smac, o->out.mac, ETH_ALEN);
	memcpy((void *)bpf->rodata->forward_dmac, o->to.mac, ETH_ALEN);
	if (blast_bpf__load(bpf))
		die("cannot load the programs: %m");
	attach(bpf->progs.blast_receive, &o->to);
	if (o->pass)
		attach(bpf->progs.blast_pass, &o->through);
	if (o->forward)
		attach(bpf->progs.blast_forward, &o->through);
	return bpf;
}

/* Sends `packets`, or until SIGUSR1.  One call for a whole measurement: each waits for two grace
 * periods of RCU (bpf_prog_change_xdp). */
static void send_packets(struct blast_bpf *bpf, unsigned long packets)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = bpf->bss->order.frame,
		    .data_size_in = BLAST_FRAME_SIZE, .repeat = packets,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);

	if (bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.blast_send), &opts) && errno != EINTR)
		die("cannot send: %m");
}

static __u64 count_read(const struct blast_bpf *bpf, __u32 row, __u64 *by_cpu)
{
	__u64 sum = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(bpf->maps.counts), &row, by_cpu))
		die("cannot read the receiver's counts: %m");
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += by_cpu[i];
	return sum;
}

static void pin_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot run on CPU %u: %m", cpu);
}

/* Leaves the senders their CPUs to themselves, if there is another. */
static void keep_off(const struct options *o)
{
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	for (unsigned int i = 0; i < o->cpus; i++)
		CPU_CLR(o->cpu + i, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

struct reading {
	double at;
	double cpu;
	__u64 sent;
	__u64 received;
	__u64 stray;
	__u64 by_cpu[MAX_CPUS];
};

struct sender {
	struct blast_bpf *bpf;
	unsigned int cpu;
	unsigned long packets;
	pthread_t thread;
	int softirq_fd; /* schedstat of its CPU's ksoftirqd, which takes over when pressed */
};

struct sampler {
	struct blast_bpf *bpf;
	const struct options *options;
	struct sender senders[MAX_SENDERS];
	struct reading start;
	struct reading end;
};

static int softirq_open(unsigned int cpu)
{
	char want[32], name[32], path[300];
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int fd = -1;

	snprintf(want, sizeof(want), "ksoftirqd/%u\n", cpu);
	while (proc && fd < 0 && (entry = readdir(proc))) {
		FILE *comm;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		comm = entry->d_name[0] > '0' && entry->d_name[0] <= '9' ? fopen(path, "re") : NULL;
		if (!comm)
			continue;
		if (fgets(name, sizeof(name), comm) && !strcmp(name, want)) {
			snprintf(path, sizeof(path), "/proc/%s/schedstat", entry->d_name);
			fd = open(path, O_RDONLY | O_CLOEXEC);
		}
		fclose(comm);
	}
	if (proc)
		closedir(proc);
	return fd;
}

static double softirq_seconds(int fd)
{
	char text[64] = { 0 };

	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtoull(text, NULL, 10) / 1e9;
}

static void read_all(struct sampler *s, struct reading *r)
{
	r->at = seconds_of(CLOCK_MONOTONIC);
	r->cpu = 0;
	r->sent = 0;
	for (unsigned int i = 0; i < s->options->cpus; i++) {
		const struct sender *sender = &s->senders[i];
		clockid_t clock;

		pthread_getcpuclockid(sender->thread, &clock);
		r->cpu += seconds_of(clock) + softirq_seconds(sender->softirq_fd);
		r->sent += *(volatile __u64 *)&s->bpf->bss->places[sender->cpu].next;
	}
	r->stray = count_read(s->bpf, BLAST_STRAY, r->by_cpu);
	r->received = count_read(s->bpf, BLAST_RECEIVED, r->by_cpu);
}

static void *send_from(void *arg)
{
	struct sender *sender = arg;

	pin_to(sender->cpu);
	send_packets(sender->bpf, sender->packets);
	return NULL;
}

/* All of them; the network namespace of a thread is its maker's. */
static void start(struct sampler *s, unsigned long packets)
{
	for (unsigned int i = 0; i < s->options->cpus; i++) {
		s->senders[i].packets = packets;
		if (pthread_create(&s->senders[i].thread, NULL, send_from, &s->senders[i]))
			die("cannot start a thread: %m");
	}
}

static void join(struct sampler *s)
{
	for (unsigned int i = 0; i < s->options->cpus; i++)
		pthread_join(s->senders[i].thread, NULL);
}

static void nothing(int signum)
{
}

/* Looks on, from another CPU if there is one, while each sender is inside one long system call. */
static void measure(struct blast_bpf *bpf, const struct options *o)
{
	struct sampler s = { .bpf = bpf, .options = o };
	struct sigaction action = { .sa_handler = nothing };

	sigaction(SIGUSR1, &action, NULL);
	for (unsigned int i = 0; i < o->cpus; i++) {
		s.senders[i].bpf = bpf;
		s.senders[i].cpu = o->cpu + i;
		s.senders[i].softirq_fd = softirq_open(o->cpu + i);
	}
	keep_off(o);
	if (o->warm_up) {
		start(&s, o->warm_up / o->cpus);
		join(&s);
	}
	start(&s, INT32_MAX);
	usleep(SETTLE_US);
	read_all(&s, &s.start);
	usleep(o->seconds * 1e6);
	read_all(&s, &s.end);
	for (unsigned int i = 0; i < o->cpus; i++)
		pthread_kill(s.senders[i].thread, SIGUSR1);
	join(&s);
	printf("{\"sent\": %llu, \"received\": %llu, \"stray\": %llu, \"seconds\": %.6f, "
	       "\"cpu_seconds\": %.6f, \"received_by_cpu\": [",
	       s.end.sent - s.start.sent, s.end.received - s.start.received,
	       s.end.stray - s.start.stray, s.end.at - s.start.at, s.end.cpu - s.start.cpu);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		printf("%s%llu", i ? ", " : "", s.end.by_cpu[i] - s.start.by_cpu[i]);
	puts("]}");
}

int main(int argc, char **argv)
{
	struct options options = { .proto = IPPROTO_TCP,
				   .flows = 1024,
				   .cpu = 1,
				   .cpus = 1,
				   .seconds = 1,
				   .vip_port = 80,
				   .receive_port = 80 };
	struct blast_bpf *bpf;

	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	parse_options(&options, argc, argv);
	bpf = load(&options);
	order_fill(&bpf->bss->order, &options);
	places_fill(bpf->bss->places, &options);
	enter(options.from.netns);
	measure(bpf, &options);
	blast_bpf__destroy(bpf);
	return 0;
}

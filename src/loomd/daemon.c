/* The daemon's life: open everything in order, serve, let go in the opposite order. */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon_internal.h"
#include "notify.h"
#include "planes/lb/lb_resolve.h"
#include "state.h"
#include "sys/bpffs.h"
#include "sys/ports.h"
#include "sys/privilege.h"

/* Neighbours that nobody sends through are probed this often. */
#define RESOLVE_NS (5 * NSEC_PER_SEC)
/* While a neighbour's answer is awaited its event comes by netlink; this catches what events miss.
 */
#define SETTLE_NS (20 * NSEC_PER_MSEC)
/* How often the table is swept while removed backends wait for their last connection. */
#define LEAVING_NS (200 * NSEC_PER_MSEC)
/* Between two steps of a sweep the loop serves others. */
#define PAUSE_NS NSEC_PER_MSEC

void daemon_pin_dir(const struct config *config, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", config->ebpf.pin_path, config->instance);
}

/* ---- while serving ---- */

/* Soon, if removed backends wait for their last connection; but a fifth of the time at most. */
static uint64_t until_next_pass(const struct daemon *daemon)
{
	uint64_t rest = 4 * lb_sweep_duration_ns(daemon->lb);

	if (!daemon->leaving_count)
		return daemon->config->ebpf.sweep_interval_ns;
	return rest > LEAVING_NS ? rest : LEAVING_NS;
}

static void on_sweep(void *ctx)
{
	struct daemon *daemon = ctx;

	bool complete = lb_sweep_step(daemon->lb);

	if (complete) {
		daemon_reap(daemon);
		daemon_follow_load(daemon);
	}
	loop_arm(daemon->sweep_timer, complete ? until_next_pass(daemon) : PAUSE_NS);
}

/* A storm of events takes a tenth of the time at most. */
static uint64_t settle_ns(const struct daemon *daemon)
{
	return SETTLE_NS + 10 * daemon->resolve_cost_ns;
}

static void on_resolve(void *ctx)
{
	struct daemon *daemon = ctx;

	uint64_t begun = clock_now_ns();
	bool complete;

	if (!daemon->resolve_spent_ns)
		daemon->resolve_again = false;
	complete = lb_resolve_step(daemon->lb, daemon->netlink);
	daemon->resolve_spent_ns += clock_now_ns() - begun;
	if (!complete) {
		loop_arm(daemon->resolve_timer, PAUSE_NS);
		return;
	}
	daemon->resolve_cost_ns = daemon->resolve_spent_ns;
	daemon->resolve_spent_ns = 0;
	loop_arm(daemon->resolve_timer, daemon->resolve_again ? settle_ns(daemon) : RESOLVE_NS);
}

/* Interfaces that were gone and are back, or have other addresses. */
static void follow_interfaces(struct daemon *daemon)
{
	struct err err = { 0 };

	if (lb_attach(daemon->lb, &err) < 0) {
		/* Once, whatever other links come and go meanwhile. */
		if (strcmp(err.text, daemon->attach_said.text) != 0)
			log_warning("%s", err.text);
		daemon->attach_said = err;
		return;
	}
	daemon->attach_said.text[0] = '\0';
	if (daemon_follow_addresses(daemon, &err) < 0)
		log_warning("cannot follow the interfaces' addresses: %s", err.text);
}

static void on_netlink(void *ctx, uint32_t events)
{
	struct daemon *daemon = ctx;
	unsigned int kinds = netlink_monitor_drain(daemon->netlink);

	(void)events;
	if (kinds & (NETLINK_CHANGED_LINK | NETLINK_CHANGED_ADDR))
		follow_interfaces(daemon);
	if (!kinds)
		return;
	daemon->resolve_again = true;
	loop_arm_sooner(daemon->resolve_timer, settle_ns(daemon));
}

static void on_lb_event(void *ctx, uint32_t events)
{
	struct daemon *daemon = ctx;
	bool sweep;

	(void)events;
	if (lb_events_read(daemon->lb, &sweep) == 0 && sweep)
		loop_arm(daemon->sweep_timer, 0);
}

static void arm_admin(struct daemon *daemon)
{
	int ms = admin_timeout_ms(daemon->admin);

	if (ms >= 0)
		loop_arm(daemon->admin_timer, (uint64_t)ms * NSEC_PER_MSEC);
	else
		loop_disarm(daemon->admin_timer);
}

static void on_admin_timer(void *ctx)
{
	struct daemon *daemon = ctx;

	admin_run(daemon->admin);
	arm_admin(daemon);
}

static void on_admin(void *ctx, uint32_t events)
{
	(void)events;
	on_admin_timer(ctx);
}

static void reload_by_signal(struct daemon *daemon)
{
	struct buf complaints;
	struct buf report;
	struct err err = { 0 };

	buf_init(&complaints);
	buf_init(&report);
	if (daemon_reload(daemon, false, &complaints, &report, &err) < 0)
		log_error("cannot reload: %s\n%s", err.text, complaints.len ? complaints.data : "");
	else
		log_notice("reloaded%s%s", report.len ? ": " : "", report.len ? report.data : "");
	buf_done(&complaints);
	buf_done(&report);
}

static void on_signal(void *ctx, int signal)
{
	struct daemon *daemon = ctx;

	if (signal == SIGHUP) {
		reload_by_signal(daemon);
		return;
	}
	if (signal == SIGUSR2) {
		log_notice("starting %s anew; the data path stays", daemon->options.argv[0]);
		daemon->upgrade = true;
		loop_stop(daemon->loop);
		return;
	}
	/* A service manager stops us to start us again; a person at a terminal wants it gone. */
	daemon->detach = daemon->options.detach_on_exit || signal == SIGINT;
	log_notice("stopping; the data path %s", daemon->detach ? "is removed" : "stays");
	loop_stop(daemon->loop);
}

/* ---- opening ---- */

static int load_config(struct daemon *daemon, struct err *err)
{
	struct buf complaints;
	int r;

	buf_init(&complaints);
	r = config_load(daemon->options.config_paths, daemon->options.config_path_count,
			&daemon->config, &complaints);
	if (complaints.len)
		fputs(complaints.data, stderr);
	buf_done(&complaints);
	if (r < 0)
		return err_set(err, r, "cannot start: the configuration has errors");
	log_set_level(daemon->config->log_level);
	if (daemon->config->ebpf.enabled && !daemon->config->ebpf.interface_count)
		return err_set(
			err, -EINVAL,
			"cannot start: no interface; set ebpf.xdp.interface in the configuration");
	return 0;
}

static int open_lb(struct daemon *daemon, struct err *err)
{
	struct lb_options options = { .pin_dir = daemon->pin_dir, .config = &daemon->config->ebpf };
	int r = bpffs_ensure(daemon->pin_dir, err);

	if (r == 0)
		r = daemon->pins_fd = bpffs_lock(daemon->pin_dir, err);
	if (r >= 0)
		r = ports_for_nat(options.config->snat_port_first, options.config->snat_port_last,
				  &options.port_first, &options.port_last, err);
	if (r == 0)
		r = lb_open(&daemon->lb, &options, daemon->current, err);
	if (r == 0)
		r = daemon_keep_leftovers(daemon, err);
	if (r == 0)
		r = lb_apply(daemon->lb, daemon->current, err);
	if (r < 0)
		return r;
	lb_resolve_all(daemon->lb, daemon->netlink);
	r = lb_attach(daemon->lb, err);
	if (r < 0)
		return r;
	lb_settle(daemon->lb);
	daemon->serving = true;
	return 0;
}

static int watch_lb(struct daemon *daemon)
{
	int fd = lb_events_open(daemon->lb);
	int r = fd;

	if (r >= 0)
		r = loop_add_fd(daemon->loop, fd, EPOLLIN, on_lb_event, daemon, NULL);
	if (r == 0)
		r = loop_add_fd(daemon->loop, netlink_monitor_fd(daemon->netlink), EPOLLIN,
				on_netlink, daemon, NULL);
	if (r == 0)
		r = loop_add_timer(daemon->loop, on_sweep, daemon, &daemon->sweep_timer);
	if (r == 0)
		r = loop_add_timer(daemon->loop, on_resolve, daemon, &daemon->resolve_timer);
	if (r < 0)
		return r;
	loop_arm(daemon->sweep_timer, 0);
	loop_arm(daemon->resolve_timer, SETTLE_NS);
	return 0;
}

static int open_admin(struct daemon *daemon, struct err *err)
{
	const struct config *config = daemon->config;
	struct admin_options options = { .tcp = config->admin.port != 0,
					 .listen = config->admin.listen,
					 .port = config->admin.port,
					 .socket = daemon->socket_path };
	int r;

	snprintf(daemon->socket_path, sizeof(daemon->socket_path), "/run/loom/%s.sock",
		 config->instance);
	if (config->admin.socket)
		options.socket = config->admin.socket[0] ? config->admin.socket : NULL;
	daemon_control_init(daemon);
	r = admin_open(&daemon->admin, &options, &daemon->control, err);
	if (r < 0)
		return r;
	r = loop_add_fd(daemon->loop, admin_fd(daemon->admin), EPOLLIN, on_admin, daemon, NULL);
	if (r == 0)
		r = loop_add_timer(daemon->loop, on_admin_timer, daemon, &daemon->admin_timer);
	return r < 0 ? err_set(err, r, "cannot serve the admin API: %s", strerror(-r)) : 0;
}

static int watch(struct daemon *daemon, struct err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR2 };
	int r = loop_new(&daemon->loop);

	if (r == 0)
		r = loop_add_signals(daemon->loop, signals, 4, on_signal, daemon);
	if (r == 0 && daemon->lb)
		r = watch_lb(daemon);
	if (r < 0)
		return err_set(err, r, "cannot prepare the event loop: %s", strerror(-r));
	r = daemon_health_open(daemon, err);
	if (r == 0)
		r = daemon_steering_follow(daemon, daemon->config, err);
	return r < 0 ? r : open_admin(daemon, err);
}

/* A connection that goes on makes no descriptor readable: libmicrohttpd wants to be run. */
static void run_admin_soon(void *ctx)
{
	struct daemon *daemon = ctx;

	if (daemon->admin_timer)
		loop_arm(daemon->admin_timer, 0);
}

int daemon_steering_follow(struct daemon *daemon, const struct config *config, struct err *err)
{
	struct steering_options options = {
		.config = config,
		.loop = daemon->loop,
		.admin_soon = run_admin_soon,
		.admin_ctx = daemon,
	};
	int r;

	if (daemon->steering)
		return steering_configure(daemon->steering, config, err);
	if (!config->steering.group_count)
		return 0;
	r = steering_open(&daemon->steering, &options, err);
	if (r == 0)
		daemon->control.steer = steering_control(daemon->steering);
	return r;
}

static void daemon_paths(struct daemon *daemon)
{
	daemon_pin_dir(daemon->config, daemon->pin_dir, sizeof(daemon->pin_dir));
	snprintf(daemon->state_path, sizeof(daemon->state_path), "%s/%s.json",
		 daemon->config->state_dir, daemon->config->instance);
}

/* Thousands of slot tables and probes take descriptors.  What is refused is missed only then. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static unsigned int privilege_uses(const struct config *config)
{
	unsigned int uses = config->steering.group_count ? PRIVILEGE_STEER : 0;

	/* What the file does not ask for now, a reload may. */
	if (config->ebpf.enabled || !uses)
		uses |= PRIVILEGE_BALANCE;
	if (health_wants_tunnels(config))
		uses |= PRIVILEGE_RAW;
	for (size_t i = 0; i < config->steering.group_count; i++)
		if (config->steering.groups[i].netns)
			uses |= PRIVILEGE_NETNS;
	return uses;
}

int daemon_open(struct daemon **ret, const struct daemon_options *options, struct err *err)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int r;

	*ret = daemon;
	if (!daemon)
		return err_set(err, -ENOMEM, "cannot start: out of memory");
	daemon->options = *options;
	daemon->lock_fd = -1;
	daemon->pins_fd = -1;
	daemon->started_ns = clock_now_ns();
	raise_file_limit();
	r = load_config(daemon, err);
	if (r < 0)
		return r;
	daemon_paths(daemon);
	r = privilege_check(privilege_uses(daemon->config), err);
	if (r == 0)
		r = daemon->lock_fd = state_lock(daemon->state_path, err);
	if (r >= 0)
		r = netlink_open(&daemon->netlink, err);
	if (r == 0)
		r = daemon_load_model(daemon, err);
	if (r == 0 && daemon->config->ebpf.enabled)
		r = open_lb(daemon, err);
	if (r == 0)
		r = watch(daemon, err);
	if (r == 0)
		r = privilege_drop(privilege_uses(daemon->config), err);
	return r;
}

bool daemon_wants_exec(const struct daemon *daemon)
{
	return daemon && daemon->upgrade;
}

/* Loads the program over the instance's maps, and lets go of it. */
static int rehearse_lb(struct daemon *daemon, struct err *err)
{
	struct lb_options options = { .pin_dir = daemon->pin_dir,
				      .config = &daemon->config->ebpf,
				      .trial = true };
	int r = ports_for_nat(options.config->snat_port_first, options.config->snat_port_last,
			      &options.port_first, &options.port_last, err);

	if (r == 0)
		r = lb_open(&daemon->lb, &options, daemon->current, err);
	lb_close(daemon->lb, PLANE_KEEP);
	daemon->lb = NULL;
	return r;
}

int daemon_rehearse(const struct daemon_options *options, char state_path[256], struct err *err)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int r;

	if (!daemon)
		return err_set(err, -ENOMEM, "cannot upgrade: out of memory");
	daemon->options = *options;
	daemon->lock_fd = -1;
	daemon->pins_fd = -1;
	r = load_config(daemon, err);
	if (r < 0)
		goto out;
	daemon_paths(daemon);
	snprintf(state_path, 256, "%s", daemon->state_path);
	r = privilege_check(privilege_uses(daemon->config), err);
	if (r == 0)
		r = netlink_open(&daemon->netlink, err);
	if (r == 0)
		r = daemon_load_model(daemon, err);
	if (r == 0 && daemon->config->ebpf.enabled)
		r = rehearse_lb(daemon, err);
out:
	daemon_close(daemon);
	return r;
}

int daemon_run(struct daemon *daemon, struct err *err)
{
	int r;

	log_notice("ready: instance=%s services=%zu%s", daemon->config->instance,
		   daemon->current->service_count,
		   daemon->lb && lb_adopted(daemon->lb) ? " (took over a running data path)" : "");
	notify_ready();
	state_announce(daemon->lock_fd);
	on_admin_timer(daemon);
	r = loop_run(daemon->loop);
	return r < 0 ? err_set(err, r, "cannot wait for events: %s", strerror(-r)) : 0;
}

void daemon_close(struct daemon *daemon)
{
	if (!daemon)
		return;
	if (daemon->trace.stream || daemon->steering) {
		daemon_trace_end(daemon, "shutdown");
		steering_end_streams(daemon->steering);
		/* The last line, the last chunk, and the connection's end: a step each. */
		for (int i = 0; i < 4; i++)
			admin_run(daemon->admin);
	}
	admin_close(daemon->admin);
	steering_close(daemon->steering, daemon->detach ? PLANE_DETACH : PLANE_KEEP);
	health_close(daemon->health);
	loop_free(daemon->loop);
	/* What never served, and was not there before, leaves nothing. */
	if (daemon->lb && !daemon->serving && !lb_adopted(daemon->lb))
		daemon->detach = true;
	lb_close(daemon->lb, daemon->detach ? PLANE_DETACH : PLANE_KEEP);
	netlink_close(daemon->netlink);
	model_free(daemon->configured);
	model_free(daemon->current);
	config_free(daemon->config);
	free(daemon->local);
	free(daemon->leaving);
	if (daemon->pins_fd >= 0)
		close(daemon->pins_fd);
	if (daemon->lock_fd >= 0)
		close(daemon->lock_fd);
	free(daemon);
}

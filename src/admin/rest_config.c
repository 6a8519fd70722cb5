#include "rest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "json_in.h"

#define SECRET "***"

static json_t *strings_json(char *const *texts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

static json_t *addresses_json(const struct addr *addresses, size_t count)
{
	json_t *list = json_array();
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(addr_format(&addresses[i], text)));
	return list;
}

static json_t *ports_json(const uint16_t *ports, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_integer(ports[i]));
	return list;
}

/* Of the key nat, or encap. */
static const char *forwarding_name(enum config_forwarding forwarding)
{
	static const char *const names[] = {
		[CONFIG_NAT_FULL] = "full", [CONFIG_NAT_DESTINATION] = "destination",
		[CONFIG_DSR_IPIP] = "ipip", [CONFIG_DSR_GUE] = "gue",
		[CONFIG_DSR_L2] = "none",
	};

	return names[forwarding];
}

static const char *mode_name(enum config_xdp_mode mode)
{
	static const char *const names[] = {
		[CONFIG_XDP_NATIVE] = "native",
		[CONFIG_XDP_GENERIC] = "generic",
		[CONFIG_XDP_OFFLOAD] = "offload",
	};

	return names[mode];
}

static const char *level_name(int level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_NOTICE:
		return "notice";
	case LOG_LEVEL_DEBUG:
		return "debug";
	default:
		return "info";
	}
}

/* As it may stand in loom.yaml. */
static json_t *duration_json(uint64_t ns)
{
	char text[32];

	if (ns % NSEC_PER_SEC == 0)
		snprintf(text, sizeof(text), "%" PRIu64 "s", (uint64_t)(ns / NSEC_PER_SEC));
	else
		snprintf(text, sizeof(text), "%" PRIu64 "ms", (uint64_t)(ns / NSEC_PER_MSEC));
	return json_string(text);
}

json_t *rest_service_json(const struct service *service)
{
	json_t *ids = json_array();

	for (size_t i = 0; i < service->backend_count; i++)
		json_array_append_new(ids, json_integer(service->backends[i].id));
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:I, s:s, s:s, s:o}", "name", service->name,
			 "addresses", addresses_json(service->addresses, service->address_count),
			 "tcp_ports", ports_json(service->tcp_ports, service->tcp_port_count),
			 "udp_ports", ports_json(service->udp_ports, service->udp_port_count),
			 "algorithm", config_algorithm_name(service->algorithm),
			 "maglev_table_size", (json_int_t)service->table_size, "mode",
			 service->forwarding < CONFIG_DSR_IPIP ? "nat" : "dsr",
			 service->forwarding < CONFIG_DSR_IPIP ? "nat" : "encap",
			 forwarding_name(service->forwarding), "backends", ids);
}

static json_t *services_json(const struct model *model)
{
	json_t *list = json_array();

	for (size_t i = 0; i < model->service_count; i++)
		json_array_append_new(list, rest_service_json(&model->services[i]));
	return list;
}

void rest_services(struct call *call)
{
	const struct model *model = call->control->model(call->control->ctx);

	reply_json(call->reply, 200, json_pack("{s:o}", "services", services_json(model)));
}

static json_t *conntrack_json(const struct config_ebpf *ebpf)
{
	const struct config_tcp_timeouts *tcp = &ebpf->tcp;

	return json_pack(
		"{s:I, s:s, s:o, s:{s:o, s:o, s:o, s:o, s:o}, s:o}", "max_entries",
		(json_int_t)ebpf->max_connections, "type",
		ebpf->connections_type == CONFIG_MAP_HASH ? "hash" : "lru_hash", "timeout",
		duration_json(ebpf->timeout_ns), "tcp_timeouts", "established",
		duration_json(tcp->established_ns), "syn_sent", duration_json(tcp->syn_sent_ns),
		"syn_recv", duration_json(tcp->syn_recv_ns), "fin_wait",
		duration_json(tcp->fin_wait_ns), "time_wait", duration_json(tcp->time_wait_ns),
		"sweep_interval", duration_json(ebpf->sweep_interval_ns));
}

static json_t *snat_json(const struct config_ebpf *ebpf)
{
	return json_pack("{s:o, s:i, s:i}", "addresses",
			 addresses_json(ebpf->snat_addresses, ebpf->snat_address_count),
			 "port_first", (int)ebpf->snat_port_first, "port_last",
			 (int)ebpf->snat_port_last);
}

static json_t *ebpf_json(const struct config_ebpf *ebpf)
{
	return json_pack("{s:b, s:o, s:s, s:b, s:s?, s:o, s:o, s:I, s:I, s:I, s:o}", "enabled",
			 ebpf->enabled, "interfaces",
			 strings_json(ebpf->interfaces, ebpf->interface_count), "mode",
			 mode_name(ebpf->mode), "generic_fallback", ebpf->generic_fallback,
			 "pin_path", ebpf->pin_path, "snat", snat_json(ebpf), "conntrack",
			 conntrack_json(ebpf), "max_backends", (json_int_t)ebpf->max_backends,
			 "batch_size", (json_int_t)ebpf->batch_size, "ring_buffer_size",
			 (json_int_t)ebpf->ring_buffer_size, "passthrough_ports",
			 ports_json(ebpf->passthrough_ports, ebpf->passthrough_port_count));
}

static json_t *admin_json(const struct config_admin *admin)
{
	char listen[ADDR_TEXT_LEN];
	json_t *basic = json_null();

	if (admin->basic_user)
		basic = json_pack("{s:s, s:s}", "user", admin->basic_user, "password", SECRET);
	return json_pack("{s:s, s:i, s:s?, s:{s:s?, s:o}}", "listen",
			 addr_format(&admin->listen, listen), "port", (int)admin->port, "socket",
			 admin->socket, "auth", "bearer", admin->bearer ? SECRET : NULL, "basic",
			 basic);
}

void rest_config(struct call *call)
{
	const struct control *control = call->control;
	const struct config *config = control->config(control->ctx);

	reply_json(call->reply, 200,
		   json_pack("{s:s, s:s?, s:s, s:o, s:o, s:o}", "instance", config->instance,
			     "state_dir", config->state_dir, "log_level",
			     level_name(config->log_level), "ebpf", ebpf_json(&config->ebpf),
			     "admin", admin_json(&config->admin), "services",
			     services_json(control->model(control->ctx))));
}

/* A line an element. */
static json_t *lines_json(const char *text)
{
	json_t *list = json_array();

	while (text && *text) {
		size_t len = strcspn(text, "\n");

		if (len)
			json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == '\n');
	}
	return list;
}

static void reload_failed(struct call *call, int r, const struct buf *complaints,
			  const struct err *err)
{
	if (complaints->len)
		reply_error(call->reply, REPLY_INVALID_CONFIG, NULL,
			    "cannot reload the configuration: it has errors and nothing changed; "
			    "correct them and reload\n%s",
			    complaints->data);
	else if (r == -EINVAL)
		reply_error(call->reply, REPLY_INVALID_CONFIG, NULL, "%s",
			    err->text[0]
				    ? err->text
				    : "cannot reload the configuration: it contradicts itself; "
				      "'loomd check' says where");
	else
		reply_errno(call->reply, r, err, NULL);
}

void rest_config_reload(struct call *call)
{
	const struct control *control = call->control;
	struct json_in none[] = { { NULL } };
	struct buf complaints;
	struct buf report;
	struct err err = { 0 };
	bool reset = false;
	json_t *root;
	int r;

	if (query_bool(&call->query, "reset", &reset, call->reply) < 0)
		return;
	if (call->request->body_len) {
		if (json_in_read(call->request->body, call->request->body_len, none, &root,
				 call->reply) < 0)
			return;
		json_decref(root);
	}
	buf_init(&complaints);
	buf_init(&report);
	r = control->reload(control->ctx, reset, &complaints, &report, &err);
	if (r < 0)
		reload_failed(call, r, &complaints, &err);
	else
		reply_json(call->reply, 200,
			   json_pack("{s:o}", "changes", lines_json(report.data)));
	buf_done(&complaints);
	buf_done(&report);
}

#include "metrics_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"

static const char *const type_names[] = {
	[METRIC_COUNTER] = "counter",
	[METRIC_GAUGE] = "gauge",
};

static void print_escaped(struct buf *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n') {
			buf_append(out, "\\n", 2);
			continue;
		}
		if (*value == '"' || *value == '\\')
			buf_append(out, "\\", 1);
		buf_append(out, value, 1);
	}
}

void metrics_label(struct scrape *s, const char *before, const char *label, const char *value)
{
	buf_printf(s->out, "%s%s=\"", before, label);
	print_escaped(s->out, value);
	buf_append(s->out, "\"", 1);
}

void metrics_value(struct scrape *s, uint64_t value)
{
	buf_printf(s->out, " %" PRIu64 "\n", value);
}

void metrics_seconds(struct scrape *s, uint64_t ns)
{
	buf_printf(s->out, " %" PRIu64 ".%09" PRIu64 "\n", (uint64_t)(ns / NSEC_PER_SEC),
		   (uint64_t)(ns % NSEC_PER_SEC));
}

void metrics_sample_seconds(struct scrape *s, uint64_t ns)
{
	buf_printf(s->out, "%s", s->name);
	metrics_seconds(s, ns);
}

void metrics_sample(struct scrape *s, uint64_t value)
{
	buf_printf(s->out, "%s", s->name);
	metrics_value(s, value);
}

void metrics_sample_of(struct scrape *s, const char *label, const char *text, uint64_t value)
{
	buf_printf(s->out, "%s", s->name);
	metrics_label(s, "{", label, text);
	buf_append(s->out, "}", 1);
	metrics_value(s, value);
}

/* ---- the daemon ---- */

static void print_build_info(struct scrape *s)
{
	metrics_sample_of(s, "version", s->input->version, 1);
}

static void print_uptime(struct scrape *s)
{
	metrics_sample_seconds(s, s->input->uptime_ns);
}

static void print_reloads(struct scrape *s)
{
	metrics_sample_of(s, "result", "success", s->input->reloads_succeeded);
	metrics_sample_of(s, "result", "failure", s->input->reloads_failed);
}

static void print_last_reload(struct scrape *s)
{
	metrics_sample(s, (uint64_t)s->input->last_reload_wall_s);
}

static const struct metric metrics_daemon[] = {
	{ "loom_build_info", METRIC_GAUGE, METRIC_DAEMON, "version",
	  "Always 1; the label tells which Loom runs", print_build_info },
	{ "loom_uptime_seconds", METRIC_GAUGE, METRIC_DAEMON, "", "Time since the daemon started",
	  print_uptime },
	{ "loom_config_reloads_total", METRIC_COUNTER, METRIC_DAEMON, "result",
	  "Reloads of the configuration, by result: success or failure", print_reloads },
	{ "loom_config_last_reload_success_timestamp_seconds", METRIC_GAUGE, METRIC_DAEMON, "",
	  "When the configuration in force was loaded, in seconds since the epoch",
	  print_last_reload },
};

#define DAEMON_COUNT (sizeof(metrics_daemon) / sizeof(metrics_daemon[0]))

/* ---- all of them ---- */

static bool is_there(const struct metrics_input *input, enum metric_source source)
{
	switch (source) {
	case METRIC_DATA_PATH:
		return input->snapshot;
	case METRIC_STEER:
		return input->steer;
	case METRIC_DAEMON:
		break;
	}
	return true;
}

static void print_families(struct scrape *s, const struct metric *metric, size_t count)
{
	for (; count; count--, metric++) {
		if (!is_there(s->input, metric->source))
			continue;
		s->name = metric->name;
		buf_printf(s->out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
			   metric->name, type_names[metric->type]);
		metric->print(s);
	}
}

int metrics_render(const struct metrics_input *input, struct buf *out)
{
	struct scrape s = { .input = input, .snapshot = input->snapshot, .out = out };
	int r = metrics_lb_rows(&s);

	if (r < 0)
		return r;
	print_families(&s, metrics_daemon, DAEMON_COUNT);
	print_families(&s, metrics_lb, metrics_lb_count);
	print_families(&s, metrics_steer, metrics_steer_count);
	free(s.rows);
	return buf_failed(out) ? -ENOMEM : 0;
}

static const char doc_head[] =
	"# Metrics\n"
	"\n"
	"`GET /metrics` answers in the Prometheus text format.  This page is printed from the "
	"table\n"
	"the exposition is printed from (`src/observe/`); `ninja -C build docs-metrics`\n"
	"renews it.\n"
	"\n"
	"Counters start at 0 with the data path, which outlives the daemon.  While the data path "
	"does\n"
	"not stand, the `loom_ebpf_` metrics are absent; where no `steering.groups` are "
	"configured,\n"
	"the `loom_steer_` metrics.\n"
	"\n"
	"| metric | type | labels | meaning |\n"
	"|---|---|---|---|\n";

static void print_rows(struct buf *out, const struct metric *metric, size_t count)
{
	for (; count; count--, metric++)
		buf_printf(out, "| `%s` | %s | %s | %s |\n", metric->name, type_names[metric->type],
			   metric->labels, metric->help);
}

int metrics_print_doc(struct buf *out)
{
	buf_append(out, doc_head, sizeof(doc_head) - 1);
	print_rows(out, metrics_daemon, DAEMON_COUNT);
	print_rows(out, metrics_lb, metrics_lb_count);
	print_rows(out, metrics_steer, metrics_steer_count);
	metrics_lb_doc(out);
	metrics_steer_doc(out);
	return buf_failed(out) ? -ENOMEM : 0;
}

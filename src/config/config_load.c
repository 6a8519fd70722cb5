#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_build.h"

struct load {
	struct arena arena;
	struct complaints complaints;
	struct source *sources; /* owned */
	size_t count;
	struct item *root; /* all documents so far */
};

static int load_init(struct load *load, size_t count)
{
	memset(load, 0, sizeof(*load));
	arena_init(&load->arena);
	complaints_init(&load->complaints);
	load->sources = calloc(count ? count : 1, sizeof(*load->sources));
	return load->sources ? 0 : -ENOMEM;
}

static void load_done(struct load *load)
{
	complaints_done(&load->complaints);
	arena_done(&load->arena);
	free(load->sources);
}

static struct source *load_source(struct load *load, const char *name)
{
	struct source *source = &load->sources[load->count];

	source->name = name;
	source->order = load->count++;
	return source;
}

/* Parses, checks and merges one more document; a broken one leaves the others' complaints to come.
 */
static int load_document(struct load *load, const struct source *source)
{
	struct item *item = NULL;
	struct node *root = NULL;
	int r = node_parse(source, &load->arena, &load->complaints, &root);

	if (r == -EINVAL)
		return 0;
	if (r == 0)
		r = item_check(root, &load->arena, &load->complaints, &item);
	if (r < 0)
		return r;
	if (!load->root) {
		load->root = item;
		return 0;
	}
	return item_merge(load->root, item, &load->arena);
}

static int load_build(struct load *load, struct config **ret)
{
	struct config *config;
	int r;

	if (!load->root)
		return -EINVAL;
	config = calloc(1, sizeof(*config));
	if (!config)
		return -ENOMEM;
	r = config_build(load->root, &load->arena, &load->complaints, config);
	if (r == 0 && load->complaints.count)
		r = -EINVAL;
	if (r < 0) {
		config_free(config);
		return r;
	}
	*ret = config;
	return 0;
}

/* The end of every load: builds, and tells what is wrong. */
static int load_finish(struct load *load, int r, struct config **ret, struct buf *complaints)
{
	if (r == 0)
		r = load_build(load, ret);
	if (r != -ENOMEM && complaints_print(&load->complaints, complaints) < 0)
		r = -ENOMEM;
	if (r == -ENOMEM)
		buf_printf(complaints, "%s:1:1: error: not enough memory for this configuration\n",
			   load->count ? load->sources[0].name : "loom.yaml");
	load_done(load);
	return r;
}

int config_load(const char *const *paths, size_t count, struct config **ret, struct buf *complaints)
{
	struct load load;
	int r = load_init(&load, count);

	*ret = NULL;
	if (count == 0)
		buf_printf(complaints, "no configuration is given; name one with -c FILE\n");
	for (size_t i = 0; i < count && r == 0; i++) {
		bool standard = strcmp(paths[i], "-") == 0;
		struct source *source = load_source(&load, standard ? "<stdin>" : paths[i]);

		r = source_read(source, paths[i], &load.arena, &load.complaints);
		if (r == 0)
			r = load_document(&load, source);
		else if (r == -EINVAL)
			r = 0;
	}
	return load_finish(&load, r, ret, complaints);
}

int config_load_text(const char *name, const char *text, size_t len, struct config **ret,
		     struct buf *complaints)
{
	struct load load;
	int r = load_init(&load, 1);

	*ret = NULL;
	if (r == 0) {
		struct source *source = load_source(&load, name);

		r = source_take(source, text, len, &load.arena, &load.complaints);
		if (r == 0)
			r = load_document(&load, source);
	}
	return load_finish(&load, r, ret, complaints);
}

static void free_list(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

static void free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void free_backends(struct config_backend *backends, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(backends[i].name);
	free(backends);
}

static void free_service(struct config_service *service)
{
	free(service->name);
	free(service->addresses);
	free(service->tcp_ports);
	free(service->udp_ports);
	free(service->allow);
	free(service->deny);
	free(service->health.upstream);
	free_backends(service->backends, service->backend_count);
}

static void free_upstream(struct config_upstream *upstream)
{
	free(upstream->name);
	free(upstream->check.path);
	free(upstream->check.host);
	free(upstream->check.method);
	free(upstream->check.send);
	free(upstream->check.expect);
	free(upstream->check.query);
	free(upstream->check.query_type);
	free_backends(upstream->backends, upstream->backend_count);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->service_count; i++)
		free_service(&config->services[i]);
	for (size_t i = 0; i < config->upstream_count; i++)
		free_upstream(&config->upstreams[i]);
	for (size_t i = 0; i < config->ebpf.program_count; i++) {
		free(config->ebpf.programs[i].name);
		free(config->ebpf.programs[i].path);
		free(config->ebpf.programs[i].section);
	}
	for (size_t i = 0; i < config->ebpf.route_count; i++)
		free(config->ebpf.routes[i].ports);
	free(config->services);
	free(config->upstreams);
	free(config->ebpf.programs);
	free(config->ebpf.routes);
	free(config->ebpf.cpu_affinity);
	config_steering_free(&config->steering);
	free_list(config->ebpf.interfaces, config->ebpf.interface_count);
	free(config->ebpf.pin_path);
	free(config->ebpf.snat_addresses);
	free(config->ebpf.passthrough_ports);
	free(config->admin.socket);
	free_secret(config->admin.bearer);
	free(config->admin.basic_user);
	free_secret(config->admin.basic_password);
	free(config->instance);
	free(config->state_dir);
	free(config);
}

/* loomd: arguments and exit codes. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "config/config.h"
#include "daemon.h"
#include "steering.h"
#include "upgrade.h"

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

static const char usage_text[] =
	"usage: loomd run -c FILE [-c FILE...] [--detach-on-exit]   balance by these files\n"
	"       loomd check -c FILE [-c FILE...]                    check them, touching nothing\n"
	"       loomd detach -c FILE [-c FILE...]                   remove what an instance left "
	"in the kernel\n"
	"       loomd upgrade -c FILE [-c FILE...]                  have the running loomd go on "
	"as "
	"this binary\n"
	"       loomd schema                                        print the JSON Schema of "
	"loom.yaml\n"
	"       loomd --version\n"
	"Later files override earlier ones.  See loomd(8) and loom.yaml(5).\n";

struct arguments {
	const char **paths; /* owned; the strings are argv's */
	size_t path_count;
	bool detach_on_exit;
	char **argv;
};

static int usage(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

static int parse_arguments(int argc, char **argv, struct arguments *args)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "detach-on-exit", no_argument, NULL, 'd' },
		{ 0 },
	};
	int c;

	args->paths = calloc((size_t)argc, sizeof(*args->paths));
	if (!args->paths)
		return -ENOMEM;
	while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (c == 'c')
			args->paths[args->path_count++] = optarg;
		else if (c == 'd')
			args->detach_on_exit = true;
		else
			return -EINVAL;
	}
	if (optind < argc) {
		fprintf(stderr, "loomd: unexpected argument '%s'; files are given with -c\n",
			argv[optind]);
		return -EINVAL;
	}
	if (!args->path_count) {
		fprintf(stderr, "loomd: no configuration; give one with -c FILE\n");
		return -EINVAL;
	}
	return 0;
}

static int load(const struct arguments *args, struct config **ret)
{
	struct buf complaints;
	int r;

	buf_init(&complaints);
	r = config_load(args->paths, args->path_count, ret, &complaints);
	if (complaints.len)
		fputs(complaints.data, stderr);
	else if (r < 0)
		log_error("cannot load the configuration: %s", strerror(-r));
	buf_done(&complaints);
	return r;
}

static int cmd_check(const struct arguments *args)
{
	struct config *config;

	if (load(args, &config) < 0)
		return EXIT_FAILED;
	printf("%s: ok\n", args->paths[args->path_count - 1]);
	config_free(config);
	return EXIT_DONE;
}

static int cmd_detach(const struct arguments *args)
{
	struct config *config;
	struct err err = { 0 };
	char dir[256];
	int r;

	if (load(args, &config) < 0)
		return EXIT_FAILED;
	daemon_pin_dir(config, dir, sizeof(dir));
	r = steering_detach(config, &err);
	/* Who steers sockets alone has no balancer that could be missing. */
	if (r == 0 && (!config->steering.group_count || access(dir, F_OK) == 0))
		r = lb_detach_pinned(dir, &err);
	config_free(config);
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

static int cmd_run(const struct arguments *args)
{
	struct daemon_options options = { args->paths, args->path_count, args->detach_on_exit,
					  args->argv };
	bool again;
	struct daemon *daemon;
	struct err err = { 0 };
	int r;

	/* A write that fails is an error, not the end: of the log's reader, of a server that is
	 * checked by TLS, of a limit for files. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	r = daemon_open(&daemon, &options, &err);
	if (r == 0)
		r = daemon_run(daemon, &err);
	if (r < 0 && err.code)
		log_error("%s", err.text);
	again = r == 0 && daemon_wants_exec(daemon);
	daemon_close(daemon);
	if (again) {
		upgrade_exec(args->argv);
		r = -1;
	}
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int cmd_upgrade(const struct arguments *args)
{
	struct daemon_options options = { args->paths, args->path_count, args->detach_on_exit,
					  args->argv };
	struct err err = { 0 };
	char state_path[256];
	pid_t pid = 0;
	int r = daemon_rehearse(&options, state_path, &err);

	if (r == 0)
		r = upgrade_request(state_path, &pid, &err);
	if (r < 0) {
		log_error("%s", err.code ? err.text : strerror(-r));
		return EXIT_FAILED;
	}
	printf("process %d goes on as loomd %s\n", (int)pid, LOOM_VERSION);
	return EXIT_DONE;
}

static int cmd_schema(void)
{
	struct buf out;
	int r;

	buf_init(&out);
	r = config_print_schema(&out);
	if (r == 0)
		fputs(out.data, stdout);
	buf_done(&out);
	return r < 0 || fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

int main(int argc, char **argv)
{
	struct arguments args = { 0 };
	const char *verb = argc > 1 ? argv[1] : "";
	int code = EXIT_USAGE;

	if (!strcmp(verb, "--version")) {
		puts("loomd " LOOM_VERSION);
		return EXIT_DONE;
	}
	if (!strcmp(verb, "--help") || !strcmp(verb, "help")) {
		fputs(usage_text, stdout);
		return EXIT_DONE;
	}
	if (!strcmp(verb, "schema"))
		return cmd_schema();
	if (strcmp(verb, "run") != 0 && strcmp(verb, "check") != 0 && strcmp(verb, "detach") != 0 &&
	    strcmp(verb, "upgrade") != 0)
		return usage();
	args.argv = argv;
	if (parse_arguments(argc - 1, argv + 1, &args) < 0)
		usage();
	else if (!strcmp(verb, "run"))
		code = cmd_run(&args);
	else if (!strcmp(verb, "upgrade"))
		code = cmd_upgrade(&args);
	else if (!strcmp(verb, "check"))
		code = cmd_check(&args);
	else
		code = cmd_detach(&args);
	free(args.paths);
	return code;
}

/* What this kernel lets us do, found out by doing it, and what may not be armed therefore. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/log.h"
#include "planes/steer/steer_probe.h"
#include "steering_internal.h"
#include "sys/privilege.h"

struct steering_gate {
	struct steer_probe probe;
	char why[STEER_POLICIES_END][192]; /* by policy; "": it may be armed */
};

/* The capabilities that something of steering uses, and what goes without. */
static const struct {
	unsigned int id;
	const char *name;
} capabilities[] = {
	{ CAP_BPF, "CAP_BPF" },
	{ CAP_PERFMON, "CAP_PERFMON" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE" },
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH" },
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
};

void report_probe(struct steering *steering)
{
	struct steering_gate *gate = calloc(1, sizeof(*gate));
	const struct steer_finding *features;

	steering->gate = gate;
	if (!gate)
		return;
	steer_probe_features(&gate->probe);
	features = gate->probe.features;
	steering->reads_group = features[STEER_FEATURE_READ_GROUP].possible;
	steering->migrates = features[STEER_FEATURE_MIGRATE].possible;
	steering->holds = features[STEER_FEATURE_SOCKMAP].possible;
	for (int i = 0; i < STEER_FEATURES_END; i++)
		if (features[i].done && !features[i].possible)
			log_warning("steering goes without %s (%s): %s is missing",
				    steer_feature_name(i), steer_feature_help(i),
				    features[i].missing);
}

void report_close(struct steering *steering)
{
	free(steering->gate);
	steering->gate = NULL;
}

static void judge(struct steering_gate *gate, enum steer_policy policy)
{
	struct steer_finding finding;

	if (gate->probe.policies[policy].done)
		return;
	steer_probe_policy(&gate->probe, policy);
	finding = gate->probe.policies[policy];
	if (!finding.possible)
		snprintf(gate->why[policy], sizeof(gate->why[policy]),
			 "policy %s is not possible here: %s is missing", steer_policy_name(policy),
			 finding.missing);
}

const char *report_gate(struct steering *steering, enum config_steer_policy policy)
{
	struct steering_gate *gate = steering->gate;

	if (!gate || (unsigned int)policy >= STEER_POLICIES_END)
		return NULL;
	judge(gate, (enum steer_policy)policy);
	return gate->why[policy][0] ? gate->why[policy] : NULL;
}

static json_t *finding_json(const struct steer_finding *finding)
{
	bool known = finding->done && finding->probed;

	return json_pack("{s:b,s:b,s:s?,s:s?}", "possible", finding->possible, "probed", known,
			 "missing", finding->possible ? NULL : finding->missing, "note",
			 finding->possible && finding->missing[0] ? finding->missing : NULL);
}

static json_t *capabilities_json(void)
{
	json_t *all = json_object();

	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		json_object_set_new(all, capabilities[i].name,
				    json_boolean(privilege_has(capabilities[i].id)));
	return all;
}

/* Policies that no group has were not probed yet: each costs what its program's load costs. */
int report_capabilities(struct steering *steering, struct buf *out, struct err *err)
{
	struct steering_gate *gate = steering->gate;
	json_t *features = json_object(), *policies = json_object(), *root, *feature;
	struct utsname name = { .release = "?" };
	char *text;

	for (int i = 0; gate && i < STEER_POLICIES_END; i++) {
		judge(gate, (enum steer_policy)i);
		json_object_set_new(policies, steer_policy_name((enum steer_policy)i),
				    finding_json(&gate->probe.policies[i]));
	}
	for (int i = 0; gate && i < STEER_FEATURES_END; i++) {
		feature = finding_json(&gate->probe.features[i]);
		json_object_set_new(feature, "what",
				    json_string(steer_feature_help((enum steer_feature)i)));
		json_object_set_new(features, steer_feature_name((enum steer_feature)i), feature);
	}
	uname(&name);
	root = json_pack("{s:s,s:o,s:o,s:o}", "kernel", name.release, "rights", capabilities_json(),
			 "features", features, "policies", policies);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return err_set(err, -ENOMEM, "cannot tell what is possible: out of memory");
	buf_append(out, text, strlen(text));
	free(text);
	return 0;
}

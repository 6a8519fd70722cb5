/* casts.h - can programs of this kernel read their own group?  Linux 6.2. */
#ifndef LOOM_TEST_STEER_CASTS_H
#define LOOM_TEST_STEER_CASTS_H

#include <bpf/btf.h>
#include <stdbool.h>

static inline bool casts_exist(void)
{
	static int known = -1;
	struct btf *btf;

	if (known < 0) {
		btf = btf__load_vmlinux_btf();
		known = btf && btf__find_by_name_kind(btf, "bpf_rdonly_cast", BTF_KIND_FUNC) > 0 &&
			btf__find_by_name_kind(btf, "bpf_cast_to_kern_ctx", BTF_KIND_FUNC) > 0;
		btf__free(btf);
	}
	return known;
}

#endif

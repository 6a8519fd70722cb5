/* snmp.h - the kernel's counters of a network namespace (RFC 1213, RFC 4022), from /proc/net/snmp.
 * Layer: sys.  Threads: any.  Blocks: reads /proc. */
#ifndef LOOM_SNMP_H
#define LOOM_SNMP_H

#include <stdint.h>

/* text is the file's.  -ENOENT: it has no such counter. */
int snmp_parse(const char *text, const char *protocol, const char *name, uint64_t *ret);

/* In the namespace that the calling thread is in: "Tcp", "OutRsts". */
int snmp_read(const char *protocol, const char *name, uint64_t *ret);

#endif

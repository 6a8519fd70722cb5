/* snmp.h - the kernel's counters of a network namespace (RFC 1213, RFC 4022), from /proc/net.
 * Layer: sys.  Threads: any.  Blocks: reads /proc. */
#ifndef LOOM_SNMP_H
#define LOOM_SNMP_H

#include <stdint.h>

/* text is the file's.  -ENOENT: it has no such counter. */
int snmp_parse(const char *text, const char *protocol, const char *name, uint64_t *ret);

#define SNMP_TEXT_SIZE 16384

/* The file "snmp" or "netstat" (TcpExt ...) of the namespace that the calling thread is in, with a
 * NUL.  0 or -errno. */
int snmp_read(const char *file, char text[SNMP_TEXT_SIZE]);

#endif

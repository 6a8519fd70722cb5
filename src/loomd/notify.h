/* notify.h - tells the service manager that we serve: sd_notify(3)'s protocol, one datagram.
 * Layer: loomd.  Threads: any.  Blocks: no. */
#ifndef LOOM_NOTIFY_H
#define LOOM_NOTIFY_H

/* Does nothing unless NOTIFY_SOCKET is set. */
void notify_ready(void);

#endif

/* ethtool.h - what a network driver says of itself and does by itself (ethtool(8)).
 * Layer: sys.  Threads: any.  Blocks: the driver's answer; RTNL is taken.
 *
 * Functions return 0 or -errno; -EOPNOTSUPP: the driver does not say. */
#ifndef LOOM_ETHTOOL_H
#define LOOM_ETHTOOL_H

#include <stdbool.h>
#include <stdint.h>

#define ETHTOOL_DRIVER_LEN 32

/* The driver's name, "mlx5_core". */
int ethtool_driver(const char *interface, char driver[ETHTOOL_DRIVER_LEN]);

/* Queues that receive, as they are set now. */
int ethtool_rx_queues(const char *interface, uint32_t *ret);

enum ethtool_feature {
	ETHTOOL_LRO,
	ETHTOOL_GRO,
	ETHTOOL_GRO_HW,
	ETHTOOL_RX_VLAN,
	ETHTOOL_TX_CHECKSUM,
	ETHTOOL_FEATURES,
};

/* on[]: which features are on; what the driver does not know is off. */
int ethtool_features(const char *interface, bool on[ETHTOOL_FEATURES]);

#endif

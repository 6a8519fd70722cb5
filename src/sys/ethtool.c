#include "ethtool.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Any socket of the namespace will do.  data begins with the command. */
static int ask(const char *interface, void *data)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	request.ifr_data = data;
	if (ioctl(fd, SIOCETHTOOL, &request) < 0)
		r = -errno;
	close(fd);
	return r;
}

int ethtool_driver(const char *interface, char driver[ETHTOOL_DRIVER_LEN])
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	int r = ask(interface, &info);

	driver[0] = '\0';
	if (r == 0)
		snprintf(driver, ETHTOOL_DRIVER_LEN, "%.*s", (int)sizeof(info.driver) - 1,
			 info.driver);
	return r;
}

int ethtool_rx_queues(const char *interface, uint32_t *ret)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	int r = ask(interface, &channels);

	*ret = channels.rx_count + channels.combined_count;
	return r == 0 && !*ret ? -EOPNOTSUPP : r;
}

/* The switches from before features had names: their get commands fold rx-lro, rx-gro, all of
 * tx-checksum-* (net/ethtool/ioctl.c, ethtool_get_feature_mask). */
static bool is_on(const char *interface, uint32_t command)
{
	struct ethtool_value value = { .cmd = command };

	return ask(interface, &value) == 0 && value.data;
}

/* How many features the kernel has names for. */
static uint32_t count_names(const char *interface)
{
	union {
		struct ethtool_sset_info info;
		unsigned char room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
	} set = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };

	return ask(interface, &set) == 0 && set.info.sset_mask ? set.info.data[0] : 0;
}

/* The feature's number; -ENOENT if this kernel has none of that name. */
static int find_name(const char *interface, const char *name, uint32_t count)
{
	struct ethtool_gstrings *names = calloc(1,
						sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	int r;

	if (!names)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = count;
	r = ask(interface, names);
	if (r == 0)
		r = -ENOENT;
	for (uint32_t i = 0; r == -ENOENT && i < count; i++)
		if (!strncmp((char *)names->data + (size_t)i * ETH_GSTRING_LEN, name,
			     ETH_GSTRING_LEN))
			r = (int)i;
	free(names);
	return r;
}

static bool is_active(const char *interface, const char *name)
{
	uint32_t count = count_names(interface);
	uint32_t blocks = (count + 31) / 32;
	int bit = count ? find_name(interface, name, count) : -ENOENT;
	struct ethtool_gfeatures *features;
	bool active;

	if (bit < 0)
		return false;
	features = calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	if (!features)
		return false;
	features->cmd = ETHTOOL_GFEATURES;
	features->size = blocks;
	active = ask(interface, features) == 0 &&
		 (features->features[bit / 32].active >> (bit % 32) & 1);
	free(features);
	return active;
}

int ethtool_features(const char *interface, bool on[ETHTOOL_FEATURES])
{
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	int r = ask(interface, &flags);

	memset(on, 0, ETHTOOL_FEATURES * sizeof(on[0]));
	if (r < 0)
		return r;
	on[ETHTOOL_LRO] = flags.data & ETH_FLAG_LRO;
	on[ETHTOOL_RX_VLAN] = flags.data & ETH_FLAG_RXVLAN;
	on[ETHTOOL_GRO] = is_on(interface, ETHTOOL_GGRO);
	on[ETHTOOL_TX_CHECKSUM] = is_on(interface, ETHTOOL_GTXCSUM);
	on[ETHTOOL_GRO_HW] = is_active(interface, "rx-gro-hw");
	return 0;
}

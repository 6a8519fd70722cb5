/* Bad documents: the exact words, places and carets. */
#include "config_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct {
	const char *name;
	const char *text;
	const char *complaints;
} rows[] = {
	{ "a typo in a key",
	  "ebpf:\n"
	  "  interfce: eth0\n",
	  "t.yaml:2:3: error: unknown key 'interfce' in ebpf; did you mean 'interface'?\n"
	  "  interfce: eth0\n"
	  "  ^\n" },
	{ "a key in the wrong place",
	  "ebpf:\n"
	  "  timeout: 5m\n",
	  "t.yaml:2:3: error: unknown key 'timeout' in ebpf; there is ebpf.conntrack.timeout\n"
	  "  timeout: 5m\n"
	  "  ^\n" },
	{ "a key that exists nowhere",
	  "frobnicate: 1\n",
	  "t.yaml:1:1: error: unknown key 'frobnicate' at the top level; loom.yaml(5) lists the keys\n"
	  "frobnicate: 1\n"
	  "^\n" },
	{ "a key twice in one mapping",
	  "ebpf:\n"
	  "  enabled: true\n"
	  "  enabled: true\n",
	  "t.yaml:3:3: error: ebpf.enabled is given twice; first at t.yaml:2:3\n"
	  "  enabled: true\n"
	  "  ^\n" },
	{ "a boolean of YAML 1.1",
	  "ebpf: {enabled: yes}\n",
	  "t.yaml:1:17: error: ebpf.enabled: expected true or false\n"
	  "ebpf: {enabled: yes}\n"
	  "                ^\n" },
	{ "a typo in a choice",
	  "ebpf: {xdp_mode: natvie}\n",
	  "t.yaml:1:18: error: ebpf.xdp_mode: expected native, generic or offload; did you mean 'native'?\n"
	  "ebpf: {xdp_mode: natvie}\n"
	  "                 ^\n" },
	{ "a duration without its unit",
	  "ebpf: {conntrack: {timeout: 300}}\n",
	  "t.yaml:1:29: error: ebpf.conntrack.timeout: expected a duration from 1s to 30d, such as 300s or 5m; the unit is missing: ms, s, m, h or d\n"
	  "ebpf: {conntrack: {timeout: 300}}\n"
	  "                            ^\n" },
	{ "a duration out of range",
	  "ebpf: {conntrack: {sweep_interval: 2h}}\n",
	  "t.yaml:1:36: error: ebpf.conntrack.sweep_interval: expected a duration from 100ms to 1h, such as 300s or 5m\n"
	  "ebpf: {conntrack: {sweep_interval: 2h}}\n"
	  "                                   ^\n" },
	{ "a number out of range",
	  "ebpf: {backends: [{address: 10.0.0.1, weight: 65536}]}\n",
	  "t.yaml:1:47: error: ebpf.backends[].weight: expected a whole number from 0 to 65535\n"
	  "ebpf: {backends: [{address: 10.0.0.1, weight: 65536}]}\n"
	  "                                              ^\n" },
	{ "a size that is no prime",
	  "ebpf: {xdp: {load_balancing: {maglev_table_size: 65536}}}\n",
	  "t.yaml:1:50: error: ebpf.xdp.load_balancing.maglev_table_size: expected a prime number from 3 to 1048573 (slots); the nearest is 65537\n"
	  "ebpf: {xdp: {load_balancing: {maglev_table_size: 65536}}}\n"
	  "                                                 ^\n" },
	{ "a size that is no power of two",
	  "ebpf: {xdp: {ring_buffer_size: 10000}}\n",
	  "t.yaml:1:32: error: ebpf.xdp.ring_buffer_size: expected a power of two from 4096 to 1073741824 bytes, such as 16384 or 16KiB\n"
	  "ebpf: {xdp: {ring_buffer_size: 10000}}\n"
	  "                               ^\n" },
	{ "a port out of range",
	  "ebpf: {xdp: {protocols: {tcp: {ports: [80, 70000]}}}}\n",
	  "t.yaml:1:44: error: ebpf.xdp.protocols.tcp.ports: expected a port from 1 to 65535, a range such as 8000-8010, or any\n"
	  "ebpf: {xdp: {protocols: {tcp: {ports: [80, 70000]}}}}\n"
	  "                                           ^\n" },
	{ "a port twice in a list",
	  "ebpf: {xdp: {passthrough_ports: [80, 81, 80]}}\n",
	  "t.yaml:1:42: error: ebpf.xdp.passthrough_ports: this port is listed twice\n"
	  "ebpf: {xdp: {passthrough_ports: [80, 81, 80]}}\n"
	  "                                         ^\n" },
	{ "an empty list of ports",
	  "ebpf: {xdp: {protocols: {tcp: {ports: []}}}}\n",
	  "t.yaml:1:39: error: ebpf.xdp.protocols.tcp.ports: expected a list of 1 to 65535 entries\n"
	  "ebpf: {xdp: {protocols: {tcp: {ports: []}}}}\n"
	  "                                      ^\n" },
	{ "a value where a mapping belongs",
	  "ebpf: xdp\n",
	  "t.yaml:1:7: error: ebpf: expected a mapping: lines of \"KEY: VALUE\"\n"
	  "ebpf: xdp\n"
	  "      ^\n" },
	{ "a mapping where a value belongs",
	  "instance: {a: b}\n",
	  "t.yaml:1:11: error: instance: expected a name of 1 to 32 characters a-z, 0-9, '_' or '-'\n"
	  "instance: {a: b}\n"
	  "          ^\n" },
	{ "a value where a list belongs",
	  "services: web\n",
	  "t.yaml:1:11: error: services: expected a list\n"
	  "services: web\n"
	  "          ^\n" },
	{ "nothing where a value belongs",
	  "instance:\n"
	  "log: {level: info}\n",
	  "t.yaml:1:1: error: instance: expected a name of 1 to 32 characters a-z, 0-9, '_' or '-'\n"
	  "instance:\n"
	  "^\n" },
	{ "a list as the document",
	  "- a\n"
	  "- b\n",
	  "t.yaml:1:1: error: expected a mapping: lines of \"KEY: VALUE\"\n"
	  "- a\n"
	  "^\n" },
	{ "a list as a key",
	  "? [a]\n"
	  ": b\n",
	  "t.yaml:1:3: error: expected the name of a key, not a list or mapping\n"
	  "? [a]\n"
	  "  ^\n" },
	{ "a backend on a loopback address",
	  "ebpf: {backends: [{address: 127.0.0.1}]}\n",
	  "t.yaml:1:29: error: ebpf.backends[].address: a loopback address never leaves its host, so no packet of a network is for it; give the address the network knows\n"
	  "ebpf: {backends: [{address: 127.0.0.1}]}\n"
	  "                            ^\n" },
	{ "a backend at another service's address",
	  "services:\n"
	  "- {name: a, addresses: [192.0.2.1], protocol: tcp, ports: [80], backends: [{address: 192.0.2.2}]}\n"
	  "- {name: b, addresses: [192.0.2.2], protocol: tcp, ports: [80], backends: [{address: 10.0.0.1}]}\n",
	  "t.yaml:2:86: error: clients reach service 'b' at this address; give a backend the address of another host\n"
	  "...me: a, addresses: [192.0.2.1], protocol: tcp, ports: [80], backends: [{address: 192.0.2.2}]}\n"
	  "                                                                                   ^\n" },
	{ "a backend that is a multicast group",
	  "ebpf: {backends: [{address: 'ff02::1'}]}\n",
	  "t.yaml:1:29: error: ebpf.backends[].address: a multicast, broadcast or reserved address names no single host; give a unicast address\n"
	  "ebpf: {backends: [{address: 'ff02::1'}]}\n"
	  "                            ^\n" },
	{ "a backend on no address",
	  "ebpf: {backends: [{address: 0.0.0.0}]}\n",
	  "t.yaml:1:29: error: ebpf.backends[].address: the unspecified address names no host; give one address\n"
	  "ebpf: {backends: [{address: 0.0.0.0}]}\n"
	  "                            ^\n" },
	{ "a port in an address",
	  "ebpf: {backends: [{address: '10.0.0.1:80'}]}\n",
	  "t.yaml:1:29: error: ebpf.backends[].address: expected an IPv4 or IPv6 address, such as 10.0.1.10 or 2001:db8::1; the port does not belong here\n"
	  "ebpf: {backends: [{address: '10.0.0.1:80'}]}\n"
	  "                            ^\n" },
	{ "a backend without an address",
	  "ebpf: {backends: [{port: 80}]}\n",
	  "t.yaml:1:19: error: ebpf.backends[]: 'address' is missing\n"
	  "ebpf: {backends: [{port: 80}]}\n"
	  "                  ^\n" },
	{ "a backend id twice",
	  "ebpf:\n"
	  "  backends:\n"
	  "    - {id: 1, address: 10.0.0.1}\n"
	  "    - {id: 1, address: 10.0.0.2}\n",
	  "t.yaml:4:12: error: the backend id 1 is given twice; first at t.yaml:3:12\n"
	  "    - {id: 1, address: 10.0.0.2}\n"
	  "           ^\n" },
	{ "a backend twice in a service",
	  "ebpf:\n"
	  "  backends:\n"
	  "    - {address: 10.0.0.1, port: 80}\n"
	  "    - {address: 10.0.0.1, port: 80}\n",
	  "t.yaml:4:17: error: the backend 10.0.0.1:80 of service 'default' is given twice; first at t.yaml:3:17\n"
	  "    - {address: 10.0.0.1, port: 80}\n"
	  "                ^\n" },
	{ "a service name twice",
	  "services:\n"
	  "  - {name: a, addresses: [192.0.2.1], ports: [80]}\n"
	  "  - {name: a, addresses: [192.0.2.2], ports: [80]}\n",
	  "t.yaml:3:12: error: the service name 'a' is given twice; first at t.yaml:2:12\n"
	  "  - {name: a, addresses: [192.0.2.2], ports: [80]}\n"
	  "           ^\n" },
	{ "a service called like the implicit one",
	  "ebpf: {backends: [{address: 10.0.0.1}]}\n"
	  "services:\n"
	  "  - {name: default, addresses: [192.0.2.1], ports: [80]}\n",
	  "t.yaml:3:12: error: the service name 'default' is given twice; first at t.yaml:1:8\n"
	  "  - {name: default, addresses: [192.0.2.1], ports: [80]}\n"
	  "           ^\n" },
	{ "two services on one address and port",
	  "services:\n"
	  "  - {name: a, addresses: [192.0.2.1], ports: [80], protocol: [tcp, udp]}\n"
	  "  - {name: b, addresses: [192.0.2.1], ports: [80], protocol: udp}\n",
	  "t.yaml:3:27: error: 192.0.2.1:80 for udp is given twice; first at t.yaml:2:27\n"
	  "  - {name: b, addresses: [192.0.2.1], ports: [80], protocol: udp}\n"
	  "                          ^\n" },
	{ "a backend of a family the service has no address of",
	  "services:\n"
	  "  - name: a\n"
	  "    addresses: [192.0.2.1]\n"
	  "    ports: [80]\n"
	  "    backends: [{address: '2001:db8::1'}]\n",
	  "t.yaml:5:26: error: services[].backends[].address: 2001:db8::1 is IPv6, but the service has no IPv6 address; add one to 'addresses'\n"
	  "    backends: [{address: '2001:db8::1'}]\n"
	  "                         ^\n" },
	{ "a service without what it needs",
	  "services:\n"
	  "  - {name: a}\n",
	  "t.yaml:2:5: error: services[]: 'addresses' is missing\n"
	  "  - {name: a}\n"
	  "    ^\n"
	  "t.yaml:2:5: error: services[]: 'ports' is missing\n"
	  "  - {name: a}\n"
	  "    ^\n" },
	{ "more backends than the map takes",
	  "ebpf:\n"
	  "  maps: {backends: {max_entries: 1}}\n"
	  "  backends: [{address: 10.0.0.1}, {address: 10.0.0.2}]\n",
	  "t.yaml:3:3: error: 2 backends, but ebpf.maps.backends.max_entries is 1; raise it\n"
	  "  backends: [{address: 10.0.0.1}, {address: 10.0.0.2}]\n"
	  "  ^\n" },
	{ "short and full form that differ",
	  "ebpf:\n"
	  "  interface: eth0\n"
	  "  xdp: {interface: eth1}\n",
	  "t.yaml:2:3: error: ebpf.interface and ebpf.xdp.interface are one setting and differ; give one of them (the other is at t.yaml:3:9)\n"
	  "  interface: eth0\n"
	  "  ^\n" },
	{ "modes that differ",
	  "ebpf:\n"
	  "  xdp_mode: native\n"
	  "  xdp: {mode: generic}\n",
	  "t.yaml:2:3: error: ebpf.xdp_mode and ebpf.xdp.mode are one setting and differ; give one of them (the other is at t.yaml:3:9)\n"
	  "  xdp_mode: native\n"
	  "  ^\n" },
	{ "connection limits that differ",
	  "ebpf:\n"
	  "  conntrack: {max_entries: 5}\n"
	  "  maps: {connections: {max_entries: 6}}\n",
	  "t.yaml:3:24: error: ebpf.maps.connections.max_entries and ebpf.conntrack.max_entries are one setting and differ; give one of them (the other is at t.yaml:2:15)\n"
	  "  maps: {connections: {max_entries: 6}}\n"
	  "                       ^\n" },
	{ "a check that cannot go through a tunnel",
	  "upstreams:\n"
	  "  - name: a\n"
	  "    check: {type: http, through: tunnel}\n",
	  "t.yaml:3:34: error: upstreams[].check.through: http and https cannot go through a tunnel; use a check of type tcp without send and expect, udp or dns, or 'through: direct'\n"
	  "    check: {type: http, through: tunnel}\n"
	  "                                 ^\n" },
	{ "a conversation through a tunnel",
	  "upstreams:\n"
	  "  - name: a\n"
	  "    check: {expect: well, through: tunnel}\n",
	  "t.yaml:3:36: error: upstreams[].check.through: send and expect of tcp cannot go through a tunnel; use a check of type tcp without send and expect, udp or dns, or 'through: direct'\n"
	  "    check: {expect: well, through: tunnel}\n"
	  "                                   ^\n" },
	{ "NAT said of a service that is DSR",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], mode: dsr, nat: full}]\n",
	  "t.yaml:1:70: error: services[].nat: the service's mode is dsr, which rewrites nothing; set mode: nat, or delete this\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], mode: dsr, nat: full}]\n"
	  "                                                                     ^\n" },
	{ "NAT said of a service that is DSR by default",
	  "ebpf: {xdp: {dsr: {enabled: true}}}\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], nat: full}]\n",
	  "t.yaml:2:59: error: services[].nat: the service's mode is dsr, which rewrites nothing; set mode: nat, or delete this\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], nat: full}]\n"
	  "                                                          ^\n" },
	{ "a tunnel said of a service that is NAT",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], encap: gue}]\n",
	  "t.yaml:1:59: error: services[].encap: the service's mode is nat, which wraps nothing; set mode: dsr, or delete this\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], encap: gue}]\n"
	  "                                                          ^\n" },
	{ "a port that DSR cannot rewrite",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], mode: dsr, backends: [{address: 10.0.0.1, port: 80}, {address: 10.0.0.2, port: 8080}]}]\n",
	  "t.yaml:1:138: error: backends[].port: DSR does not rewrite packets, so the backend listens on the service's own port; delete this one\n"
	  "... mode: dsr, backends: [{address: 10.0.0.1, port: 80}, {address: 10.0.0.2, port: 8080}]}]\n"
	  "                                                                                   ^\n" },
	{ "a port beside any port",
	  "services: [{name: a, addresses: [192.0.2.1], ports: any, backends: [{address: 10.0.0.1, port: 80}]}]\n",
	  "t.yaml:1:95: error: backends[].port: a service of any port leaves the client's port as it is; delete this one\n"
	  "...me: a, addresses: [192.0.2.1], ports: any, backends: [{address: 10.0.0.1, port: 80}]}]\n"
	  "                                                                                   ^\n" },
	{ "any port beside others",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80, any]}]\n",
	  "t.yaml:1:53: error: ports: 'any' stands alone; delete the others\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80, any]}]\n"
	  "                                                    ^\n" },
	{ "a port within a range before it",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80-90, 85]}]\n",
	  "t.yaml:1:61: error: services[].ports: this port is listed twice\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80-90, 85]}]\n"
	  "                                                            ^\n" },
	{ "two services on a port of a range",
	  "services:\n"
	  "  - {name: a, addresses: [192.0.2.1], ports: [80-90]}\n"
	  "  - {name: b, addresses: [192.0.2.1], ports: [85]}\n",
	  "t.yaml:3:27: error: 192.0.2.1:85 for tcp is given twice; first at t.yaml:2:27\n"
	  "  - {name: b, addresses: [192.0.2.1], ports: [85]}\n"
	  "                          ^\n" },
	{ "two services on any port",
	  "services:\n"
	  "  - {name: a, addresses: [192.0.2.1], ports: any}\n"
	  "  - {name: b, addresses: [192.0.2.1], ports: any}\n",
	  "t.yaml:3:27: error: any port of 192.0.2.1 for tcp is given twice; first at t.yaml:2:27\n"
	  "  - {name: b, addresses: [192.0.2.1], ports: any}\n"
	  "                          ^\n" },
	{ "an IPv4 backend behind IPv6 addresses, in a tunnel",
	  "services: [{name: a, addresses: ['2001:db8::1'], ports: [80], mode: dsr, backends: [{address: 10.0.0.1}]}]\n",
	  "t.yaml:1:95: error: services[].backends[].address: 10.0.0.1 is IPv4, but the service has no IPv4 address; add one to 'addresses'\n"
	  "...me: a, addresses: ['2001:db8::1'], ports: [80], mode: dsr, backends: [{address: 10.0.0.1}]}]\n"
	  "                                                                                   ^\n" },
	{ "an IPv6 backend behind IPv4 addresses, on the link",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], mode: dsr, encap: none, backends: [{address: '2001:db8::1'}]}]\n",
	  "t.yaml:1:104: error: services[].backends[].address: 2001:db8::1 is IPv6, but the service has no IPv6 address; add one to 'addresses'\n"
	  "...dresses: [192.0.2.1], ports: [80], mode: dsr, encap: none, backends: [{address: '2001:db8::1'}]}]\n"
	  "                                                                                   ^\n" },
	{ "QUIC without UDP",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], quic: {}}]\n",
	  "t.yaml:1:59: error: services[].quic: QUIC is UDP; give the service protocol: udp\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], quic: {}}]\n"
	  "                                                          ^\n" },
	{ "a server id that ends behind the connection id",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], protocol: udp, quic: {server_id_offset: 18, server_id_length: 3}}]\n",
	  "t.yaml:1:74: error: services[].quic: connection ids have at most 20 bytes, and the server id ends behind them; lower server_id_offset or server_id_length\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], protocol: udp, quic: {server_id_offset: 18, server_id_length: 3}}]\n"
	  "                                                                         ^\n" },
	{ "a server id that is too long",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], protocol: udp, quic: {server_id_length: 1}, backends: [{address: 10.0.0.1, server_id: 256}]}]\n",
	  "t.yaml:1:145: error: backends[].server_id: 256 does not fit into 1 bytes; see quic.server_id_length\n"
	  "...ol: udp, quic: {server_id_length: 1}, backends: [{address: 10.0.0.1, server_id: 256}]}]\n"
	  "                                                                                   ^\n" },
	{ "a server id twice",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], protocol: udp, quic: {}, backends: [{address: 10.0.0.1, server_id: 7}, {address: 10.0.0.2, server_id: 7}]}]\n",
	  "t.yaml:1:161: error: backends[].server_id: 7 is another backend's\n"
	  "...}, backends: [{address: 10.0.0.1, server_id: 7}, {address: 10.0.0.2, server_id: 7}]}]\n"
	  "                                                                                   ^\n" },
	{ "a server id without QUIC",
	  "ebpf: {backends: [{address: 10.0.0.1, server_id: 7}]}\n",
	  "t.yaml:1:50: error: backends[].server_id: the service has no 'quic'; add it, or delete this\n"
	  "ebpf: {backends: [{address: 10.0.0.1, server_id: 7}]}\n"
	  "                                                 ^\n" },
	{ "a network twice among the clients",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], deny: [10.0.0.0/8, '2001:db8::/32', 10.0.0.0/8]}]\n",
	  "t.yaml:1:95: error: services[].deny: this network is listed twice\n"
	  "...me: a, addresses: [192.0.2.1], ports: [80], deny: [10.0.0.0/8, '2001:db8::/32', 10.0.0.0/8]}]\n"
	  "                                                                                   ^\n" },
	{ "a second outer source of a family",
	  "ebpf: {xdp: {dsr: {source: [10.0.0.0/8, 172.16.0.0/16]}}}\n",
	  "t.yaml:1:41: error: ebpf.xdp.dsr.source: one network of each family; this is the second IPv4 one\n"
	  "ebpf: {xdp: {dsr: {source: [10.0.0.0/8, 172.16.0.0/16]}}}\n"
	  "                                        ^\n" },
	{ "routes without hybrid mode",
	  "ebpf: {xdp: {routes: [{action: pass}]}}\n",
	  "t.yaml:1:14: error: ebpf.xdp.routes: routes need ebpf.mode: hybrid; set it, or delete them\n"
	  "ebpf: {xdp: {routes: [{action: pass}]}}\n"
	  "             ^\n" },
	{ "hybrid mode without routes",
	  "ebpf: {mode: hybrid}\n",
	  "t.yaml:1:14: error: ebpf.mode: hybrid balances what ebpf.xdp.routes name, and there are none; add routes, or set xdp\n"
	  "ebpf: {mode: hybrid}\n"
	  "             ^\n" },
	{ "hybrid mode with all routes commented out",
	  "ebpf:\n"
	  "  mode: hybrid\n"
	  "  xdp:\n"
	  "    routes:\n",
	  "t.yaml:2:9: error: ebpf.mode: hybrid balances what ebpf.xdp.routes name, and there are none; add routes, or set xdp\n"
	  "  mode: hybrid\n"
	  "        ^\n" },
	{ "a clamp that is too low",
	  "ebpf: {xdp: {mss_clamp: 500}}\n",
	  "t.yaml:1:25: error: ebpf.xdp.mss_clamp: expected false, off, true or auto, or a whole number from 536 to 65495 (bytes)\n"
	  "ebpf: {xdp: {mss_clamp: 500}}\n"
	  "                        ^\n" },
	{ "counters that do not count per CPU",
	  "ebpf: {maps: {stats: {type: hash}}}\n",
	  "t.yaml:1:29: error: ebpf.maps.stats.type: expected percpu_array\n"
	  "ebpf: {maps: {stats: {type: hash}}}\n"
	  "                            ^\n" },
	{ "fewer counters than there are",
	  "ebpf: {maps: {stats: {max_entries: 63}}}\n",
	  "t.yaml:1:36: error: ebpf.maps.stats.max_entries: expected a whole number from 64 to 1048576 (counters)\n"
	  "ebpf: {maps: {stats: {max_entries: 63}}}\n"
	  "                                   ^\n" },
	{ "DSR and NAT without the table",
	  "ebpf: {conntrack: {enabled: false}}\n"
	  "services:\n"
	  "  - {name: a, addresses: [192.0.2.1], ports: [80], mode: dsr}\n"
	  "  - {name: b, addresses: [192.0.2.2], ports: [80]}\n",
	  "t.yaml:1:29: error: ebpf.conntrack.enabled: NAT needs the connection table; make it true, or delete the key\n"
	  "ebpf: {conntrack: {enabled: false}}\n"
	  "                            ^\n" },
	{ "connections that nobody counts",
	  "ebpf: {conntrack: {enabled: false}}\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], mode: dsr, algorithm: least_connections}]\n",
	  "t.yaml:1:29: error: ebpf.conntrack.enabled: least_connections counts what the connection table holds; make it true, or take another algorithm\n"
	  "ebpf: {conntrack: {enabled: false}}\n"
	  "                            ^\n" },
	{ "an upstream that is spelled wrongly",
	  "ebpf: {health_integration: {enabled: true, upstream: bakcend}}\n"
	  "upstreams: [{name: frontend}, {name: backend}]\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], health: {min_healthy: 5}}]\n",
	  "t.yaml:1:54: error: upstream: there is no 'bakcend' among 'upstreams'; did you mean 'backend'?\n"
	  "ebpf: {health_integration: {enabled: true, upstream: bakcend}}\n"
	  "                                                     ^\n" },
	{ "an upstream that is not there",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], health: {upstream: nowhere}}]\n"
	  "upstreams: [{name: backend}]\n",
	  "t.yaml:1:78: error: upstream: there is no 'nowhere' among 'upstreams'; add it\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], health: {upstream: nowhere}}]\n"
	  "                                                                             ^\n" },
	{ "health without an upstream",
	  "ebpf: {health_integration: {enabled: true}}\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80]}]\n",
	  "t.yaml:1:38: error: ebpf.health_integration.enabled: 'upstream' is missing; name one of 'upstreams'\n"
	  "ebpf: {health_integration: {enabled: true}}\n"
	  "                                     ^\n" },
	{ "a service's health without an upstream",
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], health: {on_unhealthy: reset}}]\n",
	  "t.yaml:1:59: error: services[].health: 'upstream' is missing; name one of 'upstreams', or enable ebpf.health_integration\n"
	  "services: [{name: a, addresses: [192.0.2.1], ports: [80], health: {on_unhealthy: reset}}]\n"
	  "                                                          ^\n" },
	{ "a part of another kind of check",
	  "upstreams: [{name: a, check: {path: /}}, {name: b, check: {type: dns, send: x}}]\n",
	  "t.yaml:1:31: error: upstreams[].check.path: this is for checks of type http and https, and the type is tcp, the default; change it, or delete this\n"
	  "upstreams: [{name: a, check: {path: /}}, {name: b, check: {type: dns, send: x}}]\n"
	  "                              ^\n"
	  "t.yaml:1:71: error: upstreams[].check.send: this is for checks of type tcp and udp, and the type is dns; change it, or delete this\n"
	  "upstreams: [{name: a, check: {path: /}}, {name: b, check: {type: dns, send: x}}]\n"
	  "                                                                      ^\n" },
	{ "an escape that is none",
	  "upstreams: [{name: a, check: {send: 'a\\b'}}, {name: b, check: {expect: '\\x00'}}]\n",
	  "t.yaml:1:37: error: upstreams[].check.send: behind a backslash, expected r, n, t, another backslash, or x and two hexadecimal digits that are not 00\n"
	  "upstreams: [{name: a, check: {send: 'a\\b'}}, {name: b, check: {expect: '\\x00'}}]\n"
	  "                                    ^\n"
	  "t.yaml:1:72: error: upstreams[].check.expect: behind a backslash, expected r, n, t, another backslash, or x and two hexadecimal digits that are not 00\n"
	  "upstreams: [{name: a, check: {send: 'a\\b'}}, {name: b, check: {expect: '\\x00'}}]\n"
	  "                                                                       ^\n" },
	{ "a status out of range",
	  "upstreams: [{name: a, check: {type: http, status: 399-200}}]\n",
	  "t.yaml:1:51: error: upstreams[].check.status: expected an HTTP status such as 200, or a range such as 200-399\n"
	  "upstreams: [{name: a, check: {type: http, status: 399-200}}]\n"
	  "                                                  ^\n" },
	{ "NAT without its table",
	  "ebpf: {conntrack: {enabled: false}}\n",
	  "t.yaml:1:29: error: ebpf.conntrack.enabled: NAT needs the connection table; make it true, or delete the key\n"
	  "ebpf: {conntrack: {enabled: false}}\n"
	  "                            ^\n" },
	{ "an API that anybody may use",
	  "admin: {listen: 0.0.0.0:9091}\n",
	  "t.yaml:1:17: error: admin.listen: others can reach this address, so admin.auth is needed; add it, or listen on 127.0.0.1\n"
	  "admin: {listen: 0.0.0.0:9091}\n"
	  "                ^\n" },
	{ "an API address without its port",
	  "admin: {listen: 127.0.0.1}\n",
	  "t.yaml:1:17: error: admin.listen: expected ADDRESS:PORT, such as 127.0.0.1:9091 or [::1]:9091, or off\n"
	  "admin: {listen: 127.0.0.1}\n"
	  "                ^\n" },
	{ "a user with a colon",
	  "admin: {auth: {basic: {username: 'a:b', password: sesame}}}\n",
	  "t.yaml:1:34: error: admin.auth.basic.username: a colon ends the name in HTTP (RFC 7617); choose one without\n"
	  "admin: {auth: ******* ********** ****** ********* *********\n"
	  "                                 ^\n" },
	{ "a user without a password",
	  "admin:\n"
	  "  auth:\n"
	  "    basic:\n"
	  "      username: a\n",
	  "t.yaml:3:5: error: admin.auth.basic: 'password' is missing\n"
	  "    basic:\n"
	  "    ^\n" },
	{ "a typo below admin.auth",
	  "admin:\n"
	  "  auth:\n"
	  "    baerer: sesame\n",
	  "t.yaml:3:5: error: unknown key in admin.auth; did you mean 'bearer'?\n"
	  "    ******: ******\n"
	  "    ^\n" },
	{ "a secret of the wrong shape",
	  "admin:\n"
	  "  auth:\n"
	  "    bearer: [sesame, open]\n",
	  "t.yaml:3:13: error: admin.auth.bearer: expected a text of 1 to 1023 bytes\n"
	  "    bearer: **************\n"
	  "            ^\n" },
	{ "a secret under a strange key",
	  "admin:\n"
	  "  \"auth\":\n"
	  "    sesame: open\n",
	  "t.yaml:3:5: error: unknown key in admin.auth; loom.yaml(5) lists the keys\n"
	  "    ******* ****\n"
	  "    ^\n" },
	{ "a secret in a syntax error",
	  "admin:\n"
	  "  auth:\n"
	  "    bearer: \"sesame\n",
	  "t.yaml:3:14: error: this is no YAML; look at brackets, quotes and indentation here and above\n"
	  "    bearer: *******\n"
	  "             ^\n" },
	{ "a network with host bits",
	  "ebpf: {xdp: {snat: {addresses: [10.0.0.1/24]}}}\n",
	  "t.yaml:1:33: error: ebpf.xdp.snat.addresses: expected an address or a network, such as 10.0.1.10 or 10.0.2.0/28; bits behind the prefix are set\n"
	  "ebpf: {xdp: {snat: {addresses: [10.0.0.1/24]}}}\n"
	  "                                ^\n" },
	{ "too many source addresses",
	  "ebpf: {xdp: {snat: {addresses: [10.0.0.0/23]}}}\n",
	  "t.yaml:1:32: error: ebpf.xdp.snat.addresses: more than 256 addresses; use smaller networks\n"
	  "ebpf: {xdp: {snat: {addresses: [10.0.0.0/23]}}}\n"
	  "                               ^\n" },
	{ "source networks that overlap",
	  "ebpf: {xdp: {snat: {addresses: [10.0.0.0/28, 10.0.0.5]}}}\n",
	  "t.yaml:1:46: error: ebpf.xdp.snat.addresses: this overlaps with entry 1 of the list\n"
	  "ebpf: {xdp: {snat: {addresses: [10.0.0.0/28, 10.0.0.5]}}}\n"
	  "                                             ^\n" },
	{ "a range upside down",
	  "ebpf: {xdp: {snat: {ports: 200-100}}}\n",
	  "t.yaml:1:28: error: ebpf.xdp.snat.ports: expected a range of ports, such as 1024-32767; the lower port comes first\n"
	  "ebpf: {xdp: {snat: {ports: 200-100}}}\n"
	  "                           ^\n" },
	{ "an interface name that is too long",
	  "ebpf: {interface: a-very-long-interface}\n",
	  "t.yaml:1:19: error: ebpf.interface: expected the name of a network interface, such as eth0\n"
	  "ebpf: {interface: a-very-long-interface}\n"
	  "                  ^\n" },
	{ "an unset variable",
	  "instance: ${LOOM_TEST_UNSET}\n",
	  "t.yaml:1:11: error: the environment variable LOOM_TEST_UNSET is not set; set it, or write ${LOOM_TEST_UNSET:-default}\n"
	  "instance: ${LOOM_TEST_UNSET}\n"
	  "          ^\n" },
	{ "a variable without its bracket",
	  "instance: ${LOOM_TEST\n",
	  "t.yaml:1:11: error: '${' without a '}'; write $${ for the characters themselves\n"
	  "instance: ${LOOM_TEST\n"
	  "          ^\n" },
	{ "a variable with another operator",
	  "instance: ${LOOM_TEST:+x}\n",
	  "t.yaml:1:11: error: expected ${NAME} or ${NAME:-default}; write $${ for the characters themselves\n"
	  "instance: ${LOOM_TEST:+x}\n"
	  "          ^\n" },
	{ "a variable of the wrong kind",
	  "ebpf: {conntrack: {timeout: \"${LOOM_TEST_UNSET:-5}\"}}\n",
	  "t.yaml:1:29: error: ebpf.conntrack.timeout: expected a duration from 1s to 30d, such as 300s or 5m; the unit is missing: ms, s, m, h or d (this is about the text after ${...} was replaced)\n"
	  "ebpf: {conntrack: {timeout: \"${LOOM_TEST_UNSET:-5}\"}}\n"
	  "                            ^\n" },
	{ "a variable without quotes in a flow mapping",
	  "log: {level: ${LOOM_TEST}}\n",
	  "t.yaml:1:15: error: missing comma in flow mapping; in [] and {}, write \"${NAME}\" with quotes\n"
	  "log: {level: ${LOOM_TEST}}\n"
	  "              ^\n" },
	{ "a tab as indentation",
	  "ebpf:\n"
	  "\tenabled: true\n",
	  "t.yaml:2:1: error: tab character may not be used as indentation\n"
	  "\tenabled: true\n"
	  "^\n" },
	{ "a bracket left open",
	  "ebpf: {enabled: true\n",
	  "t.yaml:2:1: error: missing comma in flow mapping\n"
	  "\n"
	  "^\n" },
	{ "a quote left open",
	  "instance: \"a\n"
	  "log: {level: info}\n",
	  "t.yaml:1:11: error: wrongly indented double-quoted scalar\n"
	  "instance: \"a\n"
	  "          ^\n" },
	{ "an alias of nothing",
	  "instance: *a\n",
	  "t.yaml:1:11: error: an alias without an anchor of that name before it\n"
	  "instance: *a\n"
	  "          ^\n" },
	{ "an alias of itself",
	  "ebpf: &a\n"
	  "  xdp: *a\n",
	  "t.yaml:2:8: error: an alias inside of what it stands for\n"
	  "  xdp: *a\n"
	  "       ^\n" },
	{ "a tag",
	  "instance: !!str a\n",
	  "t.yaml:1:17: error: tags have no meaning here; delete it\n"
	  "instance: !!str a\n"
	  "                ^\n" },
	{ "two documents",
	  "instance: a\n"
	  "---\n"
	  "instance: b\n",
	  "t.yaml:2:1: error: a second document; put it into a file of its own and give both with -c\n"
	  "---\n"
	  "^\n" },
	{ "an escape that is no text",
	  "instance: \"a\\0b\"\n",
	  "t.yaml:1:11: error: a value is printable text on one line; delete line breaks and control characters\n"
	  "instance: \"a\\0b\"\n"
	  "          ^\n" },
	{ "what is no UTF-8",
	  "instance: a\xff" "b\n",
	  "t.yaml:1:12: error: this is not UTF-8 text; save the file as UTF-8\n"
	  "instance: a?b\n"
	  "           ^\n" },
	{ "a control character",
	  "instance: a\x01" "b\n",
	  "t.yaml:1:12: error: a control character; delete it\n"
	  "instance: a?b\n"
	  "           ^\n" },
	{ "a line with wide characters and tabs",
	  "{ä: 1,\t€: 2}\n",
	  "t.yaml:1:2: error: unknown key at the top level; loom.yaml(5) lists the keys\n"
	  "{ä: 1,\t€: 2}\n"
	  " ^\n"
	  "t.yaml:1:8: error: unknown key at the top level; loom.yaml(5) lists the keys\n"
	  "{ä: 1,\t€: 2}\n"
	  "      \t^\n" },
	{ "several at once, in the order of the text",
	  "ebpf:\n"
	  "  xdp: {mode: slow}\n"
	  "  backends: [{weight: -1}]\n"
	  "  mode: xpd\n",
	  "t.yaml:2:15: error: ebpf.xdp.mode: expected native, generic or offload\n"
	  "  xdp: {mode: slow}\n"
	  "              ^\n"
	  "t.yaml:3:14: error: ebpf.backends[]: 'address' is missing\n"
	  "  backends: [{weight: -1}]\n"
	  "             ^\n"
	  "t.yaml:3:23: error: ebpf.backends[].weight: expected a whole number from 0 to 65535\n"
	  "  backends: [{weight: -1}]\n"
	  "                      ^\n"
	  "t.yaml:4:9: error: ebpf.mode: expected xdp or hybrid; did you mean 'xdp'?\n"
	  "  mode: xpd\n"
	  "        ^\n" },
};
/* clang-format on */

static void test_each_fault_is_told_with_its_place_and_what_was_expected(void **state)
{
	unsetenv("LOOM_TEST_UNSET");
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_complaints(rows[i].text, rows[i].complaints);
}

/* Loads text that must be bad; *ret is the number of complaints, the first is compared. */
static size_t complaints_of(const char *text, size_t len, const char *first)
{
	struct config *config;
	struct buf complaints;
	size_t count = 0;

	buf_init(&complaints);
	assert_int_equal(config_load_text("t.yaml", text, len, &config, &complaints), -EINVAL);
	if (first)
		assert_memory_equal(complaints.data, first, strlen(first));
	for (const char *at = complaints.data; (at = strstr(at, ": error: ")); at++)
		count++;
	buf_done(&complaints);
	return count;
}

static void test_a_hundred_complaints_are_told_and_the_rest_counted(void **state)
{
	static const char end[] =
		"20 more errors are not shown; mend the first 100 and check again\n";
	struct config *config;
	struct buf text, complaints;

	buf_init(&text);
	buf_init(&complaints);
	for (int i = 0; i < 120; i++)
		buf_printf(&text, "key%d: 1\n", i);
	assert_int_equal(config_load_text("t.yaml", text.data, text.len, &config, &complaints),
			 -EINVAL);
	assert_string_equal(complaints.data + complaints.len - strlen(end), end);
	assert_int_equal(complaints_of(text.data, text.len, NULL), 100);
	buf_done(&text);
	buf_done(&complaints);
}

static void test_a_long_line_is_shown_in_part(void **state)
{
	struct buf text;

	buf_init(&text);
	buf_printf(&text, "log: {%400s level: loud %400s}\n", "", "");
	assert_int_equal(complaints_of(text.data, text.len,
				       "t.yaml:1:415: error: log.level: expected error, warning, "
				       "notice, info or debug\n"
				       "...     "),
			 1);
	buf_done(&text);
}

static void test_a_billion_laughs_are_stopped(void **state)
{
	struct buf text;

	buf_init(&text);
	buf_printf(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 10; i++)
		buf_printf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i,
			   i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	assert_int_equal(complaints_of(text.data, text.len, "t.yaml:7:"), 1);
	buf_done(&text);
}

static void test_nesting_and_size_have_limits(void **state)
{
	char *text = malloc((10 << 20) + 1);

	memset(text, '[', 1000);
	assert_int_equal(complaints_of(text, 1000, "t.yaml:1:33: error: nested too deeply"), 1);
	for (size_t i = 0; i < 600000; i++)
		memcpy(text + i * 4, "- a\n", 4);
	assert_int_equal(complaints_of(text, 2400000, "t.yaml:500000:3: error: too many values"),
			 1);
	memset(text, ' ', (10 << 20) + 1);
	assert_int_equal(complaints_of(text, (10 << 20) + 1, "t.yaml:1:1: error: more than 10 MiB"),
			 1);
	free(text);
}

static void test_a_nul_byte_is_refused(void **state)
{
	assert_int_equal(complaints_of("instance: a\0b", 13, "t.yaml:1:12: error: a NUL byte"), 1);
}

static void test_a_variable_is_not_told_what_it_holds(void **state)
{
	setenv("LOOM_TEST_SECRET", "sesame", 1);
	assert_complaints("ebpf: {conntrack: {timeout: \"${LOOM_TEST_SECRET}\"}}\n",
			  "t.yaml:1:29: error: ebpf.conntrack.timeout: expected a duration from 1s "
			  "to 30d, such as 300s or 5m (this is about the text after ${...} was "
			  "replaced)\n"
			  "ebpf: {conntrack: {timeout: \"${LOOM_TEST_SECRET}\"}}\n"
			  "                            ^\n");
	setenv("LOOM_TEST_SECRET", "two\nlines", 1);
	assert_complaints("instance: ${LOOM_TEST_SECRET}\n",
			  "t.yaml:1:11: error: the environment variable LOOM_TEST_SECRET is no "
			  "printable text on one line\n"
			  "instance: ${LOOM_TEST_SECRET}\n"
			  "          ^\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_fault_is_told_with_its_place_and_what_was_expected),
		cmocka_unit_test(test_a_hundred_complaints_are_told_and_the_rest_counted),
		cmocka_unit_test(test_a_long_line_is_shown_in_part),
		cmocka_unit_test(test_a_billion_laughs_are_stopped),
		cmocka_unit_test(test_nesting_and_size_have_limits),
		cmocka_unit_test(test_a_nul_byte_is_refused),
		cmocka_unit_test(test_a_variable_is_not_told_what_it_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

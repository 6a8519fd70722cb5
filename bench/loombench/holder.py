"""holder.py tcp|udp FIRST COUNT: a SO_REUSEPORT socket on each of COUNT ports of 127.0.0.1.  On stdin, "join PORT" opens
another one there, and "leave PORT" closes the last one, "leave-first PORT" the first."""
import resource
import socket
import sys


def bind(protocol, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    if protocol == "tcp":
        sock.listen(16)
    return sock


def main():
    protocol, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
    sockets = [bind(protocol, first + n) for n in range(count)]
    joined = {}
    print("ready", flush=True)
    for line in sys.stdin:
        what, port = line.split()
        if what == "join":
            joined.setdefault(port, []).append(bind(protocol, int(port)))
        else:
            joined[port].pop(0 if what == "leave-first" else -1).close()
        print("ok", flush=True)
    del sockets


main()

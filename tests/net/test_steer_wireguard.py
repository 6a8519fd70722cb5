"""WireGuard: messages reach the socket that owns their receiver index, whatever address they come from."""
import errno
import random
import signal
import struct

import pytest

from lab import LabError, until
from steering import ADDRESS, PORT, Member, SteerLoom, group, steer_lab
from wireguard import DATA, INITIATION, NEAR, RESPONSE, COOKIE_REPLY, Group, Peers, Relay

SOCKETS = 4
INDICES = 100_000


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


@pytest.fixture(scope="module")
def peers(net):
    return Peers(net, 4)


@pytest.fixture(scope="module")
def sockets(net):
    return Group(net, SOCKETS)


def random_owners(count, seed=1):
    dice = random.Random(seed)
    return {index: dice.randrange(SOCKETS) for index in dice.sample(range(1, 1 << 32), count)}


def steered(net, address, **more):
    return SteerLoom(net, [group("udp", address=address, policy={"name": "wireguard", "max_indices": 131072},
                                 members=[{"any": True}], guard="off", **more)])


def slots(loom, cookies):
    """Each socket's slot, by its number."""
    rows = {row["cookie"]: row["slot"] for row in loom.settled(len(cookies))}
    return [rows[cookie] for cookie in cookies]


def publish(loom, owners, slot_of):
    for number, slot in enumerate(slot_of):
        mine = [index for index, owner in owners.items() if owner == number]
        for at in range(0, len(mine), 4096):
            loom.api("PUT", "/steer/groups/g/indices", {"indices": mine[at:at + 4096], "slot": slot})


def use_tunnels(peers, relay, rounds=4):
    """Handshakes and data from many source ports: sessions are renewed, and roam."""
    peers.use()
    for turn in range(rounds):
        for n in range(len(peers.clients)):
            if (turn + n) % 2:
                peers.renew(n)
            else:
                peers.roam(n, 20000 + 100 * n + random.randrange(100))
        peers.use()
    assert relay.error is None


def test_without_the_program_messages_reach_any_socket(net, sockets):
    owners = random_owners(2000)
    for kind, segments in ((DATA, 1), (DATA, 8), (RESPONSE, 1)):
        found = sockets.run(owners, kind, segments)
        assert found["received"] == found["sent"] == 2000 * segments and found["unknown"] == 0
        assert 0.65 < found["misdirected"] / found["sent"] < 0.85


def test_without_the_program_real_peers_data_is_misdirected(net, peers):
    relay = Relay(net, SOCKETS, lambda index, number: None).start()
    use_tunnels(peers, relay, rounds=1)
    data, wrong = relay.data()
    assert len(data) > 30 and len(wrong) > len(data) / 3
    relay.close()


def test_a_hundred_thousand_indices_no_message_is_misdirected(net, sockets):
    owners = random_owners(INDICES)
    with steered(net, ADDRESS) as loom:
        everyone_is_found(loom, sockets, owners)


def everyone_is_found(loom, sockets, owners):
    slot_of = slots(loom, sockets.cookies)
    publish(loom, owners, slot_of)
    assert loom.rollout("enforced")["indices"] == INDICES
    few = dict(list(owners.items())[:5000])
    for kind, segments, some in ((DATA, 1, owners), (DATA, 8, few), (DATA, 64, few), (RESPONSE, 1, few),
                                 (COOKIE_REPLY, 1, few)):
        found = sockets.run(some, kind, segments)
        assert found["received"] == found["sent"] == len(some) * segments
        assert found["misdirected"] == found["unknown"] == 0, (kind, segments, found)
    # A session that moves takes its index with it, and one that ends leaves nothing behind.
    moved = {index: (owner + 1) % SOCKETS for index, owner in few.items()}
    publish(loom, moved, slot_of)
    assert sockets.run(moved)["misdirected"] == 0
    indices = list(few)
    for at in range(0, len(indices), 4096):
        loom.api("DELETE", "/steer/groups/g/indices", {"indices": indices[at:at + 4096]})
    assert loom.group()["indices"] == INDICES - len(few)
    # What is not published is its virtual shard's, as explain says: the index's top 8 bits.
    before = loom.group()["counters"]["index_override"]
    shards = [slot_of.index(explained(loom, shard << 24)) for shard in range(256)]
    assert len(set(shards)) == SOCKETS
    assert sockets.run({index: shards[index >> 24] for index in few})["misdirected"] == 0
    assert loom.group()["counters"]["index_override"] == before


def explained(loom, index):
    """The slot that a data message's index leads to."""
    payload = struct.pack("<II", DATA, index) + bytes(24)
    return loom.api("GET", f"/steer/groups/g/explain?source=127.0.0.9&port=4000&payload={payload.hex()}")["slot"]


def test_a_table_of_indices_that_is_full_grows_with_its_policy_and_loses_nothing(net, sockets):
    with SteerLoom(net, [group(policy={"name": "wireguard", "max_indices": 64}, members=[{"any": True}], guard="off")]) as loom:
        slot_of = slots(loom, sockets.cookies)
        owners = random_owners(1000)
        few = dict(list(owners.items())[:64])
        publish(loom, few, slot_of)
        with pytest.raises(LabError, match="raise policy.max_indices"):
            publish(loom, owners, slot_of)
        loom.policy("wireguard", max_indices=1000)
        assert sockets.run(few)["misdirected"] == 0
        publish(loom, owners, slot_of)
        assert loom.group()["indices"] == 1000 and sockets.run(owners)["misdirected"] == 0
        # A successor of the daemon that is told another size changes it as well.
        loom.stop()
        loom.config["steering"]["groups"][0]["policy"]["max_indices"] = 5000
        loom.write()
        loom.start()
        assert loom.group()["indices"] == 1000 and sockets.run(owners)["misdirected"] == 0


def test_indices_of_a_member_that_has_gone_are_not_its_successors(net):
    policy = {"name": "wireguard", "max_indices": 64}
    with net.python("udp", port=PORT + 1) as server, SteerLoom(net, [group(port=PORT + 1, policy=policy, guard="off",
                                                                           members=[{"any": True}])]) as loom:
        slot = next(row["slot"] for row in loom.settled(4) if row["pid"] == server.workers[2])
        loom.api("PUT", "/steer/groups/g/indices", {"indices": list(range(64)), "slot": slot})
        server.send(2, signal.SIGKILL)
        assert loom.settled(3) and loom.group()["indices"] == 0
        with net.python("udp", workers=1, first=9, port=PORT + 1) as other:
            successor = next(row["slot"] for row in loom.settled(4) if row["pid"] == other.workers[9])
            assert successor == slot and explained(loom, 7) is not None
            loom.api("PUT", "/steer/groups/g/indices", {"indices": list(range(100, 164)), "slot": successor})
            assert loom.group()["indices"] == 64


def test_a_publication_that_is_refused_takes_nothing_back_that_was_there(net):
    with SteerLoom(net, [group(policy="wireguard", guard="off", members=[{"join": True}])]) as loom, \
            Member(net, "udp", 1, "g", indices=[(1, 2, 2), (4, 1, 3)]) as one, \
            Member(net, "udp", 2, "g", indices=[(3,)]) as other:
        assert one.publish() == other.publish() == 0 and loom.group()["indices"] == 3
        assert one.publish() == -errno.EEXIST
        slot = explained(loom, 2)
        assert loom.group()["indices"] == 3 and explained(loom, 1) == slot != explained(loom, 3)
        one.stop(signal.SIGKILL)
        until("its indices are gone", lambda: loom.group()["indices"] == 1)


def test_real_peers_from_many_source_ports_reach_the_owner_of_their_index(net, peers):
    relay = Relay(net, SOCKETS, lambda index, number: publish(loom, {index: number}, slot_of))
    with steered(net, NEAR) as loom:
        slot_of = slots(loom, relay.cookies())
        loom.rollout("enforced")
        relay.start()
        for n in range(len(peers.clients)):
            peers.renew(n)  # a session's index of before is nobody's
        use_tunnels(peers, relay)
    relay.close()
    data, wrong = relay.data()
    assert len(data) >= 100 and wrong == [] and len({one.socket for one in data}) > 1
    sources = {one.source for one in relay.seen}
    assert len(sources) >= 8
    # All initiations of one address go to one socket: its rate limiter sees all of a source.
    assert len({one.socket for one in relay.seen if one.kind == INITIATION}) == 1

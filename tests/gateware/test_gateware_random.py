"""Long random runs: the gateware as native code against the board in memory, two independent readings of the protocol.

`make fuzz-gateware` runs many more frames; LUTLAB_SIM_FRAMES and LUTLAB_SIM_SEED say how many, and which.
"""

from __future__ import annotations

import os
import random

import pytest
from device_sim import DEAD_WORD, ERR_WORD, PARAMETERS, READ_PATTERN, VECTORS, checked, hello
from fast_sim import COMPILER, FRAMING_ERROR, FastDevice, build

from lutlab_bus import brief
from lutlab_bus.fake import BusErrorAt, BusSilentAt, FakeBridge, _is_whole, _unstuff

FRAMES = int(os.environ.get("LUTLAB_SIM_FRAMES", "6000"))
SEED = int(os.environ.get("LUTLAB_SIM_SEED", "1"))
ADDRESSES = [0, 1, 0x10, 0xFF, ERR_WORD - 1, ERR_WORD, DEAD_WORD, 0x1FE, 0x1FF, 0x200, 0xFFFF, 0x10000, 0xFFFFFF]
GROUP_BYTES = 480
"""Sent at once: what both rings hold, requests and replies."""
NAK = 0x80

pytestmark = pytest.mark.skipif(COMPILER is None, reason="a C++ compiler makes the gateware fast enough for this")


class Target(dict):
    """The tempered target for the board in memory; notes what was written."""

    def __init__(self):
        super().__init__()
        self.written = []

    def get(self, address, default=None):
        self._temper(address)
        return READ_PATTERN | address

    def __setitem__(self, address, word):
        self.written.append(word)
        self._temper(address)

    def _temper(self, address):
        if address == ERR_WORD:
            raise BusErrorAt
        if address == DEAD_WORD:
            raise BusSilentAt


class Dice(random.Random):
    """Frames at random; `spend` keeps count of the bytes that the replies will take."""

    address_bits = PARAMETERS["address_bits"]

    def addresses(self):
        """Some within the target, and beside the end of a wide one."""
        space = 1 << self.address_bits
        beside = [space - self.randrange(1, 20), space, space + 1] if self.address_bits > 9 else []
        return [self.randrange(space), *(address for address in beside if address < 1 << 24)]

    def word(self):
        return self.choice([0, 0xFFFF_FFFF, 0x0101_0101, self.getrandbits(32), self.getrandbits(32)]).to_bytes(
            4, "little"
        )

    def operation(self, words_max):
        """Request bytes of one operation, and how many bytes of reply it causes."""
        if self.random() < 0.05:
            return bytes([0x80 | self.randrange(128)]), 5
        kind = self.choice([0, 0, 0, 1, 1, 1, 2, 3])
        address = self.choice([self.choice(ADDRESSES), *self.addresses()])
        op = kind | 0x20 * (address > 0xFFFF or self.random() < 0.2) | 0x08 * (self.random() < 0.3)
        count = 1
        body = b""
        if kind < 2:
            op |= 0x04 * (self.random() < 0.3)
            if self.random() < 0.5:
                count = self.randint(1, words_max)
                op |= 0x10
                body += (count - 1).to_bytes(2, "little")
        body += address.to_bytes(3 if op & 0x20 else 2, "little")
        if kind == 1:
            body += b"".join(self.word() for _ in range(count))
        if kind == 2:
            body += self.word() + self.word()
        if kind == 3:  # it is met at once, or has no time: the board in memory has no clock
            mask = self.word()
            is_met = self.random() < 0.5
            value = (READ_PATTERN | address).to_bytes(4, "little") if is_met else self.word()
            body += (self.choice([0, 5000]) if is_met else 0).to_bytes(4, "little") + mask + value
        if self.random() < 0.01:
            op |= 0x40
        return bytes([op]) + body, 1 + 4 * count * (kind != 1)

    def frame(self, sequence):
        """A request on the line, and an upper bound of its reply's bytes."""
        if self.random() < 0.2 and (line := brief.request(self.randrange(128), sequence)):
            return line, 8
        body, reply = b"", 1
        words_max = self.choice([2, 2, 20])
        for _ in range(self.choice([0, 1, 1, 1, 2, 4])):
            operation, answer = self.operation(words_max)
            body += operation
            reply += answer
        is_long = max(len(body) + 3, reply + 2) > 32 or self.random() < 0.3
        if self.random() < 0.02:
            is_long = not is_long  # a short check where a long one is due
        return checked(bytes([0x40 * is_long | sequence]) + body), reply + 8

    def damage(self, line):
        """Hurt a line in one place or several."""
        line = list(line)
        for _ in range(self.choice([1, 1, 1, 2, 5])):
            at = self.randrange(len(line)) if line else 0
            match self.randrange(6):
                case 0 if line:
                    line[at] = (line[at] & 0xFF) ^ 1 << self.randrange(8)
                case 1:
                    del line[at : at + 1]
                case 2:
                    line.insert(at, self.choice([0, 0xFF, self.randrange(256)]))
                case 3:
                    del line[at:]
                case 4:
                    line.insert(at, FRAMING_ERROR)
                case 5:
                    line[at:at] = self.randbytes(self.randrange(1, 40))
        return line


def without_naks(replies):
    frames = replies.split(b"\0")
    assert frames.pop() == b"", "the last reply has no end"
    return [frame for frame in frames if not (len(frame) < 6 and frame_head(frame) & 0xC0 == NAK)]


def frame_head(line):
    return line[1] if len(line) > 1 and line[0] > 1 else 0


class Ring:
    """Which replies may have left the device's ring: the board in memory keeps them all. No host asks for those."""

    def __init__(self):
        self._bytes = 0
        self._begins = {}

    def note(self, fake, executed, reply):
        """A reply of the board in memory; whether it is one that the device may not have any more."""
        begins = self._bytes
        self._bytes += len(reply)
        if len(fake.executed) > executed:
            self._begins[fake.executed[-1]] = begins
            return False
        sequence = next((number for number, stored in fake._stored.items() if stored == reply), None)
        return sequence is not None and begins - self._begins[sequence] > PARAMETERS["reply_ring_bytes"] - 32


def same(device, memory, doubtful):
    """Are these the same replies? Of the doubtful ones the device may say something damaged instead."""
    if not doubtful:
        return without_naks(device) == without_naks(memory)
    device, memory = ([line for line in without_naks(each) if is_undamaged(line)] for each in (device, memory))
    while memory and device != memory:
        at = next((i for i, (a, b) in enumerate(zip(device, memory, strict=False)) if a != b), len(device))
        if memory[at] not in doubtful:
            return False
        del memory[at]
    return device == memory


def fed(fake, line, ring=None):
    """Give a line to the board in memory. It knows no framing errors: such a frame becomes one that cannot be."""
    ring = ring or Ring()
    replies, doubtful = b"", set()
    piece = bytearray()
    broken, intact = False, b""
    for byte in line:
        if byte == FRAMING_ERROR:
            intact = intact if broken else bytes(piece)
            broken = True
        elif byte:
            piece.append(byte)
        else:
            executed = len(fake.executed)
            if broken:  # behind a whole brief request, damage is too late
                piece[:] = intact[:3] + b"\x02" if len(intact) >= 3 and intact[0] & 0x80 else b"\x02"
            reply = fake.feed(bytes(piece) + b"\0")
            if ring.note(fake, executed, reply):
                doubtful.add(reply.rstrip(b"\0"))
            replies += reply
            piece.clear()
            broken = False
    assert not piece and not broken
    return replies, doubtful


@pytest.mark.parametrize("delay", [0, 1, 3], ids=["combinational", "registered", "stretched"])
def test_same_bytes_in_same_bytes_out(library, delay):
    compare(library, delay, Dice(SEED * 3 + delay), FRAMES // 3)


@pytest.mark.parametrize("address_bits", [17, 24])
def test_wide_address_spaces(tmp_path, address_bits):
    dice = Dice(SEED + address_bits)
    dice.address_bits = address_bits
    transfers = compare(build(tmp_path, address_bits=address_bits), 1, dice, FRAMES // 3)
    for low in (0, 1 << 16, (1 << address_bits) - 20):
        assert any(low <= address < low + (1 << 16) for _, address in transfers)
    assert max(address for _, address in transfers) == (1 << address_bits) - 1


def compare(library, delay, dice, count):
    """So many random frames into the gateware and into the board in memory; returns what they did on the bus."""
    device, target = FastDevice(library, delay), Target()
    settings = {key: value for key, value in VECTORS["device"].items() if key != "divider"}
    fake = FakeBridge(target, **settings | {"address_bits": dice.address_bits})
    sequence, frames, damaged, briefs = 0, 0, 0, 0
    history, ring = [], Ring()
    while frames < count:
        line, room = [], GROUP_BYTES
        while True:
            roll = dice.random()
            if roll < 0.05:
                part, reply = list(hello(sequence)), 60
            elif roll < 0.2 and history:
                part, reply = dice.choice(history[-20:])
            else:
                at = sequence if roll < 0.9 else dice.randrange(64)
                part, reply = dice.frame(at)
                part = list(part)
                history.append((part, reply))
                if at == sequence and roll < 0.75:
                    sequence = (sequence + 1) % 64
            frames += 1
            if dice.random() < 0.15:
                part, damaged = dice.damage(part), damaged + 1
            room -= max(len(part), reply)
            if room < 0:
                break
            line += part
        line += [0]  # whatever is left of a damaged one ends here
        before, written = len(fake.transfers), len(target.written)
        expected, doubtful = fed(fake, line, ring)
        replies, transfers = device.run(line)
        briefs += sum(len(reply) == 7 and reply[0] & 0x80 != 0 for reply in replies.split(b"\0"))
        note = f"seed {SEED}, delay {delay}, frame {frames}"
        assert [(kind, address) for kind, address, _ in transfers] == fake.transfers[before:], note
        assert [word for kind, _, word in transfers if kind == "w"] == target.written[written:], note
        assert same(replies, expected, doubtful), note
        if fake._expected is not None and dice.random() < 0.9:
            sequence = fake._expected
    assert damaged > frames // 20
    assert briefs > frames // 50
    assert len(fake.transfers) > frames // 5
    device.close()
    return fake.transfers


def test_floods_and_noise_neither_hang_it_nor_reach_the_bus(library):
    """Nothing may happen, whatever comes, at any speed, but for what has a right check."""
    dice, device, target = Dice(SEED), FastDevice(library, 1), Target()
    fake = FakeBridge(target, **{key: value for key, value in VECTORS["device"].items() if key != "divider"})
    for _ in range(FRAMES // 100):
        noise = [
            dice.choice([0, 1, 2, 255, FRAMING_ERROR, dice.randrange(256)]) for _ in range(dice.randrange(1, 2000))
        ]
        # Once in millions the noise holds a whole frame: FF 00 00 00 FF is a hello with a right CRC-32.
        expected, _ = fed(fake, [*noise, 0])
        replies, transfers = device.run([*noise, 0], byte_cycles=12)
        assert without_naks(replies) == without_naks(expected)
        assert [(kind, address) for kind, address, _ in transfers] == fake.transfers == []
    good = VECTORS["exchange"][0]
    request, reply = bytes.fromhex(good["line_request"]), bytes.fromhex(good["line_reply"])
    for _ in range(FRAMES // 100):
        long_frame = dice.frame(dice.randrange(64))[0] * dice.randrange(1, 60)
        device.run([*dice.damage(long_frame), 0], byte_cycles=12, tx_cycles=dice.choice([0, 40, 400]))
        device.run(hello(good["sequence"]))
        assert device.run(request) == (reply, [tuple(entry) for entry in good["bus"]])
    device.close()


def test_a_reply_larger_than_its_ring_is_damaged_not_wrong(library):
    """No host asks for one. The device goes on, and nothing it sends in its place passes for a reply."""
    device, good = FastDevice(library, 0), VECTORS["exchange"][0]
    read_65536 = bytes([0x40 | 5, 0x14, 0xFF, 0xFF, 0, 0])
    device.run(hello(5))
    replies, transfers = device.run(checked(read_65536))
    assert len(transfers) == 65_536
    replies += device.run(checked(read_65536))[0]  # again, from the ring
    assert not any(is_undamaged(line) for line in replies.split(b"\0"))
    device.run(hello(good["sequence"]))
    assert device.run(bytes.fromhex(good["line_request"]))[0].hex(" ") == good["line_reply"]
    device.close()


def is_undamaged(line):
    if line and line[0] & 0x80:
        return len(line) == 7 and brief.reply(line) is not None
    frame = _unstuff(line) or b""
    return _is_whole(frame)


def test_parameters_are_those_of_the_golden_bytes():
    assert PARAMETERS["receive_ring_bytes"] > GROUP_BYTES and PARAMETERS["reply_ring_bytes"] - 16 > GROUP_BYTES

# ruff: noqa: E501, PLW2901
"""Writes bus_protocol_v3.toml from docs/bus-protocol.md alone: bit-serial CRCs and a plain COBS, no code of the product.

Run it by hand: `python tests/golden/make_bus_protocol_v3.py > tests/golden/bus_protocol_v3.toml`.
"""

from __future__ import annotations

KINDS = {"read": 0, "write": 1, "modify": 2, "poll": 3}
NONCE = 0x0BADCAFE
INFO = [0x4C550003, 0xCAFEF00D, 50_000_000, 64, 4 | 9 << 16 | 32 << 24, 512, 512, 15]
ERR_WORD, DEAD_WORD, PATTERN = 0x1F0, 0x1F1, 0x1000_0000


def crc16(data: bytes) -> bytes:
    register = 0xFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            carry = (register >> 15) ^ (byte >> bit & 1)
            register = (register << 1 & 0xFFFF) ^ (0x1021 if carry else 0)
    return register.to_bytes(2, "big")


def crc32(data: bytes) -> bytes:
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            carry = (register ^ byte >> bit) & 1
            register = (register >> 1) ^ (0xEDB88320 if carry else 0)
    return (register ^ 0xFFFFFFFF).to_bytes(4, "little")


def line(frame: bytes) -> bytes:
    out = b""
    for number, piece in enumerate(pieces := frame.split(b"\0")):
        while len(piece) >= 254:
            out += b"\xff" + piece[:254]
            piece = piece[254:]
            if not piece and number == len(pieces) - 1:
                return out + b"\0"
        out += bytes([len(piece) + 1]) + piece
    return out + b"\0"


def frame(head: int, body: bytes) -> bytes:
    content = bytes([head]) + (b"\0" if head & 0x40 else b"") + body
    return content + (crc32 if head & 0x40 else crc16)(content)


def brief_request(address: int, sequence: int) -> bytes:
    first = bytes([0x80 | address])
    check = int.from_bytes(crc16(first), "big") ^ 0xC080 ^ sequence
    return first + check.to_bytes(2, "big") + b"\0"


def brief_reply(sequence: int, word: int, status: int = 0) -> bytes:
    check = crc16(bytes([0x80 | sequence]) + le(word) + bytes([status]))
    coded = line(le(word) + check)
    return bytes([0x80 | status << 4 | coded[0]]) + coded[1:]


def le(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def encode(op: dict) -> bytes:
    code = KINDS[op["kind"]] | 4 * op.get("fixed", 0) | 8 * op.get("chain", 0)
    count = len(op["words"]) if "words" in op else op.get("count", 1)
    code |= 16 if count > 1 or op.get("counted") else 0
    wide = op["address_words"] > 0xFFFF or op.get("wide")
    code |= 32 if wide else 0
    body = bytes([code]) + (le(count - 1, 2) if code & 16 else b"") + le(op["address_words"], 3 if wide else 2)
    if op["kind"] == "write":
        body += b"".join(map(le, op["words"]))
    if op["kind"] == "poll":
        body += le(op["timeout_cycles"])
    if op["kind"] in ("modify", "poll"):
        body += le(op["mask"]) + le(op["value"])
    return body


def transfer(address: int, bus: list, word: int | None) -> tuple[int, int]:
    if address >> 9:
        return 1, 0
    bus.append(["r", address, 0] if word is None else ["w", address, word])
    return {ERR_WORD: 1, DEAD_WORD: 2}.get(address, 0), PATTERN | address


def run(ops: list[dict]) -> tuple[list[dict], list, bool]:
    """Results, transfers, and whether the last transfer repeats (a poll that times out)."""
    results, bus, before, repeats = [], [], 0, False
    for op in ops:
        status = before if op.get("chain") else 0
        words = []
        count = len(op["words"]) if "words" in op else op.get("count", 1)
        for index in range(count):
            address = op["address_words"] + (0 if op.get("fixed") else index)
            word = 0
            if not status and op["kind"] == "write":
                status, _ = transfer(address, bus, op["words"][index])
            elif not status:
                status, word = transfer(address, bus, None)
                word = 0 if status else word
            if not status and op["kind"] == "modify":
                status, _ = transfer(address, bus, word & ~op["mask"] & 0xFFFFFFFF | op["value"] & op["mask"])
            if not status and op["kind"] == "poll" and (word ^ op["value"]) & op["mask"]:
                status, repeats = 3, True
            if op["kind"] != "write":
                words.append(word)
        results.append({"status": status, "words": words})
        before = status
    return results, bus, repeats


def reply_body(results: list[dict]) -> bytes:
    return b"".join(b"".join(map(le, r["words"])) + bytes([r["status"]]) for r in results)


def exchange(sequence: int, ops: list[dict], force_long: bool = False) -> dict:
    body = b"".join(map(encode, ops))
    results, bus, repeats = run(ops)
    answer = reply_body(results)
    head = sequence | (0x40 if force_long or max(len(body), len(answer)) > 32 - 3 else 0)
    request, reply = frame(head, body), frame(head, answer)
    return {
        "sequence": sequence, "ops": ops, "long": bool(head & 0x40), "request": request, "reply": reply,
        "line_request": line(request), "line_reply": line(reply), "results": results, "bus": bus, "bus_repeats": repeats,
    }  # fmt: skip


def read(address: int, count: int = 1, **more) -> dict:
    return {"kind": "read", "address_words": address, "count": count, **more}


def write(address: int, words: list[int], **more) -> dict:
    return {"kind": "write", "address_words": address, "words": words, **more}


def modify(address: int, mask: int, value: int, **more) -> dict:
    return {"kind": "modify", "address_words": address, "mask": mask, "value": value, **more}


def poll(address: int, mask: int, value: int, timeout: int, **more) -> dict:
    return {"kind": "poll", "address_words": address, "timeout_cycles": timeout, "mask": mask, "value": value, **more}


EXCHANGES = [
    ("read_one", "18 bytes on the line for both", 1, [read(0)]),
    ("read_one_long", "the same with a CRC-32, as after a sign of damage", 1, [read(0)], True),
    ("nothing", "a frame may be empty; brief requests are taken after it", 1, []),
    ("write_one", "18 bytes for both", 63, [write(0x1FF, [0xDEADBEEF])]),
    ("read_incrementing", "", 7, [read(0x10, 3)]),
    ("read_fixed", "", 62, [read(0x123, 3, fixed=True)]),
    ("write_incrementing", "words are little-endian", 2, [write(0x80, [0x01020304, 0xFFFFFFFF, 0])]),
    ("write_fixed", "", 3, [write(0x81, [1, 2, 3], fixed=True)]),
    ("count_of_one", "the count may be written out", 4, [read(5, counted=True), write(6, [7], counted=True)]),
    ("wide", "a third address byte that is zero", 5, [read(0x42, wide=True), write(0x43, [9], wide=True)]),
    ("modify", "the reply has the old word", 6, [modify(0x20, 0x0000FF00, 0x12345678)]),
    ("poll_at_once", "the first read matches", 8, [poll(0x33, 0xFF, 0x33, 1000)]),
    ("poll_timeout", "the last word read comes with status 3", 9, [poll(0x33, 0xFF, 0x34, 200)]),
    ("poll_one_read", "a timeout of zero still reads once", 10, [poll(0x33, 0xFF, 0x34, 0)]),
    ("batch", "each kind in one frame", 11,
     [read(1), write(2, [3]), modify(4, 0xF, 5), poll(6, 0x7, 6, 50), read(7, 2)]),
    ("fault_goes_on", "an unchained operation runs after a fault", 12, [read(ERR_WORD), read(1)]),
    ("fault_in_the_middle", "zeros from the faulty word on", 13, [read(ERR_WORD - 1, 3), write(2, [1])]),
    ("chain", "skips after a fault, until an operation without it", 14,
     [write(ERR_WORD, [1, 2]), write(3, [3], chain=True), read(4, 2, chain=True), read(5), read(6, chain=True)]),
    ("chain_kinds", "modify and poll are skipped as well", 15,
     [read(DEAD_WORD), modify(1, 1, 1, chain=True), poll(2, 1, 1, 50, chain=True)]),
    ("bus_timeout", "", 16, [write(DEAD_WORD, [1])]),
    ("beyond", "no transfer beyond the address width", 17, [read(0x200), write(0x1FF, [1, 2]), read(0x10000)]),
    ("modify_faults", "nothing is written if the read fails", 18, [modify(ERR_WORD, 1, 1), poll(DEAD_WORD, 1, 1, 50)]),
    ("short_32", "the longest reply with a CRC-16", 19, [read(0x30, 7)]),
    ("long_33", "one byte more", 20, [read(0x30, 7), write(1, [1])]),
    ("no_zero", "COBS pieces of 254 bytes", 21, [write(0x101, [0x01010101 * (1 + i % 9) for i in range(100)])]),
    ("all_zero", "COBS of zeros", 22, [write(0, [0] * 20)]),
    ("hidden_frame", "a payload that looks like a frame on the line", 23,
     [write(0x10, [0x01020700, 0x0000CAFE, 0x01020700, 0x00000000])]),
]  # fmt: skip


def hello(sequence: int) -> tuple[bytes, bytes]:
    head = 0xC0 | sequence
    return frame(head, le(NONCE)), frame(head, le(NONCE) + b"".join(map(le, INFO)))


def nak(expected: int) -> bytes:
    return line(frame(0x80 | expected, b""))


def sessions() -> list[dict]:
    say, told = map(line, hello(9))
    again, told_again = map(line, hello(60))
    ten, eleven = exchange(10, [write(1, [2])]), exchange(11, [read(3, fixed=True, counted=True)])
    damaged = bytearray(ten["line_request"])
    damaged[5] ^= 0x10
    unmarked = bytes([10]) + b"".join(map(encode, [write(1, [1, 2, 3, 4, 5, 6, 7])]))

    control = line(frame(0x80 | 10, encode(write(1, [1]))))
    twelve = exchange(12, [read(5)], force_long=True)

    def brief(address: int, sequence: int, note: str) -> dict:
        word = PATTERN | address
        return step(note, brief_request(address, sequence), brief_reply(sequence, word), [["r", address, 0]])

    def any_word(address: int, sequence: int) -> dict:
        if 0 not in brief_request(address, sequence)[:3]:
            return brief(address, sequence, f"word {address}")
        e = exchange(sequence, [read(address)])
        return step(
            f"word {address} in the ordinary way: a brief request would have a zero in it",
            e["line_request"],
            e["line_reply"],
            e["bus"],
        )

    def step(note: str, send: bytes, receive: bytes = b"", bus: list | None = None, may: bytes = b"") -> dict:
        return {"note": note, "send": send, "receive": receive, "may_receive": may, "bus": bus or []}

    return [
        {
            "name": "no_session",
            "steps": [
                step("a request before any hello is ignored", exchange(0, [write(1, [2])])["line_request"]),
                step("hello", say, told),
                step("the first request after it", ten["line_request"], ten["line_reply"], ten["bus"]),
            ],
        },
        {
            "name": "repetition",
            "steps": [
                step("hello", say, told),
                step("empty frames mean nothing", b"\0\0\0"),
                step("executed", ten["line_request"], ten["line_reply"], ten["bus"]),
                step("repeated: the stored reply, no transfer", b"\0" + ten["line_request"], ten["line_reply"]),
                step("a gap", exchange(13, [write(5, [5])])["line_request"], nak(11)),
                step("never executed in this session", exchange(9, [write(5, [5])])["line_request"], nak(11)),
                step("damaged", bytes(damaged), may=nak(11)),
                step("the next in turn", eleven["line_request"], eleven["line_reply"], eleven["bus"]),
                step("both again", ten["line_request"] + eleven["line_request"],
                     ten["line_reply"] + eleven["line_reply"]),
                step("hello ends the session", again, told_again),
                step("not stored any more", eleven["line_request"], nak(61)),
                step("hello again, byte for byte", b"\0" + again, told_again),
            ],
        },
        {
            "name": "damage",
            "steps": [
                step("hello", b"\x05\x06\x00" + say, told),
                step("less than three bytes", b"\x03\x0a\x01\x00", may=nak(10)),
                step("a piece that ends early", b"\x09\x0a\x01\x00", may=nak(10)),
                step("more than 32 bytes without LONG", line(unmarked + crc16(unmarked)), may=nak(10)),
                step("garbage in front spoils one frame", b"\x33" + ten["line_request"], may=nak(10)),
                step("and the repetition works", b"\0" + ten["line_request"], ten["line_reply"], ten["bus"]),
            ],
        },
        {
            "name": "control",
            "steps": [
                step("hello", say, told),
                step("a head that only a NAK has", control, may=nak(10)),
                step("the first request", ten["line_request"], ten["line_reply"], ten["bus"]),
            ],
        },
        {
            "name": "brief",
            "steps": [
                step("without a session nothing", ten["line_request"] + brief_request(5, 10)),
                step("hello", say, told),
                step("not directly after a frame with LONG", brief_request(5, 10), may=nak(10)),
                step("an ordinary frame", ten["line_request"], ten["line_reply"], ten["bus"]),
                brief(5, 11, "a brief read: 4 + 8 bytes with the zeros behind"),
                brief(0, 12, "and another; the first byte of the reply is a code of 1"),
                step("said again in the ordinary way: the stored reply", twelve["line_request"],
                     brief_reply(12, PATTERN)),
                step("not after that", brief_request(9, 13), may=nak(13)),
                step("empty frames do not change it", b"\0\0\0" + brief_request(9, 13), may=nak(13)),
                step("an empty frame with a check does", line(frame(13, b"")), line(frame(13, b""))),
                brief(127, 14, "the last address"),
                step("the same bytes again: the stored reply", brief_request(127, 14), brief_reply(14, PATTERN | 127)),
                step("a gap", brief_request(1, 16), nak(15)),
                brief(1, 15, "in turn"),
                step("a wrong check", brief_request(1, 16)[:1] + brief_request(2, 16)[1:], may=nak(16)),
                step("after damage not", brief_request(1, 16), may=nak(16)),
                step("an ordinary frame", line(frame(16, b"")), line(frame(16, b""))),
                step("what follows the third byte is damage", brief_request(3, 17)[:3] + b"\x55\x00",
                     brief_reply(17, PATTERN | 3), [["r", 3, 0]], may=brief_reply(17, PATTERN | 3) + nak(18)),
                step("an ordinary frame", line(frame(18, b"")), line(frame(18, b""))),
                step("too short", brief_request(3, 19)[:2] + b"\x00", may=nak(19)),
                step("an ordinary frame", line(frame(19, b"")), line(frame(19, b""))),
                step("an ordinary frame behind it, its zero lost",
                     brief_request(4, 20)[:3] + exchange(21, [write(1, [1])])["line_request"],
                     brief_reply(20, PATTERN | 4), [["r", 4, 0]], may=brief_reply(20, PATTERN | 4) + nak(21)),
            ],
        },
        {
            "name": "brief_everything",
            "steps": [
                step("hello", say, told),
                step("an ordinary frame", line(frame(10, b"")), line(frame(10, b""))),
            ] + [any_word(address, (11 + address) % 64) for address in range(128)],
        },
        {
            "name": "wrap",
            "steps": [step("hello", line(hello(62)[0]), line(hello(62)[1]))]
            + [
                step(f"number {e['sequence']}", e["line_request"], e["line_reply"], e["bus"])
                for e in (exchange(s % 64, [read(s), write(s, [s])]) for s in range(63, 63 + 70))
            ],
        },
    ]  # fmt: skip


def show(value: object) -> str:
    if isinstance(value, bytes):
        return f'"{value.hex(" ")}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {show(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, int):
        return str(value) if value < 1024 else hex(value)
    return f'"{value}"'


def main() -> None:
    print("# Golden bytes of bus protocol version 3 (docs/bus-protocol.md), written by make_bus_protocol_v3.py.")
    print(
        "# `request`, `reply` are decoded frames, `line_...` the bytes on the line. Each exchange follows a hello with the"
    )
    print(
        "# sequence number before its own. `bus` lists the transfers the target sees: read or write, word address, data"
    )
    print(
        "# written; with `bus_repeats` the last one comes any number of times. The target: a read answers 0x10000000 |"
    )
    print(
        "# address; word 0x1f0 answers err, word 0x1f1 never answers, every other answers ack. In a session, `may_receive`"
    )
    print("# is a NAK that may come or not.\n")
    print(
        "[device]\ndivider = 4\nbuild_id = 0xcafef00d\nclk_hz = 50_000_000\nbus_timeout_cycles = 64\naddress_bits = 9"
    )
    print("receive_ring_bytes = 512\nreply_ring_bytes = 512\nwindow = 15\n")
    request, reply = hello(9)
    print(f"[hello]\nsequence = 9\nnonce = {NONCE:#x}\nrequest = {show(request)}\nreply = {show(reply)}")
    print(f"line_request = {show(line(request))}\nline_reply = {show(line(reply))}")
    for name, note, sequence, ops, *force in EXCHANGES:
        print(f"\n[[exchange]]\nname = {show(name)}\nnote = {show(note)}")
        for key, value in exchange(sequence, ops, *force).items():
            if key in ("ops", "results"):
                print(f"{key} = [\n" + "".join(f"  {show(item)},\n" for item in value) + "]")
            else:
                print(f"{key} = {show(value)}")
    for session in sessions():
        print(f"\n[[session]]\nname = {show(session['name'])}\nsteps = [")
        for item in session["steps"]:
            print(f"  {show(item)},")
        print("]")


if __name__ == "__main__":
    main()

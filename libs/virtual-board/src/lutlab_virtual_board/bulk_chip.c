/* -- bitstream: `Decompressor.frame`, `crc16` --------------------------------------------------------------------- */

#define POLYNOMIAL 0x8005

/* A stream of compressed frames, each with its CRC. */
struct stream {
  const b *data; w size, at;
  const b *dictionary;                       /* entry seven first */
  int frame_bytes, dummies;                  /* of a frame, and after it */
  u crc;                                     /* of what comes before the next frame */
  b *out;
};

/* Expand frames until one is damaged or cut short; how many were well. */
int bulk_frames(struct stream *s, int count) {
  unsigned short table[256];
  int done, i, k;
  for (i = 0; i < 256; i++) {
    u crc = i << 8;
    for (k = 0; k < 8; k++) crc = crc & 0x8000 ? crc << 1 ^ POLYNOMIAL : crc << 1;
    table[i] = crc;
  }
  for (done = 0; done < count; done++) {
    const b *first = s->data + s->at;
    w most = (s->size - s->at) * 8, bit = 0, end, at;
    b *out = s->out + (w)done * s->frame_bytes;
    u crc = s->crc;
    for (i = 0; i < s->frame_bytes; i++) {
      u window;
      if (bit + 16 > most) return done;
      window = (first[bit >> 3] << 16 | first[(bit >> 3) + 1] << 8 | (bit + 24 <= most ? first[(bit >> 3) + 2] : 0));
      window = window << (bit & 7) & 0xffffff;
      if (!(window >> 23)) { out[i] = 0; bit += 1; }
      else if (window >> 22 & 1) { out[i] = window >> 14; bit += 10; }
      else { out[i] = window >> 21 & 1 ? s->dictionary[7 - (window >> 18 & 7)] : 1 << (window >> 18 & 7); bit += 6; }
    }
    end = (bit + 7) / 8;
    if ((end + 2 + s->dummies) * 8 > most) return done;
    for (at = 0; at < end; at++) crc = (crc << 8 & 0xff00) ^ table[crc >> 8 ^ first[at]];
    if ((first[end] << 8 | first[end + 1]) != (int)crc) return done;
    crc = 0;
    for (at = end + 2; at < end + 2 + s->dummies; at++) crc = (crc << 8 & 0xff00) ^ table[crc >> 8 ^ first[at]];
    s->crc = crc;
    s->at += at;
  }
  return done;
}

/* -- configuration: `TileKind.read` ------------------------------------------------------------------------------ */

extern void *calloc(w, w);
extern void *realloc(void *, w);
extern void free(void *);

/* A table from numbers other than zero to integers. */
struct map { w *key; int *value; w mask, used; };

static w place_in(const struct map *m, w key) {
  w slot = key * 0x9e3779b97f4a7c15UL >> 32 & m->mask;
  while (m->key[slot] && m->key[slot] != key) slot = (slot + 1) & m->mask;
  return slot;
}

static void map_make(struct map *m, w size) {
  m->mask = size - 1;
  m->used = 0;
  m->key = calloc(size, sizeof *m->key);
  m->value = calloc(size, sizeof *m->value);
}

static void map_free(struct map *m) { free(m->key); free(m->value); }

static int map_get(const struct map *m, w key, int missing) {
  w slot = place_in(m, key);
  return m->key[slot] ? m->value[slot] : missing;
}

static void map_put(struct map *m, w key, int value) {
  w slot;
  if (4 * m->used > 3 * m->mask) {
    struct map larger;
    map_make(&larger, 2 * (m->mask + 1));
    for (slot = 0; slot <= m->mask; slot++) if (m->key[slot]) map_put(&larger, m->key[slot], m->value[slot]);
    map_free(m);
    *m = larger;
  }
  slot = place_in(m, key);
  if (!m->key[slot]) { m->key[slot] = key; m->used++; }
  m->value[slot] = value;
}

#define ROWS_MAX 128
#define PLACES 65536
#define PLACE_MASK (PLACES - 1)
#define CLEARED (-4)                         /* a wire whose driver was taken away */
#define UNKNOWN_ROW 0xffff                   /* of kinds of tiles that are left to the caller */
enum { MUX, CHOICE, WORD };
/* What a setting's bits say: nothing, an arc (whose ends may exist once on the chip), or something by number; and
   whether that makes a slice a carry cell. */
enum { SAYS_NOTHING = 0, SAYS_ARC = 1, SAYS = 2, SINK_ONCE = 4, SOURCE_ONCE = 8, CARRY = 16 };

struct setting { int kind, first_row, rows, always, first_lane, lanes, initial, field; };
struct row { int frame, mask, shift; };
struct entry { int says, first, second; w left, explained; }; /* bits that it does not explain, and that it does */
struct tile { int kind, place, frame, frames, bit, bits; };

/* Fields of what is said of slices at a place, see `bulk_chip.FIELDS`: of each LUT, slice, register, or line. */
enum { INIT = 0, MODE = 8, TIED = 12, INJECT = 52, PRELOAD = 60, STARTS_LOW = 68, DIRECT = 76, ENABLE = 84, LOCAL = 88,
       CLOCK_INVERTED = 92, RESET_INVERTED = 94, ASYNCHRONOUS = 96 };
enum { LOGIC, CCU2 };                        /* modes of slices; others are the caller's */
enum { ENABLE_NET, ENABLE_ZERO, ENABLE_ONE, ENABLE_INVERTED };

/* What is said of a chip; the caller owns what is const. */
struct chip {
  const struct setting *settings; const struct row *rows;
  const struct row *lanes;                   /* `shift`: what it must be */
  const int *kind_first;                     /* of each kind its first setting */
  const unsigned short *kind_rows;           /* of each kind the bits that some setting knows, ROWS_MAX a kind, */
  const unsigned short *word_rows;           /* and those that words know */
  const struct tile *tiles;
  const b *frames; int frame_stride;
  struct entry *entries; int entry_count, entry_max;
  int *said, said_count, said_max, *said_first; b *state; /* by tile: 0 clear, 1 set, 2 with bits to explain */
  unsigned short left[ROWS_MAX], found[ROWS_MAX]; /* bits of the tile that are to be explained, and that are */
  int tile, setting; w value;                /* where it goes on, and what is not known there */
  int *carry, carry_count, carry_max;        /* arcs that are bits of carry cells, and by LUT where these end */
  const int *carry_sinks;
  unsigned short *records; int record_count, record_max, fields; const unsigned short *erased;
  int *record_of;                            /* by place, -1 where there is none */
  struct map links, known;                   /* of wires; of settings and their bits */
  struct map tile_steps, column_steps, wire_steps;
  const int *set_of;                         /* by place: a number for the kinds of tiles that are there, or 0 */
  int circle;                                /* a wire that is routed in a circle */
  int (*step)(int wire);
};

void bulk_chip_make(struct chip *c) {
  memset(c->record_of, 0xff, PLACES * sizeof(int));
  map_make(&c->links, 1 << 18);
  map_make(&c->known, 1 << 12);
  map_make(&c->tile_steps, 1 << 10);
  map_make(&c->column_steps, 1 << 10);
  map_make(&c->wire_steps, 1 << 10);
}

void bulk_chip_free(struct chip *c) {
  free(c->entries); free(c->said); free(c->carry); free(c->records);
  map_free(&c->links); map_free(&c->known);
  map_free(&c->tile_steps); map_free(&c->column_steps); map_free(&c->wire_steps);
}

/* Room for one more in an array. */
static void *room(void *array, int count, int *most, w size) {
  if (count < *most) return array;
  *most = 2 * *most + 64;
  return realloc(array, *most * size);
}

static unsigned short *record_at(struct chip *c, int place) {
  int i, at = c->record_of[place];
  if (at < 0) {
    c->records = room(c->records, c->record_count, &c->record_max, c->fields * sizeof *c->records);
    at = c->record_of[place] = c->record_count++;
    for (i = 0; i < c->fields; i++) c->records[at * c->fields + i] = c->erased[i];
  }
  return c->records + at * c->fields;
}

static void say(struct chip *c, int setting, int what) {
  c->said = room(c->said, c->said_count + 1, &c->said_max, sizeof *c->said);
  c->said[c->said_count++] = setting;
  c->said[c->said_count++] = what;
}

/* What the bits `value` of a setting say; the number of this knowledge. */
int bulk_learn(struct chip *c, int setting, w value, int says, int first, int second, w left, w explained) {
  struct entry *e;
  c->entries = room(c->entries, c->entry_count, &c->entry_max, sizeof *c->entries);
  e = c->entries + c->entry_count;
  e->says = says;
  e->first = first;
  e->second = second;
  e->left = left;
  e->explained = explained;
  map_put(&c->known, value << 16 | (setting + 1), c->entry_count);
  return c->entry_count++;
}

/* A carry cell's arc into F0 to F7 is really a bit of the cell. */
static void take_carry(struct chip *c, int sink) {
  w slot = place_in(&c->links, sink);
  if (!c->links.key[slot] || c->links.value[slot] == CLEARED) return;
  c->carry = room(c->carry, c->carry_count + 1, &c->carry_max, sizeof *c->carry);
  c->carry[c->carry_count++] = sink;
  c->carry[c->carry_count++] = c->links.value[slot];
  c->links.value[slot] = CLEARED;
}

static void follow(struct chip *c, int number, int setting, int place) {
  struct entry *e = c->entries + number;
  if (e->says & SAYS_ARC) {
    int sink = e->first + (e->says & SINK_ONCE ? 0 : place);
    map_put(&c->links, sink, e->second + (e->says & SOURCE_ONCE ? 0 : place));
  } else if (e->says & SAYS) {
    say(c, setting, number);
    if (e->first >= 0) record_at(c, place)[e->first] = e->second;
    if (e->says & CARRY) {
      take_carry(c, c->carry_sinks[2 * (e->first - MODE)] + place);
      take_carry(c, c->carry_sinks[2 * (e->first - MODE) + 1] + place);
    }
  }
}

/* Which tiles are not clear. */
void bulk_scan(struct chip *c, int tiles) {
  int k, i;
  for (k = 0; k < tiles; k++) {
    const struct tile *t = c->tiles + k;
    for (i = 0; i < t->frames && t->bits && !c->state[k]; i++) {
      const b *at = c->frames + (w)(t->frame + i) * c->frame_stride + (t->bit >> 3);
      c->state[k] = ((at[0] | at[1] << 8 | at[2] << 16) >> (t->bit & 7) & ((1 << t->bits) - 1)) != 0;
    }
  }
}

/* Read tiles: 0 at the end of all, 1 where something is to be learnt, 2 where the caller reads one itself. */
int bulk_decode(struct chip *c, int tiles) {
  unsigned short rows[ROWS_MAX], *left = c->left, *found = c->found;
  int i, k;
  for (; c->tile < tiles; c->tile++, c->setting = -1) {
    const struct tile *t = c->tiles + c->tile;
    int mask = (1 << t->bits) - 1, last = c->kind_first[t->kind + 1];
    const unsigned short *explained = c->kind_rows + t->kind * ROWS_MAX;
    if (!c->state[c->tile]) { c->said_first[c->tile] = c->said_count; continue; }
    for (i = 0; i < t->frames; i++) {
      const b *at = c->frames + (w)(t->frame + i) * c->frame_stride + (t->bit >> 3);
      rows[i] = (at[0] | at[1] << 8 | at[2] << 16) >> (t->bit & 7) & mask;
    }
    if (c->setting < 0) {
      c->said_first[c->tile] = c->said_count;
      c->setting = c->kind_first[t->kind];
      if (explained[0] == UNKNOWN_ROW) { c->setting = last; memset(left, 0, sizeof c->left); return 2; }
      for (i = 0; i < t->frames; i++) { left[i] = rows[i] & ~explained[i]; found[i] = 0; }
    }
    for (; c->setting < last; c->setting++) {
      const struct setting *s = c->settings + c->setting;
      const struct row *r = c->rows + s->first_row;
      w value = 0;
      for (k = 0; k < s->rows; k++) value |= (w)(rows[r[k].frame] & r[k].mask) << r[k].shift;
      if (!value && !s->always) continue;
      if (s->kind == WORD) {
        const struct row *lane = c->lanes + s->first_lane;
        int number = 0;
        for (k = 0; k < s->lanes; k++)
          if (lane[k].mask && !(rows[lane[k].frame] & lane[k].mask) == !lane[k].shift) number |= 1 << k;
        if (number == s->initial) continue;
        say(c, c->setting, number);
        if (s->field >= 0) record_at(c, t->place)[s->field] = number;
        continue;
      }
      k = map_get(&c->known, value << 16 | (c->setting + 1), -1);
      if (k < 0) { c->value = value; return 1; }
      follow(c, k, c->setting, t->place);
      for (i = 0; i < s->rows; i++) {
        left[r[i].frame] |= c->entries[k].left >> r[i].shift & r[i].mask;
        found[r[i].frame] |= c->entries[k].explained >> r[i].shift & r[i].mask;
      }
    }
    /* Settings may share bits: of those that one does not explain, those count that no other one does. */
    for (i = 0; i < t->frames; i++)
      if (left[i] & ~found[i] & ~c->word_rows[t->kind * ROWS_MAX + i]) c->state[c->tile] = 2;
  }
  c->said_first[c->tile] = c->said_count;
  return 0;
}

void bulk_set_link(struct chip *c, int sink, int source) { map_put(&c->links, sink, source); }

/* Every link: pairs of sink and source; how many. */
int bulk_links(const struct chip *c, int *pairs) {
  w slot;
  int n = 0;
  for (slot = 0; slot <= c->links.mask; slot++) if (c->links.key[slot] && c->links.value[slot] != CLEARED) {
    pairs[2 * n] = c->links.key[slot];
    pairs[2 * n++ + 1] = c->links.value[slot];
  }
  return n;
}

/* -- routing: `Routing.source_key` ------------------------------------------------------------------------------- */

enum { FLOATING = -1, TIED_LOW = -2, TIED_HIGH = -3, FAILED_STEP = -9, CIRCLE = -10 };
#define PATH_WIRES_MAX 400

int bulk_link(struct chip *c, int sink) { return map_get(&c->links, sink, CLEARED); }

/* What the caller has found out about a step towards a driver: where the same kinds of tiles are (0), in a column (1),
   or of one wire. */
void bulk_know_step(struct chip *c, int wire, int driver, int scope) {
  int place = wire & PLACE_MASK;
  if (scope == 0) map_put(&c->tile_steps, (w)c->set_of[place] << 32 | (wire - place), driver - place);
  else if (scope == 1) map_put(&c->column_steps, wire & ~0xff00, driver - (place & 0xff00));
  else map_put(&c->wire_steps, wire, driver);
}

/* The cell output at the other end of a wire, or what is there instead; FAILED_STEP or CIRCLE on failure. */
int bulk_source(struct chip *c, int sink) {
  int hops, wire = sink;
  for (hops = 0; hops < PATH_WIRES_MAX; hops++) {
    int driver = map_get(&c->links, wire, CLEARED);
    if (driver == CLEARED) {
      int place = wire & PLACE_MASK;
      w slot = place_in(&c->tile_steps, (w)c->set_of[place] << 32 | (wire - place));
      if (c->tile_steps.key[slot]) driver = c->tile_steps.value[slot] + place;
      else if (c->column_steps.key[slot = place_in(&c->column_steps, wire & ~0xff00)])
        driver = c->column_steps.value[slot] + (place & 0xff00);
      else if (c->wire_steps.key[slot = place_in(&c->wire_steps, wire)]) driver = c->wire_steps.value[slot];
      else driver = c->step(wire);
      if (driver == wire || driver < 0) return driver;
    }
    wire = driver;
  }
  c->circle = sink;
  return CIRCLE;
}

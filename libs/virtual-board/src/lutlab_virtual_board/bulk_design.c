/* -- extraction: `Context`, `cells.slices` ----------------------------------------------------------------------- */

enum { BUFFER = 2, INVERT = 1, AND = 8, OR = 14, XOR = 6, SELECT = 0xca };
enum { NET_OTHER, NET_LUT, NET_REGISTER, NET_MUX5, NET_MUX6, NET_CARRY }; /* what a wire's name says of its cell */

/* Numbers of wires' names at a place, times 65536. */
struct names {
  int pin[8][5], lut[8], low[4], high[4], carry_in[8], carry_out[8], data[8], enable[4], clock[4], reset[4];
  int clock_line[2], reset_line[2];
};

struct design {
  struct chip *chip;
  const struct names *names;
  const b *cell, *index; int name_count;     /* by number of a name: which cell, and which of those */
  struct graph graph; int nets_max, inputs_count, inputs_max;
  b *driven; int *wire;                      /* by net; the wire it was met at, or 0 */
  struct map nets, clocks; w *carried;
  int *slots; int slot_mask, functions;
  int *pending, pending_count, pending_max;  /* wires and nets */
  int *registers, register_count, register_max; /* d, enable, reset, start, falling, clock, force, wire */
  int chip_reset;                            /* net, -1 without, -2 not known yet */
  int failed;                                /* what went wrong */
  int (*expand)(int wire, int net), (*clock)(int wire, int line), (*find_chip_reset)(void);
};

#define REGISTER_WORDS 8
enum { UNKNOWN_RESET = -2 };

static void grow(struct design *d) {
  struct graph *g = &d->graph;
  int most = 2 * d->nets_max + 4096;
  g->table = realloc(g->table, most * sizeof *g->table);
  g->kind = realloc(g->kind, most);
  g->count = realloc(g->count, most);
  g->first = realloc(g->first, most * sizeof *g->first);
  d->driven = realloc(d->driven, most);
  d->wire = realloc(d->wire, most * sizeof *d->wire);
  d->nets_max = most;
}

/* A net that has no driver yet. */
int bulk_new_net(struct design *d) {
  struct graph *g = &d->graph;
  int net = g->nets++;
  if (net >= d->nets_max) grow(d);
  g->table[net] = 0;
  g->kind[net] = OTHER;
  g->count[net] = 0;
  g->first[net] = d->inputs_count;
  d->driven[net] = 0;
  d->wire[net] = 0;
  return net;
}

void bulk_drive(struct design *d, int net, w table, const int *inputs, int count) {
  struct graph *g = &d->graph;
  int i;
  if (d->inputs_count + count > d->inputs_max) {
    d->inputs_max = 2 * d->inputs_max + 4096;
    g->inputs = realloc(g->inputs, d->inputs_max * sizeof *g->inputs);
  }
  g->kind[net] = FUNCTION;
  g->table[net] = table;
  g->count[net] = count;
  g->first[net] = d->inputs_count;
  for (i = 0; i < count; i++) g->inputs[d->inputs_count++] = inputs[i];
  d->driven[net] = 1;
}

void bulk_drive_register(struct design *d, int net, int index) {
  d->graph.kind[net] = REGISTER;
  d->graph.table[net] = index;
  d->driven[net] = 1;
}

/* A net whose driver the caller keeps. */
void bulk_drive_other(struct design *d, int net) { d->driven[net] = 1; }

/* What such a driver follows without a clock. */
void bulk_sources(struct design *d, int net, const int *inputs, int count) {
  bulk_drive(d, net, 0, inputs, count);
  d->graph.kind[net] = OTHER;
}

int bulk_is_driven(struct design *d, int net) { return d->driven[net]; }

/* `Context.function`: equal ones are shared. */
int bulk_function(struct design *d, w table, const int *inputs, int count) {
  struct graph *g = &d->graph;
  u slot, i;
  int net;
  if (2 * d->functions > d->slot_mask) {
    int *old = d->slots, mask = d->slot_mask;
    d->slot_mask = 2 * mask + 1;
    d->slots = calloc(d->slot_mask + 1, sizeof *d->slots);
    for (i = 0; i <= (u)mask; i++) if ((net = old[i]) != 0) {
      slot = hash_of(g->table[net], g->inputs + g->first[net], g->count[net]) & d->slot_mask;
      while (d->slots[slot]) slot = (slot + 1) & d->slot_mask;
      d->slots[slot] = net;
    }
    free(old);
  }
  slot = hash_of(table, inputs, count) & d->slot_mask;
  for (; (net = d->slots[slot]) != 0; slot = (slot + 1) & d->slot_mask) {
    const int *there = g->inputs + g->first[net];
    if (g->table[net] != table || g->count[net] != count) continue;
    for (i = 0; i < (u)count && there[i] == inputs[i]; i++) ;
    if (i == (u)count) return net;
  }
  net = bulk_new_net(d);
  bulk_drive(d, net, table, inputs, count);
  d->slots[slot] = net;
  d->functions++;
  return net;
}

static int function2(struct design *d, w table, int first, int second) {
  int inputs[2];
  inputs[0] = first;
  inputs[1] = second;
  return bulk_function(d, table, inputs, 2);
}

static int invert(struct design *d, int net) { return net < 2 ? 1 - net : bulk_function(d, INVERT, &net, 1); }

static const unsigned short *settings(const struct chip *c, int place) {
  int at = c->record_of[place];
  return at < 0 ? c->erased : c->records + at * c->fields;
}

/* `Context.net_from`. */
int bulk_net_from(struct design *d, int source) {
  int net;
  if (source < 0) {
    if (source >= TIED_HIGH) return source == TIED_LOW ? 0 : 1;
    if (!d->failed) d->failed = source;
    return 1;
  }
  net = map_get(&d->nets, source, -1);
  if (net >= 0) return net;
  if (source / PLACES < d->name_count && d->cell[source / PLACES] == NET_LUT) {
    /* A LUT without inputs is there for a constant: nextpnr makes zeros that way. */
    const unsigned short *said = settings(d->chip, source & PLACE_MASK);
    int lut = d->index[source / PLACES], init = said[INIT + lut];
    if ((init == 0 || init == 0xffff) && said[MODE + lut / 2] == LOGIC) {
      net = init != 0;
      map_put(&d->nets, source, net);
      return net;
    }
  }
  net = bulk_new_net(d);
  map_put(&d->nets, source, net);
  d->wire[net] = source;
  d->pending = room(d->pending, d->pending_count + 1, &d->pending_max, sizeof *d->pending);
  d->pending[d->pending_count++] = source;
  d->pending[d->pending_count++] = net;
  return net;
}

/* `Context.net_at`. */
int bulk_net_at(struct design *d, int sink) { return bulk_net_from(d, bulk_source(d->chip, sink)); }

static int pin(struct design *d, int at, int lut, int letter) {
  if (settings(d->chip, at)[TIED + 5 * lut + letter]) return 1;
  return bulk_net_at(d, d->names->pin[lut][letter] + at);
}

static void carry_half(struct design *d, int at, int lut) {
  const struct names *n = d->names;
  int inputs[4], i, carry_in, function, total, carry, generate, init;
  int bit = 8 * at + lut;
  if (d->carried[bit / 64] >> bit % 64 & 1) return;
  d->carried[bit / 64] |= 1UL << bit % 64;
  if (lut % 2) {
    carry_half(d, at, lut - 1);
    carry_in = bulk_net_from(d, n->carry_in[lut] + at);
  } else {
    int from = bulk_source(d->chip, n->carry_in[lut] + at);
    carry_in = bulk_net_from(d, from == FLOATING ? n->carry_in[lut] + at : from);
  }
  for (i = 0; i < 4; i++) inputs[i] = pin(d, at, lut, i);
  init = settings(d->chip, at)[INIT + lut];
  function = bulk_function(d, init, inputs, 4);
  total = bulk_net_from(d, n->lut[lut] + at);
  carry = bulk_net_from(d, n->carry_out[lut] + at);
  if (!settings(d->chip, at)[INJECT + lut]) {
    bulk_drive(d, total, BUFFER, &function, 1);
    inputs[0] = function;
    inputs[1] = carry_in;
    bulk_drive(d, carry, AND, inputs, 2);
  } else {
    generate = function2(d, init & 15, inputs[0], inputs[1]);
    inputs[0] = function;
    inputs[1] = carry_in;
    bulk_drive(d, total, XOR, inputs, 2);
    inputs[0] = generate;
    inputs[1] = carry_in;
    inputs[2] = function;
    bulk_drive(d, carry, SELECT, inputs, 3);
  }
}

/* Whether a LUT's output was of a kind that is known here. */
static int expand_lut(struct design *d, int source, int net) {
  int at = source & PLACE_MASK, lut = d->index[source / PLACES], inputs[4], i;
  int mode = settings(d->chip, at)[MODE + lut / 2];
  if (mode == LOGIC) {
    for (i = 0; i < 4; i++) inputs[i] = pin(d, at, lut, i);
    bulk_drive(d, net, settings(d->chip, at)[INIT + lut], inputs, 4);
  } else if (mode == CCU2) {
    carry_half(d, at, lut);
  } else {
    return 0;
  }
  return 1;
}

static void expand_mux(struct design *d, int at, int net, int low, int high, int lut) {
  int inputs[3];
  inputs[0] = bulk_net_at(d, low + at);
  inputs[1] = bulk_net_at(d, high + at);
  inputs[2] = pin(d, at, lut, 4);
  bulk_drive(d, net, SELECT, inputs, 3);
}

/* Whether a carry came from a carry cell. */
static int expand_carry(struct design *d, int at, int slice) {
  if (settings(d->chip, at)[MODE + slice] != CCU2) return 0;
  carry_half(d, at, 2 * slice + 1);
  return 1;
}

int bulk_add_register(struct design *d, const int *words) {
  int i;
  int first = REGISTER_WORDS * d->register_count;
  d->registers = room(d->registers, first + REGISTER_WORDS, &d->register_max, sizeof *d->registers);
  for (i = 0; i < REGISTER_WORDS; i++) d->registers[first + i] = words[i];
  return d->register_count++;
}

/* Whether a register was of a kind that is known here. */
static int expand_register(struct design *d, int source, int net) {
  const struct names *n = d->names;
  int at = source & PLACE_MASK, index = d->index[source / PLACES], force = 0, number, inputs[3];
  const unsigned short *said = settings(d->chip, at);
  int clock_line = bulk_link(d->chip, n->clock[index / 2] + at);
  int reset_line = bulk_link(d->chip, n->reset[index / 2] + at);
  int words[REGISTER_WORDS], value = !said[STARTS_LOW + index];
  if (said[PRELOAD + index] || clock_line == CLEARED) return 0;
  words[0] = said[DIRECT + index] ? pin(d, at, index, 4) : bulk_net_at(d, n->data[index] + at);
  words[2] = 0;
  if (reset_line != CLEARED) {
    int from = bulk_source(d->chip, reset_line), which = -1, i;
    if (from == FLOATING) return 0;
    words[2] = bulk_net_from(d, from);
    for (i = 0; i < 2; i++) if (reset_line - at == n->reset_line[i]) which = i;
    if (which >= 0 && said[RESET_INVERTED + which]) words[2] = invert(d, words[2]);
    if (which >= 0 && said[ASYNCHRONOUS + which]) force = words[2];
  }
  {
    int from = bulk_source(d->chip, clock_line), i;
    words[5] = from < 0 ? -1 : map_get(&d->clocks, from, -1);
    if (words[5] < 0) {
      words[5] = d->clock(source, clock_line);
      if (words[5] < 0) { d->failed = FAILED_STEP; return 1; }
      map_put(&d->clocks, from, words[5]);
    }
    words[4] = 0;
    for (i = 0; i < 2; i++) if (clock_line - at == n->clock_line[i]) words[4] = said[CLOCK_INVERTED + i];
  }
  switch (said[ENABLE + index / 2]) {
    case ENABLE_ZERO: words[1] = 0; break;
    case ENABLE_ONE: words[1] = 1; break;
    default:
      words[1] = bulk_net_at(d, n->enable[index / 2] + at);
      if (said[ENABLE + index / 2] == ENABLE_INVERTED) words[1] = invert(d, words[1]);
  }
  words[3] = value;
  words[6] = 0;
  words[7] = source;
  number = bulk_add_register(d, words);
  if (!said[LOCAL + index / 2]) {
    if (d->chip_reset == UNKNOWN_RESET) {
      d->chip_reset = d->find_chip_reset();
      if (d->chip_reset == FAILED_STEP) { d->failed = FAILED_STEP; return 1; }
    }
    if (d->chip_reset >= 0) {
      d->registers[REGISTER_WORDS * number + 2] = function2(d, OR, words[2], d->chip_reset);
      force = function2(d, OR, force, d->chip_reset);
    }
  }
  d->registers[REGISTER_WORDS * number + 6] = force;
  if (force == 0) { bulk_drive_register(d, net, number); return 1; }
  inputs[0] = bulk_new_net(d);
  bulk_drive_register(d, inputs[0], number);
  inputs[1] = value;
  inputs[2] = force;
  bulk_drive(d, net, SELECT, inputs, 3);
  return 1;
}

/* Expand cells until no net is without a driver; 0, or what went wrong. */
int bulk_extract(struct design *d) {
  while (d->pending_count && !d->failed) {
    int net = d->pending[--d->pending_count], source = d->pending[--d->pending_count];
    int at = source & PLACE_MASK, done = 0, index;
    const struct names *n = d->names;
    if (d->driven[net]) continue;
    if (source / PLACES < d->name_count) {
      index = d->index[source / PLACES];
      done = 1;
      switch (d->cell[source / PLACES]) {
        case NET_LUT: done = expand_lut(d, source, net); break;
        case NET_REGISTER: done = expand_register(d, source, net); break;
        case NET_MUX5: expand_mux(d, at, net, n->lut[2 * index], n->lut[2 * index + 1], 2 * index); break;
        case NET_MUX6: expand_mux(d, at, net, n->low[index], n->high[index], 2 * index + 1); break;
        case NET_CARRY: done = expand_carry(d, at, index); break;
        default: done = 0;
      }
    }
    if (!done && d->expand(source, net)) d->failed = FAILED_STEP;
  }
  return d->failed;
}

void bulk_design_make(struct design *d) {
  d->slot_mask = 4095;
  d->slots = calloc(d->slot_mask + 1, sizeof *d->slots);
  map_make(&d->nets, 1 << 12);
  map_make(&d->clocks, 1 << 6);
  d->carried = calloc(PLACES * 8 / 64, sizeof *d->carried);
  d->chip_reset = UNKNOWN_RESET;
}

void bulk_design_free(struct design *d) {
  struct graph *g = &d->graph;
  free(g->table); free(g->kind); free(g->count); free(g->first); free(g->inputs);
  free(d->driven); free(d->wire); free(d->slots); free(d->pending); free(d->registers); free(d->carried);
  map_free(&d->nets);
  map_free(&d->clocks);
}

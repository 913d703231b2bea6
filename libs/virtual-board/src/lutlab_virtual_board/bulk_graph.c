/* The bulk of a translation, where a chip has hundreds of thousands of wires, nets and functions.

   Everything here does what a Python function beside it does, which says why; see `bulk.py`, `bulk_chip.py`
   and `bulk_design.py`. No C library header: the compilers of the designs compile it. */

typedef unsigned long w;
typedef unsigned u;
typedef unsigned char b;
extern void *memset(void *, int, w);
extern void *memcpy(void *, const void *, w);

#define INPUTS_MAX 6
enum { FUNCTION, REGISTER, OTHER };          /* kinds of nets' drivers; of a register `table` is its index */
enum { FAILED = -1, LOOPS = -2 };            /* what functions return instead of a net */
enum { WAIT_REGISTER, WAIT_OTHER };          /* kinds of state that waits to be copied; the others are the caller's */

/* A netlist: of each net the kind of its driver, its truth table, and what it follows without a clock. */
struct graph { int nets; w *table; b *kind, *count; int *first, *inputs; };

/* -- functions -------------------------------------------------------------------------------------------------- */

static const w low_half[INPUTS_MAX] = {
  0x5555555555555555UL, 0x3333333333333333UL, 0x0f0f0f0f0f0f0f0fUL, 0x00ff00ff00ff00ffUL, 0x0000ffff0000ffffUL,
  0x00000000ffffffffUL };

static w all_rows(int count) { return count == INPUTS_MAX ? ~0UL : (1UL << (1 << count)) - 1; }

/* The cofactor of a table where one input is zero. */
static w without(w table, int count, int position) {
  int row, rows = 1 << (count - 1), block = 1 << position;
  w low = 0;
  if (position == count - 1) return table & all_rows(position);
  for (row = 0; row < rows; row += block)
    low |= (table >> (2 * row) & ((1UL << block) - 1)) << row;
  return low;
}

/* `reduce_function`: the table and inputs that remain, lowest net first; `behind` inverters are other nets. */
static int reduce(w *table, int *inputs, int count, const int *behind) {
  int kept[INPUTS_MAX], code[INPUTS_MAX], inverted[INPUTS_MAX], n = 0, i, j, rows;
  unsigned char old[1 << INPUTS_MAX];
  int move[INPUTS_MAX], base = 0;
  w fresh = 0;
  for (i = 0; i < count; i++) {
    int net = inputs[i], source = behind[net] >= 0 ? behind[net] : net;
    inverted[i] = source != net;
    code[i] = source;
    if (source < 2) continue;
    for (j = 0; j < n && kept[j] < source; j++) ;
    if (j < n && kept[j] == source) continue;
    { int k; for (k = n++; k > j; k--) kept[k] = kept[k - 1]; }
    kept[j] = source;
  }
  for (j = 0; j < n; j++) move[j] = 0;
  for (i = 0; i < count; i++) {
    if (code[i] < 2) { base |= code[i] << i; continue; }
    base |= inverted[i] << i;
    for (j = 0; kept[j] != code[i]; j++) ;
    move[j] |= 1 << i;
  }
  old[0] = base;
  fresh = *table >> base & 1;
  for (j = 0; j < n; j++) {
    rows = 1 << j;
    for (i = 0; i < rows; i++) {
      old[rows + i] = old[i] ^ move[j];
      fresh |= (*table >> old[rows + i] & 1) << (rows + i);
    }
  }
  for (j = 0; j < n; ) {
    if (((fresh >> (1 << j)) ^ fresh) & low_half[j] & all_rows(n)) { j++; continue; }
    fresh = without(fresh, n, j);
    n--;
    for (i = j; i < n; i++) kept[i] = kept[i + 1];
  }
  for (j = 0; j < n; j++) inputs[j] = kept[j];
  *table = fresh;
  return n;
}

static u hash_of(w table, const int *inputs, int count) {
  w hash = table * 0x9e3779b97f4a7c15UL + count;
  int i;
  for (i = 0; i < count; i++) hash = (hash ^ inputs[i] ^ hash >> 29) * 0x9e3779b97f4a7c15UL;
  return hash >> 32;
}

/* -- simplification: `_Simplifier` ------------------------------------------------------------------------------- */

struct simplifier {
  struct graph old, new;
  int *map, *behind;                         /* by old nets, by new nets; -1 where there is none */
  int *table, table_mask;                    /* new functions by their hash */
  int *stack; b *opened;
  int *registers, register_count;            /* of each old register d, enable, reset, clock, force */
  int *register_net, *copied;                /* its new output; of each new register its old number and new nets */
  int *waiting, waiting_count;               /* state to be copied: kind and index */
  b *clock_seen;
  int (*copy)(int net);                      /* copies a driver that is neither function nor register */
  int clock_kind;
};

/* A new net, of a driver that the caller keeps. */
int bulk_net(struct simplifier *s) {
  struct graph *g = &s->new;
  int net = g->nets++;
  g->kind[net] = OTHER;
  g->count[net] = 0;
  g->first[net + 1] = g->first[net];
  s->behind[net] = -1;
  return net;
}

static int add_function(struct simplifier *s, w table, int *inputs, int count) {
  struct graph *g = &s->new;
  u slot;
  int net, i;
  count = reduce(&table, inputs, count, s->behind);
  if (count == 0) return table & 1;
  if (count == 1 && table == 2) return inputs[0];
  slot = hash_of(table, inputs, count) & s->table_mask;
  for (; (net = s->table[slot]) != 0; slot = (slot + 1) & s->table_mask) {
    int *there = g->inputs + g->first[net];
    if (g->table[net] != table || g->count[net] != count) continue;
    for (i = 0; i < count && there[i] == inputs[i]; i++) ;
    if (i == count) return net;
  }
  net = s->table[slot] = bulk_net(s);
  g->kind[net] = FUNCTION;
  g->table[net] = table;
  g->count[net] = count;
  for (i = 0; i < count; i++) g->inputs[g->first[net] + i] = inputs[i];
  g->first[net + 1] = g->first[net] + count;
  if (count == 1) s->behind[net] = inputs[0];
  return net;
}

void bulk_wait(struct simplifier *s, int kind, int index) {
  s->waiting[2 * s->waiting_count] = kind;
  s->waiting[2 * s->waiting_count++ + 1] = index;
}

void bulk_clock(struct simplifier *s, int number) {
  if (s->clock_seen[number]) return;
  s->clock_seen[number] = 1;
  bulk_wait(s, s->clock_kind, number);
}

static int register_output(struct simplifier *s, int old) {
  int net = s->register_net[old];
  if (net >= 0) return net;
  s->copied[6 * s->register_count] = old;
  bulk_wait(s, WAIT_REGISTER, s->register_count);
  net = s->register_net[old] = bulk_net(s);
  s->new.kind[net] = REGISTER;
  s->new.table[net] = s->register_count++;
  return net;
}

/* `_Simplifier.copy_all`: the new net of an old one. */
int bulk_get(struct simplifier *s, int root) {
  struct graph *g = &s->old;
  int *stack = s->stack, *map = s->map, top = 1, i;
  stack[0] = root;
  while (top) {
    int net = stack[top - 1], count, *sources, fresh;
    if (map[net] >= 0) { top--; continue; }
    count = g->count[net];
    sources = g->inputs + g->first[net];
    if (!s->opened[net]) {
      int waiting = 0;
      for (i = 0; i < count; i++) if (map[sources[i]] < 0) stack[top + waiting++] = sources[i];
      if (waiting) {
        s->opened[net] = 1;
        for (i = 0; i < waiting; i++) if (s->opened[stack[top + i]]) return LOOPS;
        top += waiting;
        continue;
      }
    }
    s->opened[net] = 0;
    if (g->kind[net] == FUNCTION) {
      int inputs[INPUTS_MAX];
      for (i = 0; i < count; i++) inputs[i] = map[sources[i]];
      fresh = add_function(s, g->table[net], inputs, count);
    } else if (g->kind[net] == REGISTER) {
      fresh = register_output(s, g->table[net]);
    } else {
      fresh = s->copy(net);
      if (fresh < 0) return FAILED;
    }
    map[net] = fresh;
    top--;
  }
  return map[root];
}

/* Copy registers that wait until other state is on top: its place in `waiting`, -1 at the end, less on failure. */
int bulk_run(struct simplifier *s) {
  static const int order[] = { 0, 1, 2, 4 };
  while (s->waiting_count) {
    int at = --s->waiting_count, *mine, *old, i;
    if (s->waiting[2 * at] != WAIT_REGISTER) return at;
    mine = s->copied + 6 * s->waiting[2 * at + 1];
    old = s->registers + 5 * mine[0];
    for (i = 0; i < 4; i++) {
      int which = order[i], net;
      /* In this order: the first to ask for a net decides its number. */
      if (i == 3) bulk_clock(s, old[3]);
      net = s->map[old[which]];
      if (net < 0) net = bulk_get(s, old[which]);
      if (net < 0) return net - 10;
      mine[1 + which] = net;
    }
    mine[4] = old[3];
  }
  return -1;
}

/* -- planning: `schedule.plan` ----------------------------------------------------------------------------------- */

/* `combinational_order` of roots; how many nets, or LOOPS. `done` is zero at first, `opened` always. */
int bulk_order(const struct graph *g, const int *roots, int count, int *order, int *stack, b *done, b *opened) {
  int n = 0, k, i;
  for (k = 0; k < count; k++) {
    int top = 1;
    stack[0] = roots[k];
    while (top) {
      int net = stack[top - 1];
      if (done[net]) { top--; continue; }
      if (!opened[net]) {
        int waiting = 0, inputs = g->count[net], *sources = g->inputs + g->first[net];
        for (i = 0; i < inputs; i++) if (!done[sources[i]]) stack[top + waiting++] = sources[i];
        if (waiting) {
          opened[net] = 1;
          for (i = 0; i < waiting; i++) if (opened[stack[top + i]]) return LOOPS;
          top += waiting;
          continue;
        }
      }
      opened[net] = 0;
      done[net] = 1;
      order[n++] = net;
      top--;
    }
  }
  return n;
}

/* Number the truth tables of some nets: of each net its form, of each form one net; how many forms. `slots` is zero. */
int bulk_forms(const struct graph *g, const int *order, int count, int *form, int *example, int *slots, int mask) {
  int n = 0, k, size = 0;
  for (k = 0; k < count; k++) {
    int net = order[k], found;
    u slot;
    if (g->kind[net] != FUNCTION) { form[net] = -1; continue; }
    size = g->count[net];
    for (slot = hash_of(g->table[net], &size, 1) & mask; (found = slots[slot]) != 0; slot = (slot + 1) & mask)
      if (g->table[example[found - 1]] == g->table[net] && g->count[example[found - 1]] == size) break;
    if (!found) {
      if (2 * n > mask) return FAILED;
      example[n] = net;
      found = slots[slot] = ++n;
    }
    form[net] = found - 1;
  }
  return n;
}

/* What `schedule._owners` and `_inlined` need besides a netlist. */
struct reading {
  const struct graph *graph;
  int groups; const int *group_first, *group_nets;
  int always_count; const int *always;
  int order_count; const int *order;
  int *owner;                                /* by net, also as claims */
  const int *form, *cost, *use_first, *uses; /* by net; by form: of its expression, of its pairs of input and count */
  int *reads, *net_cost; b *inlined;         /* by net, zero at first */
  int cost_max;
};

enum { ALWAYS = -1, NOBODY = -2 };

static void claim(int *claims, int net, int owner) {
  if (claims[net] == NOBODY) claims[net] = owner;
  else if (claims[net] != owner) claims[net] = ALWAYS;
}

void bulk_owners(struct reading *r) {
  const struct graph *g = r->graph;
  int i, k, *owner = r->owner;
  for (i = 0; i < g->nets; i++) owner[i] = NOBODY;
  for (i = 0; i < r->always_count; i++) owner[r->always[i]] = ALWAYS;
  for (k = 0; k < r->groups; k++)
    for (i = r->group_first[k]; i < r->group_first[k + 1]; i++) claim(owner, r->group_nets[i], k);
  for (k = r->order_count - 1; k >= 0; k--) {
    int net = r->order[k], *sources = g->inputs + g->first[net];
    if (owner[net] == NOBODY) owner[net] = ALWAYS;
    for (i = 0; i < g->count[net]; i++) claim(owner, sources[i], owner[net]);
  }
}

void bulk_inlined(struct reading *r) {
  const struct graph *g = r->graph;
  int i, k, *reads = r->reads;
  for (i = 0; i < r->always_count; i++) reads[r->always[i]] += 2;
  for (i = 0; i < r->group_first[r->groups]; i++) reads[r->group_nets[i]]++;
  for (k = 0; k < r->order_count; k++) {
    int net = r->order[k], form = r->form[net], *sources = g->inputs + g->first[net];
    for (i = 0; form < 0 && i < g->count[net]; i++) reads[sources[i]] += 2;
    for (i = form < 0 ? 0 : r->use_first[form]; form >= 0 && i < r->use_first[form + 1]; i++)
      reads[sources[r->uses[2 * i]]] += r->uses[2 * i + 1];
  }
  for (k = 0; k < r->order_count; k++) {
    int net = r->order[k], *sources = g->inputs + g->first[net], mine;
    if (r->form[net] < 0) continue;
    mine = r->cost[r->form[net]];
    for (i = 0; i < g->count[net]; i++) {
      int source = sources[i];
      if (reads[source] != 1 || g->kind[source] != FUNCTION || r->owner[source] != r->owner[net]) continue;
      if (mine + r->net_cost[source] > r->cost_max) continue;
      r->inlined[source] = 1;
      mine += r->net_cost[source];
    }
    r->net_cost[net] = mine;
  }
  for (k = 0; k < r->groups; k++)
    for (i = r->group_first[k]; i < r->group_first[k + 1]; i++) {
      int net = r->group_nets[i];
      if (reads[net] == 1 && g->kind[net] == FUNCTION && r->owner[net] == k) r->inlined[net] = 1;
    }
}

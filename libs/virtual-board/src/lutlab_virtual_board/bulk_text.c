/* -- text: `Writer.finish` ---------------------------------------------------------------------------------------- */

/* Statements of functions, with tokens `@net@`; and what is found out about them. */
struct writing {
  const b *text; const int *end, *net;       /* of each statement where it ends, and the net it computes or -1 */
  int functions; const int *first, *block;   /* of each function its first statement, and its block's number or -1 */
  int nets;
  const int *group; int group_count, words;  /* of each register its group; words that hold a bit for each block */
  int *defined, *place, *seen;               /* by net: the function that computes it, where it is kept, a mark */
  int *reader_first, *readers;               /* by net: functions that read it */
  w *marks; b *asked;                        /* by group: blocks that read it; by statement: the caller looks at it */
  int field_count;
  b *out; w out_count, out_max;
};

static int is_word(int c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

static int digits(const b **at) {
  int number = 0;
  while (**at >= '0' && **at <= '9') number = 10 * number + *(*at)++ - '0';
  return number;
}

/* Note which nets a function reads: how many functions read each, or, the second time, which ones. -1 where nothing
   computes one. */
static int note_readers(struct writing *t, int function, int again) {
  const b *at = t->text + (t->first[function] ? t->end[t->first[function] - 1] : 0);
  const b *end = t->text + (t->first[function + 1] ? t->end[t->first[function + 1] - 1] : 0);
  int mark = 2 * function + again + 1;
  while (at < end) {
    int net;
    if (*at++ != '@') continue;
    net = digits(&at);
    at++;
    if (net >= t->nets) return -1;
    if (t->seen[net] == mark) continue;
    t->seen[net] = mark;
    if (again) t->readers[t->reader_first[net + 1]++] = function;
    else t->reader_first[net + 2]++;
  }
  return 0;
}

/* `Writer._marks`: which registers a block reads. */
static void note_state(struct writing *t, int function) {
  int k;
  const b *at, *end;
  for (k = t->first[function]; k < t->first[function + 1]; k++) {
    at = t->text + (k ? t->end[k - 1] : 0);
    end = t->text + t->end[k];
    for (; at + 1 < end; at++) {
      const b *number = at + 4;
      int group;
      if (at[0] != 'S' || at[1] != '.') continue;
      if (at + 4 >= end || at[2] != 'q' || at[3] != '[' || (at > t->text && is_word(at[-1]))) { t->asked[k] = 1; break; }
      group = t->group[digits(&number)];
      t->marks[(w)group * t->words + t->block[function] / 64] |= 1UL << t->block[function] % 64;
      at = number - 1;
    }
  }
}

static void put(struct writing *t, const char *text, w size) {
  if (t->out_count + size > t->out_max) {
    t->out_max = 2 * t->out_max + size + 65536;
    t->out = realloc(t->out, t->out_max);
  }
  memcpy(t->out + t->out_count, text, size);
  t->out_count += size;
}

static void put_text(struct writing *t, const char *text) {
  const char *end = text;
  while (*end) end++;
  put(t, text, end - text);
}

static void put_number(struct writing *t, w number, w base) {
  char text[24];
  int at = 24;
  do text[--at] = "0123456789abcdef"[number % base]; while (number /= base);
  put(t, text + at, 24 - at);
}

static void put_place(struct writing *t, int net) {
  put(t, "S.t[", 4);
  put_number(t, t->place[net], 10);
  put(t, "]", 1);
}

static void put_local(struct writing *t, int net) {
  put(t, "v", 1);
  put_number(t, net, 10);
}

/* `_substitute`: a statement, whose nets in `seen` are local variables. */
static void put_statement(struct writing *t, int statement, int mark) {
  const b *at = t->text + (statement ? t->end[statement - 1] : 0), *end = t->text + t->end[statement], *from = at;
  while (at < end) {
    int net;
    if (*at != '@') { at++; continue; }
    put(t, (const char *)from, at++ - from);
    net = digits(&at);
    from = ++at;
    if (t->seen[net] == mark || t->place[net] < 0) put_local(t, net);
    else put_place(t, net);
  }
  put(t, (const char *)from, end - from);
}

/* The next block from `*at` on among a net's readers, other than its own function; -1 at the end. */
static int next_reader(const struct writing *t, int net, int *at) {
  while (*at < t->reader_first[net + 1]) {
    int function = t->readers[(*at)++];
    if (function != t->defined[net] && t->block[function] >= 0) return t->block[function];
  }
  return -1;
}

static int same_readers(const struct writing *t, int a, int c) {
  int at = t->reader_first[a], there = t->reader_first[c], one;
  do {
    one = next_reader(t, a, &at);
    if (one != next_reader(t, c, &there)) return 0;
  } while (one >= 0);
  return 1;
}

#define CHANGES_MAX 1024

/* `_render_block`, and `_render` for what is no block. */
static void put_function(struct writing *t, int function, int mark) {
  int example[CHANGES_MAX], change_of[CHANGES_MAX];
  int first = t->first[function], last = t->first[function + 1], is_block = t->block[function] >= 0, changes = 0, k, i;
  put(t, "static NOINLINE void part", 25);
  put_number(t, function, 10);
  put(t, "(void) {\n", 9);
  for (k = first; is_block && k < last; k++) {
    int net = t->net[k], at;
    change_of[k - first] = -1;
    if (net < 0 || t->place[net] < 0) continue;
    at = t->reader_first[net];
    if (next_reader(t, net, &at) < 0) continue;
    for (i = 0; i < changes && !same_readers(t, example[i], net); i++) ;
    if (i == changes) example[changes++] = net;
    change_of[k - first] = i;
  }
  for (i = 0; i < changes; i++) {
    put_text(t, i ? ", d" : "  u d");
    put_number(t, i, 10);
    put(t, " = 0", 4);
  }
  if (changes) put(t, ";\n", 2);
  for (k = first; k < last; k++) {
    int net = t->net[k], change = is_block ? change_of[k - first] : -1;
    put(t, "  ", 2);
    if (net >= 0) {
      if (t->place[net] < 0 || change >= 0) { put(t, "u ", 2); put_local(t, net); }
      else put_place(t, net);
      put(t, " = ", 3);
    }
    put_statement(t, k, mark);
    put(t, net >= 0 ? ";\n" : "\n", net >= 0 ? 2 : 1);
    if (change < 0) continue;
    t->seen[net] = mark;
    put(t, "  d", 3);
    put_number(t, change, 10);
    put(t, " |= ", 4);
    put_local(t, net);
    put(t, " ^ ", 3);
    put_place(t, net);
    put(t, "; ", 2);
    put_place(t, net);
    put(t, " = ", 3);
    put_local(t, net);
    put(t, ";\n", 2);
  }
  for (i = 0; i < changes; i++) {
    int at = t->reader_first[example[i]], block, word = -1;
    w bits = 0;
    put(t, "  if (d", 7);
    put_number(t, i, 10);
    put(t, ") (", 3);
    do {
      block = next_reader(t, example[i], &at);
      if (block < 0 || block / 64 != word) {
        if (word >= 0) {
          put(t, "S.run[", 6);
          put_number(t, word, 10);
          put(t, "] |= 0x", 7);
          put_number(t, bits, 16);
          put_text(t, block < 0 ? "UL" : "UL, ");
        }
        word = block / 64;
        bits = 0;
      }
      if (block >= 0) bits |= 1UL << block % 64;
    } while (block >= 0);
    put(t, ");\n", 3);
  }
  put(t, "}\n", 2);
}

/* Find out who reads what, and write every function; -1 where one is too long, or reads what nothing computes. */
int bulk_write(struct writing *t) {
  int k, i, net;
  for (net = 0; net < t->nets; net++) t->defined[net] = t->place[net] = -1;
  for (k = 0; k < t->functions; k++) {
    if (t->block[k] >= 0 && t->first[k + 1] - t->first[k] > CHANGES_MAX) return -1;
    for (i = t->first[k]; i < t->first[k + 1]; i++) if (t->net[i] >= 0) t->defined[t->net[i]] = k;
    if (note_readers(t, k, 0)) return -1;
    if (t->block[k] >= 0) note_state(t, k);
  }
  /* Counts become where each net's readers begin; filling them in moves that to where they end. */
  for (net = 0; net < t->nets; net++) t->reader_first[net + 2] += t->reader_first[net + 1];
  t->readers = calloc(t->reader_first[t->nets + 1] + 1, sizeof *t->readers);
  for (k = 0; k < t->functions; k++) note_readers(t, k, 1);
  for (net = 0; net < t->nets; net++) {
    int shared = 0;
    if (t->defined[net] < 0) continue;
    for (i = t->reader_first[net]; i < t->reader_first[net + 1]; i++) shared |= t->readers[i] != t->defined[net];
    if (shared) t->place[net] = t->field_count++;
  }
  for (k = 0; k < t->functions; k++) put_function(t, k, 2 * t->functions + k + 1);
  free(t->readers);
  return 0;
}

void bulk_text_free(struct writing *t) { free(t->out); }

/* Around the generated design: the two ends of the serial line, time, and the entry points. No C library header. */

static void line_step(void) { /* the host's end sends */
  if (S.host_bit < 0) {
    if (S.host_head == S.host_tail) return;
    S.host_frame = S.host_queue[S.host_tail++ % HOST_QUEUE] << 1 | 0x200;
    S.host_bit = 0;
    S.host_edge = S.now + S.bit;
    S.line = 0;
  } else if (S.now >= S.host_edge) {
    S.host_edge += S.bit;
    if (++S.host_bit == 10) {
      if (S.host_head == S.host_tail) { S.host_bit = -1; S.line = 1; return; }
      S.host_frame = S.host_queue[S.host_tail++ % HOST_QUEUE] << 1 | 0x200;
      S.host_bit = 0;
    }
    S.line = S.host_frame >> S.host_bit & 1;
  }
}

static void monitor_step(unsigned level) { /* the host's end receives */
  if (S.board_state == IDLE) {
    if (level) return;
    S.board_state = START;
    S.board_sample = S.now + S.bit / 2;
    S.board_bit = 0;
    S.board_shift = 0;
  } else if (S.board_state == BREAK) {
    if (level) S.board_state = IDLE;
    return;
  }
  if (S.now + ONE_CYCLE <= S.board_sample) return; /* this level holds until just before the next cycle */
  S.board_sample += S.bit;
  if (S.board_state == START) {
    S.board_state = level ? IDLE : DATA; /* a low shorter than half a bit is no start */
  } else if (S.board_bit < 8) {
    S.board_shift |= level << S.board_bit++;
  } else {
    S.board_queue[S.board_head++ % BOARD_QUEUE] = S.board_shift;
    S.board_state = level ? IDLE : BREAK;
    S.board_flush = S.now + 20 * S.bit;
  }
}

/* One cycle of the board: both ends of the line, and the design. */
static void board_cycle(void) {
  unsigned level, before = S.line;
  line_step();
  if (S.line != before) S.still = 0;
  level = cycle(S.line);
  monitor_step(level);
  S.now += ONE_CYCLE;
  S.still = S.changed ? 0 : S.still + (S.still < STILL_CYCLES);
}

/* Run up to `limit` cycles; less if nothing can change any more, or if an answer is complete. Returns cycles run. */
long vb_run(long limit) {
  long done = 0;
  while (done < limit) {
    board_cycle();
    done++;
    if (S.still >= STILL_CYCLES && S.host_bit < 0 && S.host_head == S.host_tail && S.board_state == IDLE) { S.quiet = 1; break; }
    S.quiet = 0;
    if (S.board_state == IDLE && S.board_head != S.board_tail &&
        (S.now >= S.board_flush || S.board_head - S.board_tail >= BOARD_QUEUE / 2)) break;
    if (S.board_head - S.board_tail >= BOARD_QUEUE - 1) break;
  }
  return done;
}

static void set_input(int k, unsigned level) {
  unsigned i;
  if (S.in[k] == level) return;
  S.in[k] = level;
  S.still = S.quiet = 0;
  for (i = 0; i < sizeof S.run / sizeof *S.run; i++) S.run[i] = ~0UL;
}

/* The level of input, output or register `k`, by `kind`. */
static unsigned level_of(int kind, int k) { return kind == 0 ? S.in[k] : kind == 1 ? S.out[k] : S.q[k]; }

/* Run `cycles` cycles, and write down the levels of some signals before each; the board's line goes on meanwhile. */
void vb_record(long cycles, const int *signals, int count, unsigned char *out) {
  long i; int k;
  for (i = 0; i < cycles; i++) {
    board_cycle();
    for (k = 0; k < count; k++) *out++ = level_of(signals[2 * k], signals[2 * k + 1]);
  }
}

/* Run until a signal comes to a level, at most `limit` cycles; 0 if it does not. */
long vb_await(int kind, int k, unsigned level, long limit) {
  long i; unsigned before = level_of(kind, k);
  for (i = 1; i <= limit; i++) {
    unsigned now;
    board_cycle();
    now = level_of(kind, k);
    if (now == level && before != level) return i;
    before = now;
  }
  return 0;
}

/* Drive every input of the design each cycle and record every output; for tests. */
void vb_trace(long cycles, const unsigned char *in, unsigned char *out) {
  long i; int k;
  for (i = 0; i < cycles; i++) {
    unsigned line = 1;
    for (k = 0; k < INPUTS; k++, in++)
      if (k == RX_INPUT) line = *in; else set_input(k, *in);
    cycle(line);
    for (k = 0; k < OUTPUTS; k++) *out++ = S.out[k];
  }
}

void vb_set_input(int k, unsigned level) { set_input(k, level); }
unsigned vb_level(int kind, int k) { return level_of(kind, k); }
const char *vb_signals(void) { return SIGNALS; }
void vb_set_bit(unsigned long cycles_16) { S.bit = cycles_16; }
unsigned vb_push(const unsigned char *p, unsigned n) {
  unsigned i;
  for (i = 0; i < n && S.host_head - S.host_tail < HOST_QUEUE; i++) S.host_queue[S.host_head++ % HOST_QUEUE] = p[i];
  return i;
}
unsigned vb_pull(unsigned char *p, unsigned n) {
  unsigned i;
  for (i = 0; i < n && S.board_head != S.board_tail; i++) p[i] = S.board_queue[S.board_tail++ % BOARD_QUEUE];
  return i;
}
unsigned long vb_rings(void) { return S.rings; }
const char *vb_clocks(void) { return CLOCKS; }
int vb_quiet(void) { return S.quiet; }
unsigned vb_host_pending(void) { return S.host_head - S.host_tail + (S.host_bit >= 0); }
unsigned vb_host_room(void) { return HOST_QUEUE - (S.host_head - S.host_tail); }
unsigned long vb_time(void) { return S.now; }
void *vb_state(void) { return &S; }
unsigned long vb_state_bytes(void) { return sizeof S; }
const char *vb_layout(void) { return LAYOUT; }
double vb_clock_hz(void) { return CLOCK_HZ; }
unsigned vb_usercode(void) { return USERCODE; }

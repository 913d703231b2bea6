/* A board on a pseudo-terminal, fast enough that the host is what a benchmark measures.

   usage: fake_device FD PROTOCOL [-r bytes_per_s] [-l latency_us] [-k packet_bytes] [-e byte_error_rate] [-s seed] [-f fifo]

   PROTOCOL: lutlab (docs/bus-protocol.md, version 3) | litex | manta | manhattan | sink | source | echo.
   -r  paces each direction like a serial line (10 bits a byte: pass baud / 10).
   -l, -k  hold bytes for the host back like a USB adapter: until a packet is full, or so long after the first one.
   -e  damages bytes in both directions: a third flipped, a third lost, a third inserted.
   -f  word address of the FIFO, 65535 without it.

   On SIGTERM, and when the line is hung up, it writes one line of totals to standard error and ends. For `lutlab`, `fifo` counts
   the reads of the FIFO: its word answers 0, 1, 2, ... whenever it is read, so a read that ran twice leaves a hole. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 65536, RING = 1 << 20, WINDOW = 15, SHORT_MAX = 32, LONG = 0x40, CONTROL = 0x80, BRIEF = 0x80 };

static uint32_t memory[WORDS], fifo, fifo_at = 65535;
static long errors_made, executed, repeated, naks, damaged;
static volatile sig_atomic_t stop;

/* -- time, chance */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t chance_state = 88172645463325252ull;
static uint64_t chance(void) {
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    return chance_state ^= chance_state << 17;
}

static unsigned divider = 8; /* of a clock of 100 MHz */
static double error_rate, until_error = -1;

/* Damage n bytes in place (room for n more); returns how many there are then. The distance between errors is geometric, so that
   a clean line costs nothing. */
static size_t spoil(uint8_t *p, size_t n) {
    if (error_rate <= 0) return n;
    for (size_t i = 0;;) {
        if (until_error < 0) until_error = floor(log(((chance() >> 11) + 1) * 0x1p-53) / log1p(-error_rate));
        if (until_error >= n - i) {
            until_error -= n - i;
            return n;
        }
        i += (size_t)until_error;
        until_error = -1;
        errors_made++;
        switch (chance() % 3) {
        case 0: p[i++] ^= 1 << (chance() & 7); break;
        case 1: memmove(p + i, p + i + 1, n-- - i - 1); break;
        default:
            memmove(p + i + 1, p + i, n++ - i);
            p[i] = (uint8_t)chance();
            i += 2; /* past the inserted one and its neighbour */
        }
        if (i >= n) return n;
    }
}

/* -- bytes for the host */

static uint8_t *out;
static size_t out_end, out_start, out_room = 1 << 22;

static uint8_t *reserve(size_t n) {
    n *= 2; /* insertions */
    if (out_end + n > out_room && out_start) {
        memmove(out, out + out_start, out_end - out_start);
        out_end -= out_start;
        out_start = 0;
    }
    while (out_end + n > out_room) out = realloc(out, out_room *= 2);
    return out + out_end;
}
static void commit(size_t n) { out_end += spoil(out + out_end, n); }
static void put(const void *p, size_t n) {
    memcpy(reserve(n), p, n);
    commit(n);
}
static void put_be32(uint32_t v) {
    uint8_t b[4] = {v >> 24, v >> 16, v >> 8, v};
    put(b, 4);
}
static uint32_t be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static inline uint32_t le(const uint8_t *p, int n) {
    uint32_t v = 0;
    while (n--) v = v << 8 | p[n];
    return v;
}

/* -- checks */

static uint32_t crc32_table[8][256];
static uint16_t crc16_table[256];
static void make_tables(void) {
    for (int i = 0; i < 256; i++) {
        uint32_t c = i;
        uint16_t d = i << 8;
        for (int k = 0; k < 8; k++) {
            c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
            d = d & 0x8000 ? d << 1 ^ 0x1021 : d << 1;
        }
        crc32_table[0][i] = c;
        crc16_table[i] = d;
    }
    for (int i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            crc32_table[t][i] = crc32_table[t - 1][i] >> 8 ^ crc32_table[0][crc32_table[t - 1][i] & 255];
}
#if defined(__x86_64__)
#include <immintrin.h>
#define FOLDS __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")

/* The loop over whole lanes below, 512 bits at once. */
__attribute__((target("avx512f,vpclmulqdq"))) static size_t fold_wide(__m128i *x, __m128i k12, const uint8_t *p, size_t n) {
    __m512i y = _mm512_loadu_si512(x), k = _mm512_broadcast_i32x4(k12);
    size_t done = 0;
    for (; n - done >= 64; done += 64)
        y = _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(y, k, 0x11), _mm512_clmulepi64_epi128(y, k, 0x00),
                                      _mm512_loadu_si512(p + done), 0x96);
    _mm512_storeu_si512(x, y);
    return done;
}
/* The register after n bytes, n a multiple of 16 and at least 64: carry-less folding, four lanes of 128 bits. The constants are
   powers of x modulo the polynomial, bit-reflected. A hardware device checks at the speed of its line, so this one must not be what
   a benchmark measures. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t fold(uint32_t c, const uint8_t *p, size_t n) {
    const __m128i k12 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), k34 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i k5 = _mm_set_epi64x(0, 0x163cd6124), reduce = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i low = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i x[4];
    for (int i = 0; i < 4; i++) x[i] = _mm_loadu_si128((const __m128i *)p + i);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)c));
    p += 64, n -= 64;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq")) {
        size_t done = fold_wide(x, k12, p, n);
        p += done, n -= done;
    }
    for (; n >= 64; p += 64, n -= 64)
        for (int i = 0; i < 4; i++) {
            __m128i far = _mm_clmulepi64_si128(x[i], k12, 0x11), near = _mm_clmulepi64_si128(x[i], k12, 0x00);
            x[i] = _mm_xor_si128(_mm_xor_si128(far, near), _mm_loadu_si128((const __m128i *)p + i));
        }
    __m128i y = x[0];
    for (int i = 1; i < 4; i++)
        y = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(y, k34, 0x11), _mm_clmulepi64_si128(y, k34, 0x00)), x[i]);
    for (; n >= 16; p += 16, n -= 16)
        y = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(y, k34, 0x11), _mm_clmulepi64_si128(y, k34, 0x00)),
                          _mm_loadu_si128((const __m128i *)p));
    y = _mm_xor_si128(_mm_srli_si128(y, 8), _mm_clmulepi64_si128(y, k34, 0x10));
    y = _mm_xor_si128(_mm_srli_si128(y, 4), _mm_clmulepi64_si128(_mm_and_si128(y, low), k5, 0x00));
    __m128i q = _mm_clmulepi64_si128(_mm_and_si128(y, low), reduce, 0x10);
    q = _mm_clmulepi64_si128(_mm_and_si128(q, low), reduce, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(y, q), 1);
}
#else
#define FOLDS 0
static uint32_t fold(uint32_t c, const uint8_t *p, size_t n) { return (void)p, (void)n, c; }
#endif

static uint32_t crc32(const uint8_t *p, size_t n) {
    uint32_t c = ~0u;
    if (n >= 64 && FOLDS) {
        c = fold(c, p, n & ~(size_t)15);
        p += n & ~(size_t)15;
        n &= 15;
    }
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t a = le(p, 4) ^ c, b = le(p + 4, 4);
        c = crc32_table[7][a & 255] ^ crc32_table[6][a >> 8 & 255] ^ crc32_table[5][a >> 16 & 255] ^ crc32_table[4][a >> 24] ^
            crc32_table[3][b & 255] ^ crc32_table[2][b >> 8 & 255] ^ crc32_table[1][b >> 16 & 255] ^ crc32_table[0][b >> 24];
    }
    while (n--) c = crc32_table[0][(c ^ *p++) & 255] ^ c >> 8;
    return ~c;
}
static uint16_t crc16(const uint8_t *p, size_t n) {
    uint16_t c = 0xFFFF;
    while (n--) c = c << 8 ^ crc16_table[c >> 8 ^ *p++];
    return c;
}

/* -- protocol version 3 */

/* Both read and write up to 16 bytes beyond the end; every buffer has that room. Scattered words have a zero every few bytes, so calls
   of memcpy and memchr for each piece would be most of the time. */
static size_t unstuff(const uint8_t *p, size_t n, uint8_t *to) {
    const uint8_t *end = p + n;
    uint8_t *start = to;
    while (p < end) {
        unsigned code = *p++;
        if ((size_t)(end - p) < code - 1) return 0;
        if (code <= 17) memcpy(to, p, 16);
        else memcpy(to, p, code - 1);
        to += code - 1;
        p += code - 1;
        if (code != 255 && p < end) *to++ = 0;
    }
    return to - start;
}
static size_t stuff(const uint8_t *p, size_t n, uint8_t *to) {
    const uint64_t sevens = 0x7f7f7f7f7f7f7f7full;
    const uint8_t *end = p + n;
    uint8_t *start = to, *code = to++;
    for (;;) {
        if (end - p >= 8 && to - code <= 246) { /* the bytes stay as they are; where a zero was, the next piece's length goes */
            uint64_t v, zeros;
            memcpy(&v, p, 8);
            memcpy(to, &v, 8);
            zeros = ~(((v & sevens) + sevens) | v | sevens);
            int none = !zeros;
            for (; zeros; zeros &= zeros - 1) {
                uint8_t *zero = to + __builtin_ctzll(zeros) / 8;
                *code = zero - code;
                code = zero;
            }
            p += 8;
            to += 8;
            if (!none) continue;
        }
        size_t room = 255 - (to - code), left = end - p;
        if (left < room) room = left;
        const uint8_t *zero = memchr(p, 0, room);
        size_t run = zero ? (size_t)(zero - p) : room;
        memcpy(to, p, run);
        to += run;
        p += run;
        if (!zero && p == end) break;
        p += !!zero;
        *code = to - code;
        code = to++;
    }
    *code = to - code;
    *to++ = 0;
    return to - start;
}

static struct { uint8_t *line; size_t bytes, room; int valid; } stored[64];
static int expected = -1, last_status;
static uint8_t *reply;
static size_t reply_bytes;

static size_t seal(uint8_t *frame, size_t n, uint8_t *line) {
    if (frame[0] & LONG) {
        uint32_t c = crc32(frame, n);
        memcpy(frame + n, &c, 4);
        n += 4;
    } else {
        uint16_t c = crc16(frame, n);
        frame[n++] = c >> 8;
        frame[n++] = c;
    }
    return stuff(frame, n, line);
}
static void send_frame(uint8_t *frame, size_t n) { commit(seal(frame, n, reserve(n + n / 254 + 16))); }
static void send_nak(void) {
    uint8_t frame[8] = {CONTROL | expected};
    if (expected < 0) return;
    naks++;
    send_frame(frame, 1);
}
static uint32_t load(uint32_t a) {
    if (last_status) return 0;
    if (a >= WORDS) return last_status = 1, 0;
    return a == fifo_at ? fifo++ : memory[a];
}
static void store(uint32_t a, uint32_t w) {
    if (last_status) return;
    if (a >= WORDS) last_status = 1;
    else memory[a] = w;
}
static void answer(uint32_t w) {
    memcpy(reply + reply_bytes, &w, 4);
    reply_bytes += 4;
}
/* Reads of one word, one behind the other, as scattered words are asked for: what `execute` does, without asking it of each. */
static const uint8_t *read_run(const uint8_t *p, const uint8_t *end) {
    uint8_t *to = reply + reply_bytes;
    for (; end - p >= 3 && !*p; p += 3, to += 5) {
        uint32_t a = p[1] | p[2] << 8;
        if (a == fifo_at || to + 5 > reply + RING) break;
        memcpy(to, memory + a, 4);
        to[4] = last_status = 0;
    }
    reply_bytes = to - reply;
    return p;
}
static void execute(const uint8_t *p, const uint8_t *end) {
    while ((p = read_run(p, end)) < end) {
        unsigned op = *p++;
        uint32_t count = 1, step = op & 4 ? 0 : 1, a;
        if (op & BRIEF) {
            last_status = 0;
            answer(load(op & 127));
            reply[reply_bytes++] = last_status;
            continue;
        }
        size_t wide = op & 0x20 ? 3 : 2;
        if (op & 0x40 || (size_t)(end - p) < wide + (op & 0x10 ? 2 : 0)) return;
        if (op & 0x10) count = le(p, 2) + 1, p += 2;
        a = le(p, wide);
        p += wide;
        if (!(op & 8)) last_status = 0;
        int plain = !last_status && step && (a > fifo_at || a + (size_t)count <= fifo_at) && a + (size_t)count <= WORDS;
        switch (op & 3) {
        case 0:
            if (reply_bytes + 4 * (size_t)count > RING) return;
            if (plain) {
                memcpy(reply + reply_bytes, memory + a, 4 * (size_t)count);
                reply_bytes += 4 * (size_t)count;
            } else
                for (uint32_t i = 0; i < count; i++) answer(load(a + step * i));
            break;
        case 1:
            if ((size_t)(end - p) < 4 * (size_t)count) return;
            if (plain) memcpy(memory + a, p, 4 * (size_t)count);
            else
                for (uint32_t i = 0; i < count; i++) store(a + step * i, le(p + 4 * i, 4));
            p += 4 * (size_t)count;
            break;
        case 2: {
            if (end - p < 8) return;
            uint32_t word = load(a), mask = le(p, 4), value = le(p + 4, 4);
            store(a, (word & ~mask) | (value & mask));
            answer(word);
            p += 8;
            break;
        }
        default: {
            if (end - p < 12) return;
            uint32_t word = load(a), mask = le(p + 4, 4), value = le(p + 8, 4);
            if (!last_status && (word ^ value) & mask) last_status = 3;
            answer(word);
            p += 12;
        }
        }
        reply[reply_bytes++] = last_status;
    }
}
static void hello(const uint8_t *frame, size_t n) {
    uint32_t info[8] = {0x4C550003, 0xBE7C4, 100000000, 65536, divider | 16 << 16 | 32u << 24, RING, RING, WINDOW};
    uint8_t frame_out[128];
    if (n > 32) return;
    expected = (frame[0] + 1) & 63;
    last_status = 0;
    for (int i = 0; i < 64; i++) stored[i].valid = 0;
    memcpy(frame_out, frame, n);
    memcpy(frame_out + n, info, sizeof info);
    send_frame(frame_out, n + sizeof info);
}
static int armed; /* the frame before was undamaged and without LONG */
static void handle_request(int head, const uint8_t *body, size_t n) {
    if (expected < 0) return;
    int s = head & 63, d = (expected - s) & 63, brief = (head & CONTROL) != 0;
    if (d == 0) {
        reply_bytes = 0;
        reply[reply_bytes++] = head;
        if (head & LONG) reply[reply_bytes++] = 0;
        execute(body, body + n);
        executed++;
        size_t need = reply_bytes + reply_bytes / 254 + 16;
        if (stored[s].room < need) stored[s].line = realloc(stored[s].line, stored[s].room = 2 * need);
        if (brief) { /* head, word, status: the check knows them all, only the word is sent as such */
            uint16_t c = crc16(reply, 6);
            uint8_t rest[6] = {reply[1], reply[2], reply[3], reply[4], c >> 8, c};
            stored[s].bytes = stuff(rest, 6, stored[s].line);
            stored[s].line[0] |= BRIEF | reply[5] << 4;
        } else
            stored[s].bytes = seal(reply, reply_bytes, stored[s].line);
        stored[s].valid = 1;
        expected = (s + 1) & 63;
        put(stored[s].line, stored[s].bytes);
    } else if (d <= WINDOW && stored[s].valid) {
        repeated++;
        put(stored[s].line, stored[s].bytes);
    } else
        send_nak();
}
static void handle_frame(const uint8_t *p, size_t line_bytes) {
    static uint8_t *frame;
    static size_t room;
    if (room < line_bytes + 16) frame = realloc(frame, room = 2 * line_bytes + 16);
    size_t n = line_bytes < RING ? unstuff(p, line_bytes, frame) : 0;
    int is_long = n && frame[0] & LONG;
    armed = 0;
    if (n < 3 || (frame[0] & (CONTROL | LONG)) == CONTROL || (is_long ? n < 6 || crc32(frame, n - 4) != le(frame + n - 4, 4)
                          : n > SHORT_MAX || crc16(frame, n - 2) != (frame[n - 2] << 8 | frame[n - 1]))) {
        damaged++;
        send_nak();
        return;
    }
    n -= is_long ? 4 : 2;
    armed = !is_long;
    if (is_long && frame[0] & CONTROL) hello(frame, n);
    else handle_request(frame[0], frame + 1 + is_long, n - 1 - is_long);
}
static size_t lutlab(const uint8_t *p, size_t n) {
    static int behind_brief; /* its three bytes were taken: up to the zero nothing else may come */
    static size_t looked;    /* bytes of a frame under way, among which there is no zero: not to be looked at with each piece again */
    const uint8_t *end = memchr(p + looked, 0, n - looked);
    looked = 0;
    if (behind_brief) {
        if (behind_brief > 1 || *p) armed = 0;
        if (!end) return behind_brief += behind_brief < 2, n;
        if (!armed) damaged++, send_nak();
        behind_brief = 0;
        return end - p + 1;
    }
    if (n >= 3 && p[0] & BRIEF && p[1] && p[2]) {
        unsigned difference = crc16(p, 1) ^ 0xC080 ^ (p[1] << 8 | p[2]);
        if (armed && !(difference >> 6)) handle_request(CONTROL | difference, p, 1);
        else armed = 0;
        behind_brief = 1;
        return 3;
    }
    if (!end) {
        if (n > 2 * RING) return n;
        looked = n;
        return 0;
    }
    if (end > p) {
        if (p[0] & BRIEF) armed = 0, damaged++, send_nak();
        else handle_frame(p, end - p);
    }
    return end - p + 1;
}

/* -- the peers */

static size_t litex(const uint8_t *p, size_t n) {
    if (n < 6) return 0;
    unsigned command = p[0], length = p[1];
    uint32_t a = be32(p + 2);
    if (command == 1 || command == 3) {
        if (n < 6 + 4 * (size_t)length) return 0;
        for (unsigned i = 0; i < length; i++) memory[(a + (command == 1 ? i : 0)) & 65535] = be32(p + 6 + 4 * i);
        return 6 + 4 * length;
    }
    if (command == 2 || command == 4)
        for (unsigned i = 0; i < length; i++) put_be32(memory[(a + (command == 2 ? i : 0)) & 65535]);
    return 6;
}
static unsigned hex(const uint8_t *p) {
    unsigned v = 0;
    for (int i = 0; i < 4; i++) v = v << 4 | ((p[i] <= '9' ? p[i] - '0' : p[i] - 'A' + 10) & 15);
    return v;
}
static size_t manta(const uint8_t *p, size_t n) {
    static const char digits[] = "0123456789ABCDEF";
    if (p[0] == 'R') {
        if (n < 7) return 0;
        uint32_t v = memory[hex(p + 1)];
        uint8_t line[7] = {'D', digits[v >> 12 & 15], digits[v >> 8 & 15], digits[v >> 4 & 15], digits[v & 15], '\r', '\n'};
        put(line, 7);
        return 7;
    }
    if (p[0] == 'W') {
        if (n < 11) return 0;
        memory[hex(p + 1)] = hex(p + 5);
        return 11;
    }
    return 1;
}
static size_t manhattan(const uint8_t *p, size_t n) {
    if (n < 8) return 0;
    unsigned op = p[0];
    uint32_t length = be32(p) & 0xFFFFFF, a = be32(p + 4) >> 2;
    if (n < 8 + 4 * (size_t)length) return 0;
    if ((op & 0x7F) == 1) {
        for (uint32_t i = 0; i < length; i++) memory[(a + (op & 0x80 ? 0 : i)) & 65535] = be32(p + 8 + 4 * i);
        put_be32(0);
    } else {
        uint32_t count = be32(p + 8);
        put_be32(count & 0xFFFFFF);
        for (uint32_t i = 0; i < count; i++) put_be32(memory[(a + i) & 65535]);
    }
    return 8 + 4 * (size_t)length;
}

/* -- limits of the line itself: sink takes N bytes (after a 32-bit N) and answers one, source gives N, echo echoes */

static size_t sink(const uint8_t *p, size_t n) {
    static uint32_t left;
    static int inside;
    if (!inside) {
        if (n < 4) return 0;
        left = le(p, 4);
        inside = 1;
        return 4;
    }
    size_t k = n < left ? n : left;
    left -= k;
    if (!left) {
        inside = 0;
        put("K", 1);
    }
    return k;
}
static size_t source(const uint8_t *p, size_t n) {
    if (n < 4) return 0;
    uint32_t count = le(p, 4);
    memset(reserve(count), 0x55, count);
    commit(count);
    return 4;
}
static size_t echo(const uint8_t *p, size_t n) {
    put(p, n);
    return n;
}

static const struct { const char *name; size_t (*handle)(const uint8_t *, size_t); } protocols[] = {
    {"lutlab", lutlab}, {"litex", litex}, {"manta", manta}, {"manhattan", manhattan},
    {"sink", sink},     {"source", source}, {"echo", echo},
};

static void on_signal(int number) { (void)number, stop = 1; }

int main(int argc, char **argv) {
    size_t (*handle)(const uint8_t *, size_t) = 0;
    double rate = 0, latency = 0, paid_in = 0, paid_out = 0, first = 0;
    size_t packet = 510, in_room = 1 << 22, in_end = 0, in_start = 0;
    if (argc < 3) return 2;
    int fd = atoi(argv[1]);
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (!strcmp(argv[2], protocols[i].name)) handle = protocols[i].handle;
    if (!handle) return 2;
    for (int i = 3; i + 1 < argc; i += 2) {
        double x = atof(argv[i + 1]);
        switch (argv[i][1]) {
        case 'r':
            rate = x;
            divider = rate > 160 ? (unsigned)(1e7 / rate + 0.5) : 65535;
            break;
        case 'l': latency = x * 1e-6; break;
        case 'k': packet = x; break;
        case 'e': error_rate = x; break;
        case 'f': fifo_at = x; break;
        case 's': chance_state ^= ((uint64_t)x + 1) * 0x9E3779B97F4A7C15ull; break;
        default: return 2;
        }
    }
    make_tables();
    out = malloc(out_room);
    uint8_t *in = malloc(in_room);
    reply = malloc(2 * RING);
    for (int i = 0; i < WORDS; i++) memory[i] = 0xC0DE0000u + i;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, 0);
    paid_in = paid_out = now();
    while (!stop) {
        static int line_idle = 1;
        int busy = 0, paced = rate > 0 || latency > 0;
        double t = paced ? now() : 0;
        size_t waited = out_end - out_start;
        if (in_end > in_room / 2 && in_start) {
            memmove(in, in + in_start, in_end - in_start);
            in_end -= in_start;
            in_start = 0;
        }
        if (in_end > in_room / 2) in = realloc(in, in_room *= 2);
        size_t want = (in_room - in_end) / 2;
        if (rate > 0) { /* bytes that have had time to arrive; an idle line saves up no more than one (see EAGAIN) */
            double due = (t - paid_in) * rate + 1e-6;
            if (due < want) want = (size_t)due;
        }
        if (want) {
            ssize_t n = read(fd, in + in_end, want);
            if (n > 0) {
                line_idle = 0;
                paid_in += rate > 0 ? n / rate : 0;
                in_end += spoil(in + in_end, n);
                busy = 1;
                size_t used;
                while (in_start < in_end && (used = handle(in + in_start, in_end - in_start))) in_start += used;
                if (in_start == in_end) in_start = in_end = 0;
            } else if (n == 0 || errno != EAGAIN)
                break;
            else if (rate > 0) {
                line_idle = 1;
                paid_in = t - 1 / rate;
            }
        }
        size_t waiting = out_end - out_start, can = waiting;
        /* An idle line saves up nothing, whether or not this loop ran while it was idle. */
        if (rate > 0 && !waited && paid_out < t - 1 / rate) paid_out = t - 1 / rate;
        if (waiting && latency > 0) {
            if (first == 0) first = t;
            if (t - first < latency) can = waiting >= packet ? waiting - waiting % packet : 0;
        }
        if (can && rate > 0) {
            double due = (t - paid_out) * rate + 1e-6;
            if (due < can) can = (size_t)due;
        }
        if (can) {
            ssize_t n = write(fd, out + out_start, can);
            if (n > 0) {
                paid_out += rate > 0 ? n / rate : 0;
                out_start += n;
                busy = 1;
                if (out_start == out_end) {
                    int more = 0;
                    out_start = out_end = 0, first = 0;
                    if (rate > 0 && in_end == in_start && !ioctl(fd, FIONREAD, &more) && !more && paid_in < t - 1 / rate)
                        paid_in = t - 1 / rate;
                }
                else if (latency > 0 && can != waiting) first = t;
            } else if (n < 0 && errno != EAGAIN)
                break;
        }
        if (!busy) {
            struct pollfd wait = {fd, POLLIN | (out_end > out_start ? POLLOUT : 0), 0};
            if (!paced || (out_end == out_start && rate <= 0)) {
                /* Not for ever: a signal may have come just before. LiteX forgets a command after 100 ms. */
                if (poll(&wait, 1, 100) == 0 && handle == litex) in_start = in_end = 0;
                if (wait.revents & POLLHUP && !(wait.revents & POLLIN)) break;
            } else if (out_end == out_start && in_end == in_start) { /* nothing on the line: no need to spin */
                wait.events = POLLIN;
                if (poll(&wait, 1, 100) > 0 && wait.revents & POLLHUP && !(wait.revents & POLLIN)) break;
                if (rate > 0 && line_idle) paid_in = now() - 1 / rate;
            }
        }
    }
    fprintf(stderr, "{\"errors\": %ld, \"executed\": %ld, \"repeated\": %ld, \"naks\": %ld, \"damaged\": %ld, \"fifo\": %u}\n",
            errors_made, executed, repeated, naks, damaged, fifo);
    return 0;
}

// Drives the bus device, compiled by CXXRTL, with bytes; stands in for the UART and for a design behind the bus.
#include "device.cc"

#include <cstdint>

namespace {
constexpr unsigned kErrWord = 0x1F0, kDeadWord = 0x1F1, kReadPattern = 0x10000000;
constexpr unsigned kQuietCycles = 24;

struct Transfer {
    uint32_t is_write, address, data;
};

struct Bench {
    cxxrtl_design::p_top top;
    unsigned delay = 1, waited = 0;
    bool answered = false, was_active = false;
    uint8_t *out;
    unsigned out_count, out_max;
    Transfer *bus;
    unsigned bus_count, bus_max;
    uint64_t protocol_faults = 0;

    // One clock cycle: settle, look, let the clock rise.
    void cycle() {
        top.p_clk.set<bool>(false);
        top.step();
        bool active = top.p_cyc.get<bool>() && top.p_stb.get<bool>();
        if (top.p_cyc.get<bool>() != top.p_stb.get<bool>()) protocol_faults++;
        unsigned address = top.p_adr.get<uint32_t>();
        if (active && !was_active) {
            if (bus_count < bus_max)
                bus[bus_count] = {top.p_we.get<bool>(), address, top.p_we.get<bool>() ? top.p_dat__w.get<uint32_t>() : 0};
            bus_count++;
        }
        was_active = active;
        bool answers = delay == 0 ? active : answered;
        top.p_ack.set<bool>(answers && address != kErrWord && address != kDeadWord);
        top.p_err.set<bool>(answers && address == kErrWord);
        top.p_dat__r.set<uint32_t>(kReadPattern | address);
        if (!active || answered) waited = 0, answered = false;
        else answered = ++waited >= delay;
        if (top.p_tx__stb.get<bool>() && top.p_tx__ready.get<bool>()) {
            if (out_count < out_max) out[out_count] = top.p_tx__data.get<uint8_t>();
            out_count++;
        }
        top.step();
        top.p_clk.set<bool>(true);
        top.step();
    }
};
}  // namespace

extern "C" {
Bench *bench_new(unsigned delay) {
    auto *bench = new Bench();
    bench->delay = delay;
    bench->top.p_rst.set<bool>(false);
    return bench;
}

void bench_delete(Bench *bench) { delete bench; }

uint64_t bench_faults(Bench *bench) { return bench->protocol_faults; }

// Sends bytes (one with bit 8 set is a framing error), takes a byte of the reply every `tx_cycles`, waits for quiet.
// Returns false if it did not become quiet within `cycles_max`.
bool bench_run(Bench *bench, const uint16_t *in, unsigned in_count, unsigned byte_cycles, unsigned tx_cycles,
               uint64_t cycles_max, uint8_t *out, unsigned *out_count, Transfer *bus, unsigned *bus_count) {
    auto &top = bench->top;
    bench->out = out, bench->out_max = *out_count, bench->out_count = 0;
    bench->bus = bus, bench->bus_max = *bus_count, bench->bus_count = 0;
    unsigned quiet = 0, tx_wait = 0, sent = 0;
    uint64_t now = 0, limit = uint64_t(in_count) * byte_cycles + cycles_max;
    for (; quiet < kQuietCycles && now < limit; now++) {
        bool sends = sent < in_count && now % byte_cycles == 0;
        uint16_t byte = sends ? in[sent++] : 0;
        top.p_rx__data.set<uint8_t>(byte & 0xFF);
        top.p_rx__stb.set<bool>(sends && byte < 256);
        top.p_rx__err.set<bool>(sends && byte >= 256);
        top.p_tx__ready.set<bool>(tx_wait == 0);
        unsigned before = bench->out_count;
        bench->cycle();
        if (bench->out_count != before) tx_wait = tx_cycles;
        else if (tx_wait) tx_wait--;
        bool idle = sent == in_count && !top.p_executing.get<bool>() && !top.p_tx__stb.get<bool>();
        quiet = idle && tx_wait == 0 ? quiet + 1 : 0;
    }
    *out_count = bench->out_count;
    *bus_count = bench->bus_count;
    return quiet >= kQuietCycles;
}
}

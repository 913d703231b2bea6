// Runs a test bench: until $finish, until an error, until nothing is left to happen, or until +lutlab_seconds=N are
// over; the last two are errors too, with exit codes of their own. The trace is complete in every case; with
// +lutlab_untraced there is none.
#include <chrono>
#include <cstdlib>
#include <memory>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_cov.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
constexpr const char* kTraceFile = "trace.fst";
#else
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
constexpr const char* kTraceFile = "trace.vcd";
#endif

int main(int argc, char** argv) {
  const auto context = std::make_unique<VerilatedContext>();
  context->fatalOnError(false);
  context->traceEverOn(true);
  context->commandArgs(argc, argv);
  const auto bench = std::make_unique<Vtop>(context.get(), "");
  const bool traced = *context->commandArgsPlusMatch("lutlab_untraced") == '\0';
  Trace trace;
  if (traced) {
    bench->trace(&trace, 99);
    trace.open(kTraceFile);
  }
  const char* const seconds = context->commandArgsPlusMatch("lutlab_seconds=");
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(seconds + sizeof("+lutlab_seconds=") - 1));
  int code = 0;
  for (unsigned step = 0; !context->gotFinish() && !context->gotError(); ++step) {
    bench->eval();
    if (traced) trace.dump(context->time());
    if (context->gotFinish() || context->gotError()) break;
    if (!bench->eventsPending()) {
      code = 3;
      break;
    }
    if (step % 1024 == 0 && std::chrono::steady_clock::now() > deadline) {
      code = 4;
      break;
    }
    context->time(bench->nextTimeSlot());
  }
  bench->final();
  if (traced) trace.close();
  context->coveragep()->write("coverage.dat");
  return context->gotError() ? 1 : code;
}

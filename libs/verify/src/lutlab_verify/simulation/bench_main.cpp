// Runs a test bench: until $finish, until an error, or until nothing is left to happen, which is an error too.
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
  Trace trace;
  bench->trace(&trace, 99);
  trace.open(kTraceFile);
  bool starved = false;
  while (!context->gotFinish() && !context->gotError()) {
    bench->eval();
    trace.dump(context->time());
    if (context->gotFinish() || context->gotError()) break;
    if (!bench->eventsPending()) {
      starved = true;
      break;
    }
    context->time(bench->nextTimeSlot());
  }
  bench->final();
  trace.close();
  context->coveragep()->write("coverage.dat");
  if (context->gotError()) return 1;
  return starved ? 3 : 0;
}

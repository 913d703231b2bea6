// Four clocks of one PLL with odd ratios and phases, and what passes between them: plain registers, asynchronous resets
// and a block RAM with two clocks. In simulation they come from outside.
module clocks (input clk, output op, output os, output os2, output os3);
  (* FREQUENCY_PIN_CLKI = "50", ICP_CURRENT = "12", LPF_RESISTOR = "8", MFG_ENABLE_FILTEROPAMP = "1",
     MFG_GMCREF_SEL = "2" *)
  EHXPLLL #(
    .PLLRST_ENA("DISABLED"), .INTFB_WAKE("DISABLED"), .STDBY_ENABLE("DISABLED"), .DPHASE_SOURCE("DISABLED"),
    .OUTDIVIDER_MUXA("DIVA"), .OUTDIVIDER_MUXB("DIVB"), .OUTDIVIDER_MUXC("DIVC"), .OUTDIVIDER_MUXD("DIVD"),
    .CLKI_DIV(1), .CLKFB_DIV(1), .FEEDBK_PATH("CLKOP"),
    .CLKOP_ENABLE("ENABLED"), .CLKOP_DIV(12), .CLKOP_CPHASE(5), .CLKOP_FPHASE(0),
    .CLKOS_ENABLE("ENABLED"), .CLKOS_DIV(6), .CLKOS_CPHASE(5), .CLKOS_FPHASE(0),
    .CLKOS2_ENABLE("ENABLED"), .CLKOS2_DIV(8), .CLKOS2_CPHASE(7), .CLKOS2_FPHASE(4),
    .CLKOS3_ENABLE("ENABLED"), .CLKOS3_DIV(24), .CLKOS3_CPHASE(8), .CLKOS3_FPHASE(0)
  ) pll_ (
    .RST(1'b0), .STDBY(1'b0), .CLKI(clk), .CLKOP(op), .CLKOS(os), .CLKOS2(os2), .CLKOS3(os3), .CLKFB(op), .CLKINTFB(),
    .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1), .PHASESTEP(1'b1), .PHASELOADREG(1'b1), .PLLWAKESYNC(1'b0),
    .ENCLKOP(1'b0), .ENCLKOS(1'b0), .LOCK()
  );
endmodule

`ifdef SIMULATION
module domains (input op, input os, input os2, input os3, output [15:0] o);
`else
module domains (input clk, output [15:0] o);
  wire op, os, os2, os3;
  clocks c (clk, op, os, os2, os3);
`endif
  wire [31:0] a, b, d, e;
  noise #(32'h2545f491) n0 (.clk(op), .r(a));
  noise #(32'h0badf00d) n1 (.clk(os), .r(b));
  noise #(32'h13579bdf) n2 (.clk(os2), .r(d));
  noise #(32'h2468ace1) n3 (.clk(os3), .r(e));

  // Every domain takes the words of the others.
  reg [31:0] qa = 0, qb = 0, qd = 0, qe = 0, qn = 0;
  always @(posedge op) qa <= {qa[30:0], qa[31]} ^ b ^ d;
  always @(posedge os) if (e[3]) qb <= {qb[30:0], qb[31]} ^ a ^ d ^ e;
  always @(posedge os2) qd <= {qd[30:0], qd[31]} ^ a ^ b;
  always @(posedge os3) qe <= {qe[30:0], qe[31]} ^ b ^ d;
  always @(negedge os) qn <= {qn[30:0], qn[31]} ^ e ^ qb;

  // Resets without a clock: a short pulse of a fast domain clears a slow one, and the other way round.
  reg fast_reset = 0, slow_reset = 0;
  always @(posedge os) fast_reset <= &b[3:0];
  always @(negedge os3) slow_reset <= &e[1:0];
  reg [7:0] ra = 8'h5a, rb = 8'hc3;
  always @(posedge os3 or posedge fast_reset) if (fast_reset) ra <= 8'h5a; else ra <= ra + e[7:0];
  always @(posedge os or posedge slow_reset) if (slow_reset) rb <= 8'hc3; else rb <= rb + b[7:0];

  // A block RAM written by one clock and read by another; where both meet at one address is a race on the chip, and in
  // the sources the reader gets the old word.
  reg [15:0] m [0:1023];
  integer i;
  initial for (i = 0; i < 1024; i = i + 1) m[i] = i * 40503;
  reg [15:0] read = 0;
  always @(posedge os) if (b[9]) m[b[8:0]] <= a[15:0];
  always @(posedge os2) if (d[9]) read <= m[{1'b0, d[8:0]}];

  assign o = {qn[1:0], read[3:0], rb[1:0], ra[1:0], qe[1:0], qd[1:0], qb[0], qa[0]};
endmodule

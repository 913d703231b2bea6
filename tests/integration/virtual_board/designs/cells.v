// Primitive cells in every setting, instantiated directly. With SIMULATION the memories are written as behaviour, after
// the vendor's guide (FPGA-TN-02204) and the simulation model of the same cell's smaller sibling (DP8KC of MachXO2); the
// slices' cells are those of Yosys.

`define PINS4(P, V) .P``0(V[0]), .P``1(V[1]), .P``2(V[2]), .P``3(V[3])
`define PINS9(P, V) `PINS4(P, V), .P``4(V[4]), .P``5(V[5]), .P``6(V[6]), .P``7(V[7]), .P``8(V[8])
`define PINS14(P, V) `PINS9(P, V), .P``9(V[9]), .P``10(V[10]), .P``11(V[11]), .P``12(V[12]), .P``13(V[13])
`define PINS18(P, V) `PINS14(P, V), .P``14(V[14]), .P``15(V[15]), .P``16(V[16]), .P``17(V[17])
`define PINS36(P, V) `PINS18(P, V), .P``18(V[18]), .P``19(V[19]), .P``20(V[20]), .P``21(V[21]), .P``22(V[22]), .P``23(V[23]), \
  .P``24(V[24]), .P``25(V[25]), .P``26(V[26]), .P``27(V[27]), .P``28(V[28]), .P``29(V[29]), .P``30(V[30]), .P``31(V[31]), \
  .P``32(V[32]), .P``33(V[33]), .P``34(V[34]), .P``35(V[35])

`ifdef SIMULATION
// What one port of a block RAM does at its edge, and what it shows: a latch, and a register behind it.
`define RAM_PORT(CK, ON, WE, AD, DI, RST, OCE, W, MODE, LATCH, OUT, HELD) \
  always @(posedge CK) if (ON && WE) begin \
    if (W >= 18) begin \
      if (AD[0]) m[{AD[13:4], 1'b0}] <= DI[8:0]; \
      if (AD[1]) m[{AD[13:4], 1'b1}] <= DI[17:9]; \
    end else m[AD[13:3]] <= lane(AD, W, DI); \
  end \
  generate \
    if (ASYNC) begin \
      always @(posedge CK or posedge RST) if (RST) HELD <= 1; else HELD <= 0; \
      always @(posedge CK or posedge RST) \
        if (RST) LATCH <= 0; \
        else if (ON && (!WE || MODE == "READBEFOREWRITE")) LATCH <= word(AD, W); \
        else if (ON && MODE == "WRITETHROUGH") LATCH <= merged(AD, W, DI); \
      always @(posedge CK or posedge RST) if (RST) OUT <= 0; else if (OCE && !(RELEASE == 0 && HELD)) OUT <= LATCH; \
    end else begin \
      always @(posedge CK) \
        if (RST) LATCH <= 0; \
        else if (ON && (!WE || MODE == "READBEFOREWRITE")) LATCH <= word(AD, W); \
        else if (ON && MODE == "WRITETHROUGH") LATCH <= merged(AD, W, DI); \
      always @(posedge CK) if (OCE) OUT <= RST ? 0 : LATCH; \
    end \
  endgenerate

`define RAM_WORDS \
  reg [8:0] m [0:2047]; \
  integer i; \
  initial for (i = 0; i < 2048; i = i + 1) m[i] = i < 32 || i >= 1056 && i < 1088 ? IV[20 * (i % 32 / 2) + 9 * (i % 2) +: 9] : 9'd0; \
  function [35:0] word(input [13:0] ad, input integer w); \
    case (w) \
      36: word = {m[{ad[13:5], 2'd1}], m[{ad[13:5], 2'd0}], m[{ad[13:5], 2'd3}], m[{ad[13:5], 2'd2}]}; \
      18: word = {m[{ad[13:4], 1'b1}], m[{ad[13:4], 1'b0}]}; \
      9: word = m[ad[13:3]]; \
      4: word = m[ad[13:3]] >> {ad[2], 2'b0} & 15; \
      2: word = m[ad[13:3]] >> {ad[2:1], 1'b0} & 3; \
      default: word = m[ad[13:3]] >> ad[2:0] & 1; \
    endcase \
  endfunction \
  function [17:0] merged(input [13:0] ad, input integer w, input [17:0] d); \
    case (w) \
      18: merged = {ad[1] ? d[17:9] : m[{ad[13:4], 1'b1}], ad[0] ? d[8:0] : m[{ad[13:4], 1'b0}]}; \
      9: merged = d[8:0]; \
      default: merged = d & ((1 << w) - 1); \
    endcase \
  endfunction \
  function [8:0] lane(input [13:0] ad, input integer w, input [17:0] d); \
    integer at; \
    begin \
      at = w == 9 ? 0 : w == 4 ? {ad[2], 2'b0} : w == 2 ? {ad[2:1], 1'b0} : ad[2:0]; \
      lane = m[ad[13:3]] & ~(((1 << w) - 1) << at) | (d & ((1 << w) - 1)) << at; \
    end \
  endfunction \
  function [17:0] shown(input [17:0] q, input integer w); /* narrow words fill all pins of a port */ \
    case (w) \
      9: shown = {2{q[8:0]}}; \
      4: shown = {2{1'b0, {2{q[3:0]}}}}; \
      2: shown = {2{1'b0, {4{q[1:0]}}}}; \
      1: shown = {2{1'b0, {8{q[0]}}}}; \
      default: shown = q; \
    endcase \
  endfunction
`endif

// DP16KD. `IV` fills the nine-bit words from 0 and from 1056 on; clk2 is port B's clock.
module ram16 #(parameter WA = 18, parameter WB = 18, parameter MA = "NORMAL", parameter MB = "NORMAL", parameter RA = 0,
               parameter RB = 0, parameter ASYNC = 0, parameter RELEASE = 0, parameter [2:0] DA = 0, parameter [2:0] DB = 0,
               parameter SA = "0b000", parameter SB = "0b000", parameter NA = 0, parameter NB = 0, parameter NE = 0,
               parameter [319:0] IV = 0)
  (input clk, input cea, input ocea, input wea, input rsta, input [2:0] csa, input [13:0] ada, input [17:0] dia,
   output [17:0] doa, input clk2, input ceb, input oceb, input web, input rstb, input [2:0] csb, input [13:0] adb, input [17:0] dib,
   output [17:0] dob);
`ifdef SIMULATION
  `RAM_WORDS
  wire cka = NA ? ~clk : clk, ckb = NB ? ~clk2 : clk2;
  wire xcea = cea ^ NE[0], xocea = ocea ^ NE[1], xwea = wea ^ NE[2], xrsta = rsta ^ NE[3];
  wire xceb = ceb ^ NE[4], xoceb = oceb ^ NE[5], xweb = web ^ NE[6], xrstb = rstb ^ NE[7];
  wire ona = xcea && csa == DA && !(!ASYNC && xrsta), onb = xceb && csb == DB && !(!ASYNC && xrstb);
  reg [17:0] la = 0, lb = 0, qa = 0, qb = 0;
  reg ha = 0, hb = 0;
  `RAM_PORT(cka, ona, xwea, ada, dia, xrsta, xocea, WA, MA, la, qa, ha)
  `RAM_PORT(ckb, onb, xweb, adb, dib, xrstb, xoceb, WB, MB, lb, qb, hb)
  assign doa = shown(RA ? qa : la, WA), dob = shown(RB ? qb : lb, WB);
`else
  DP16KD #(.DATA_WIDTH_A(WA), .DATA_WIDTH_B(WB), .WRITEMODE_A(MA), .WRITEMODE_B(MB), .REGMODE_A(RA ? "OUTREG" : "NOREG"),
    .REGMODE_B(RB ? "OUTREG" : "NOREG"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC"), .ASYNC_RESET_RELEASE(RELEASE ? "ASYNC" : "SYNC"),
    .CSDECODE_A(SA), .CSDECODE_B(SB), .CLKAMUX(NA ? "INV" : "CLKA"), .CLKBMUX(NB ? "INV" : "CLKB"), .GSR("DISABLED"),
    .CEAMUX(NE[0] ? "INV" : "CEA"), .OCEAMUX(NE[1] ? "INV" : "OCEA"), .WEAMUX(NE[2] ? "INV" : "WEA"), .RSTAMUX(NE[3] ? "INV" : "RSTA"),
    .CEBMUX(NE[4] ? "INV" : "CEB"), .OCEBMUX(NE[5] ? "INV" : "OCEB"), .WEBMUX(NE[6] ? "INV" : "WEB"), .RSTBMUX(NE[7] ? "INV" : "RSTB"),
    .INITVAL_00(IV), .INITVAL_21(IV)) cell_ (
    .CLKA(clk), .CEA(cea), .OCEA(ocea), .WEA(wea), .RSTA(rsta), .CSA0(csa[0]), .CSA1(csa[1]), .CSA2(csa[2]),
    .CLKB(clk2), .CEB(ceb), .OCEB(oceb), .WEB(web), .RSTB(rstb), .CSB0(csb[0]), .CSB1(csb[1]), .CSB2(csb[2]),
    `PINS14(ADA, ada), `PINS14(ADB, adb), `PINS18(DIA, dia), `PINS18(DIB, dib), `PINS18(DOA, doa), `PINS18(DOB, dob));
`endif
endmodule

// PDPW16KD: written 36 bits wide, read in any width; words of 36 bits come out with their halves exchanged (nextpnr:
// `pack_ebr`, and the generated memories of the vendor's tools).
module ram36 #(parameter W = 36, parameter R = 0, parameter ASYNC = 0, parameter RELEASE = 0, parameter [2:0] DW = 0,
               parameter [2:0] DR = 0, parameter SW = "0b000", parameter SR = "0b000", parameter NW = 0, parameter NR = 0,
               parameter [319:0] IV = 0)
  (input clk, input cew, input [2:0] csw, input [3:0] be, input [8:0] adw, input [35:0] di,
   input clk2, input cer, input ocer, input rst, input [2:0] csr, input [13:0] adr, output [35:0] do_);
`ifdef SIMULATION
  `RAM_WORDS
  wire ckw = NW ? ~clk : clk, ckr = NR ? ~clk2 : clk2;
  wire on = cer && csr == DR && !(!ASYNC && rst);
  reg [35:0] latch = 0, out = 0;
  reg held = 0;
  always @(posedge ckw) if (cew && csw == DW && !(!ASYNC && rst)) begin
    if (be[0]) m[{adw, 2'd0}] <= di[8:0];
    if (be[1]) m[{adw, 2'd1}] <= di[17:9];
    if (be[2]) m[{adw, 2'd2}] <= di[26:18];
    if (be[3]) m[{adw, 2'd3}] <= di[35:27];
  end
  generate
    if (ASYNC) begin
      always @(posedge ckr or posedge rst) if (rst) held <= 1; else held <= 0;
      always @(posedge ckr or posedge rst) if (rst) latch <= 0; else if (on) latch <= word(adr, W);
      always @(posedge ckr or posedge rst) if (rst) out <= 0; else if (ocer && !(RELEASE == 0 && held)) out <= latch;
    end else begin
      always @(posedge ckr) if (rst) latch <= 0; else if (on) latch <= word(adr, W);
      always @(posedge ckr) if (ocer) out <= rst ? 0 : latch;
    end
  endgenerate
  wire [35:0] q = R ? out : latch;
  assign do_ = W == 36 ? q : {18'b0, shown(q[17:0], W)};
`else
  wire [35:0] o;
  PDPW16KD #(.DATA_WIDTH_W(36), .DATA_WIDTH_R(W), .REGMODE(R ? "OUTREG" : "NOREG"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC"),
    .ASYNC_RESET_RELEASE(RELEASE ? "ASYNC" : "SYNC"), .CSDECODE_W(SW), .CSDECODE_R(SR), .CLKWMUX(NW ? "INV" : "CLKW"),
    .CLKRMUX(NR ? "INV" : "CLKR"), .GSR("DISABLED"), .INITVAL_00(IV), .INITVAL_21(IV)) cell_ (
    .CLKW(clk), .CEW(cew), .CSW0(csw[0]), .CSW1(csw[1]), .CSW2(csw[2]), `PINS4(BE, be), `PINS9(ADW, adw), `PINS36(DI, di),
    .CLKR(clk2), .CER(cer), .OCER(ocer), .RST(rst), .CSR0(csr[0]), .CSR1(csr[1]), .CSR2(csr[2]), `PINS14(ADR, adr), `PINS36(DO, o));
  assign do_ = o;
`endif
endmodule

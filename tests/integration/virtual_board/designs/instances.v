// Cells that have to be instantiated: registered multipliers and block RAM output registers. With SIMULATION they are
// written as behaviour, after the vendor's guides, for an independent simulator.

module multiply #(parameter IA = 0, parameter IB = 0, parameter P = 0, parameter O = 0, parameter S = 0,
                  parameter ASYNC = 0)
  (input clk, input [17:0] a, input [17:0] b, input ce, input rst, output [35:0] p);
`ifdef SIMULATION
  reg [17:0] ra = 0, rb = 0;
  reg [35:0] rp = 0, ro = 0;
  wire [17:0] xa = IA ? ra : a, xb = IB ? rb : b;
  wire [35:0] unsigned_product = xa * xb;
  wire signed [35:0] signed_product = $signed(xa) * $signed(xb);
  wire [35:0] product = S ? signed_product : unsigned_product;
  wire [35:0] xp = P ? rp : product;
  generate
    if (ASYNC) begin
      always @(posedge clk or posedge rst)
        if (rst) begin ra <= 0; rb <= 0; rp <= 0; ro <= 0; end
        else if (ce) begin ra <= a; rb <= b; rp <= product; ro <= xp; end
    end else begin
      always @(posedge clk)
        if (rst) begin ra <= 0; rb <= 0; rp <= 0; ro <= 0; end
        else if (ce) begin ra <= a; rb <= b; rp <= product; ro <= xp; end
    end
  endgenerate
  assign p = O ? ro : xp;
`else
  MULT18X18D #(
    .REG_INPUTA_CLK(IA ? "CLK0" : "NONE"), .REG_INPUTB_CLK(IB ? "CLK0" : "NONE"),
    .REG_PIPELINE_CLK(P ? "CLK0" : "NONE"), .REG_OUTPUT_CLK(O ? "CLK0" : "NONE"),
    .REG_INPUTA_CE("CE0"), .REG_INPUTB_CE("CE0"), .REG_PIPELINE_CE("CE0"), .REG_OUTPUT_CE("CE0"),
    .REG_INPUTA_RST("RST0"), .REG_INPUTB_RST("RST0"), .REG_PIPELINE_RST("RST0"), .REG_OUTPUT_RST("RST0"),
    .GSR("DISABLED"), .SOURCEB_MODE("B_SHIFT"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC")
  ) cell_ (
    .CLK0(clk), .CLK1(1'b0), .CLK2(1'b0), .CLK3(1'b0), .CE0(ce), .CE1(1'b1), .CE2(1'b1), .CE3(1'b1),
    .RST0(rst), .RST1(1'b0), .RST2(1'b0), .RST3(1'b0),
    .SIGNEDA(S ? 1'b1 : 1'b0), .SIGNEDB(S ? 1'b1 : 1'b0), .SOURCEA(1'b0), .SOURCEB(1'b0),
    .A0(a[0]), .A1(a[1]), .A2(a[2]), .A3(a[3]), .A4(a[4]), .A5(a[5]), .A6(a[6]), .A7(a[7]), .A8(a[8]), .A9(a[9]), .A10(a[10]), .A11(a[11]), .A12(a[12]), .A13(a[13]), .A14(a[14]), .A15(a[15]), .A16(a[16]), .A17(a[17]),
    .B0(b[0]), .B1(b[1]), .B2(b[2]), .B3(b[3]), .B4(b[4]), .B5(b[5]), .B6(b[6]), .B7(b[7]), .B8(b[8]), .B9(b[9]), .B10(b[10]), .B11(b[11]), .B12(b[12]), .B13(b[13]), .B14(b[14]), .B15(b[15]), .B16(b[16]), .B17(b[17]),
    .P0(p[0]), .P1(p[1]), .P2(p[2]), .P3(p[3]), .P4(p[4]), .P5(p[5]), .P6(p[6]), .P7(p[7]), .P8(p[8]), .P9(p[9]), .P10(p[10]), .P11(p[11]), .P12(p[12]), .P13(p[13]), .P14(p[14]), .P15(p[15]), .P16(p[16]), .P17(p[17]), .P18(p[18]), .P19(p[19]), .P20(p[20]), .P21(p[21]), .P22(p[22]), .P23(p[23]), .P24(p[24]), .P25(p[25]), .P26(p[26]), .P27(p[27]), .P28(p[28]), .P29(p[29]), .P30(p[30]), .P31(p[31]), .P32(p[32]), .P33(p[33]), .P34(p[34]), .P35(p[35])
  );
`endif
endmodule

// 1024 words of 18 bits: written through port A, read through port B, which has an output register with an enable and
// a reset.
module registered_ram #(parameter ASYNC = 0) (input clk, input [9:0] wa, input [17:0] wd, input we, input [9:0] ra, input re, input oe,
                       input rst, output [17:0] q);
`ifdef SIMULATION
  reg [17:0] m [0:1023];
  integer i;
  initial for (i = 0; i < 1024; i = i + 1) m[i] = 0;
  reg [17:0] latch = 0, out = 0;
  always @(posedge clk) if (we) m[wa] <= wd;
  generate
    if (ASYNC) begin
      always @(posedge clk or posedge rst)
        if (rst) begin latch <= 0; out <= 0; end
        else begin if (re) latch <= m[ra]; if (oe) out <= latch; end
    end else begin
      always @(posedge clk) begin
        if (rst) latch <= 0; else if (re) latch <= m[ra];
        if (oe) out <= rst ? 0 : latch;
      end
    end
  endgenerate
  assign q = out;
`else
  DP16KD #(
    .DATA_WIDTH_A(18), .DATA_WIDTH_B(18), .REGMODE_A("NOREG"), .REGMODE_B("OUTREG"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC"),
    .CSDECODE_A("0b101"), .CSDECODE_B("0b000"), .WRITEMODE_A("NORMAL"), .WRITEMODE_B("NORMAL"), .GSR("DISABLED")
  ) cell_ (
    .CLKA(clk), .CEA(1'b1), .WEA(1'b1), .RSTA(1'b0), .OCEA(1'b1), .CSA0(we), .CSA1(1'b0), .CSA2(1'b1),
    .CLKB(clk), .CEB(re), .WEB(1'b0), .RSTB(rst), .OCEB(oe), .CSB0(1'b0), .CSB1(1'b0), .CSB2(1'b0),
    .ADA0(1'b1), .ADA1(1'b1), .ADA2(1'b0), .ADA3(1'b0), .ADA4(wa[0]), .ADA5(wa[1]), .ADA6(wa[2]), .ADA7(wa[3]), .ADA8(wa[4]), .ADA9(wa[5]), .ADA10(wa[6]), .ADA11(wa[7]), .ADA12(wa[8]), .ADA13(wa[9]),
    .ADB0(1'b0), .ADB1(1'b0), .ADB2(1'b0), .ADB3(1'b0), .ADB4(ra[0]), .ADB5(ra[1]), .ADB6(ra[2]), .ADB7(ra[3]), .ADB8(ra[4]), .ADB9(ra[5]), .ADB10(ra[6]), .ADB11(ra[7]), .ADB12(ra[8]), .ADB13(ra[9]),
    .DIA0(wd[0]), .DIA1(wd[1]), .DIA2(wd[2]), .DIA3(wd[3]), .DIA4(wd[4]), .DIA5(wd[5]), .DIA6(wd[6]), .DIA7(wd[7]), .DIA8(wd[8]), .DIA9(wd[9]), .DIA10(wd[10]), .DIA11(wd[11]), .DIA12(wd[12]), .DIA13(wd[13]), .DIA14(wd[14]), .DIA15(wd[15]), .DIA16(wd[16]), .DIA17(wd[17]),
    .DOB0(q[0]), .DOB1(q[1]), .DOB2(q[2]), .DOB3(q[3]), .DOB4(q[4]), .DOB5(q[5]), .DOB6(q[6]), .DOB7(q[7]), .DOB8(q[8]), .DOB9(q[9]), .DOB10(q[10]), .DOB11(q[11]), .DOB12(q[12]), .DOB13(q[13]), .DOB14(q[14]), .DOB15(q[15]), .DOB16(q[16]), .DOB17(q[17])
  );
`endif
endmodule

module instances (input clk, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  wire [35:0] p [0:6];
  multiply #(0, 0, 0, 0, 1) m0 (clk, r[17:0], t[17:0], 1'b1, 1'b0, p[0]);
  multiply #(1, 0, 0, 0, 0) m1 (clk, r[18:1], t[18:1], r[31], &t[31:29], p[1]);
  multiply #(1, 1, 0, 0, 1) m2 (clk, r[19:2], t[19:2], r[30], &t[31:29], p[2]);
  multiply #(1, 1, 1, 1, 0) m3 (clk, r[20:3], t[20:3], 1'b1, 1'b0, p[3]);
  multiply #(0, 0, 1, 0, 1) m4 (clk, r[21:4], t[21:4], r[28], &t[29:27], p[4]);
  multiply #(1, 0, 1, 0, 1) m5 (clk, r[22:5], t[22:5], r[27], &t[28:26], p[5]);
  multiply #(0, 1, 1, 0, 0) m6 (clk, r[23:6], t[23:6], r[26], &t[27:25], p[6]);
  genvar i;
  generate for (i = 0; i < 7; i = i + 1) signature #(36) s (.clk(clk), .d(p[i]), .out(o[i])); endgenerate
  wire [17:0] q;
  registered_ram ram (clk, {5'b0, r[4:0]}, t[17:0], r[20], {5'b0, r[9:5] ^ {4'b0, r[9:5] == r[4:0]}}, r[21], t[20], 1'b0, q);
  signature #(18) s7 (.clk(clk), .d(q), .out(o[7]));
  assign o[15:8] = r[7:0];
endmodule

// Resets of the registers inside multipliers and block RAMs, with the clock and without.
module resets (input clk, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  reg [3:0] rst = 4'b1111;
  always @(posedge clk) rst <= {&t[31:29], &t[28:26], ~|r[4:2], ~|r[9:7]};
  wire [35:0] p [0:4];
  multiply #(1, 0, 0, 0, 0, 1) m0 (clk, r[18:1], t[18:1], r[31], rst[0], p[0]);
  multiply #(1, 1, 0, 0, 1, 1) m1 (clk, r[19:2], t[19:2], r[30], rst[1], p[1]);
  multiply #(1, 1, 1, 1, 0, 1) m2 (clk, r[20:3], t[20:3], 1'b1, rst[2], p[2]);
  multiply #(0, 0, 1, 0, 1, 1) m3 (clk, r[21:4], t[21:4], r[28], rst[3], p[3]);
  multiply #(0, 0, 0, 1, 1, 0) m4 (clk, r[22:5], t[22:5], 1'b1, rst[3], p[4]);
  genvar i;
  generate
    for (i = 0; i < 5; i = i + 1) begin : products
      signature #(36) s (.clk(clk), .d(p[i]), .out(o[i]));
    end
    for (i = 0; i < 2; i = i + 1) begin : rams
      wire [17:0] q;
      registered_ram #(i) ram (clk, {6'b0, r[3:0]}, t[17:0], r[20], {6'b0, r[8:5] ^ {3'b0, r[8:5] == r[3:0]}}, r[21],
                               t[20], rst[i], q);
      signature #(18) s (.clk(clk), .d(q), .out(o[5 + i]));
    end
  endgenerate
  assign o[15:7] = {rst, r[4:0]};
endmodule

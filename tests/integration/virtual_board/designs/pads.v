// Registers in pads, single and double data rate, and tristate outputs. KIND 0 has a register behind rx, 1 a pair.
module out_register #(parameter KIND = 0) (input clk, input d, input ce, input r, output q);
`ifdef SIMULATION
  reg s = KIND[0];
  generate
    if (KIND < 2) begin always @(posedge clk or posedge r) if (r) s <= KIND[0]; else if (ce) s <= d; end
    else begin always @(posedge clk) if (r) s <= KIND[0]; else if (ce) s <= d; end
  endgenerate
  assign q = s;
`else
  generate
    if (KIND == 0) OFS1P3DX cell_ (.D(d), .SP(ce), .SCLK(clk), .CD(r), .Q(q));
    if (KIND == 1) OFS1P3BX cell_ (.D(d), .SP(ce), .SCLK(clk), .PD(r), .Q(q));
    if (KIND == 2) OFS1P3IX cell_ (.D(d), .SP(ce), .SCLK(clk), .CD(r), .Q(q));
    if (KIND == 3) OFS1P3JX cell_ (.D(d), .SP(ce), .SCLK(clk), .PD(r), .Q(q));
  endgenerate
`endif
endmodule

// Two bits a cycle: the first while the clock is high, two cycles after they were taken.
module out_pair (input clk, input [1:0] d, output q);
`ifdef SIMULATION
  reg [1:0] a = 0, b = 0, c = 0;
  always @(posedge clk) begin a <= d; b <= a; c <= b; end
  assign q = clk ? c[0] : c[1];
`else
  ODDRX1F cell_ (.SCLK(clk), .RST(1'b0), .D0(d[0]), .D1(d[1]), .Q(q));
`endif
endmodule

module in_register #(parameter PAIR = 0) (input clk, input d, output [1:0] q);
`ifdef SIMULATION
  reg p = 0, n = 0;
  reg [1:0] s = 0;
  always @(posedge clk) p <= d;
  always @(negedge clk) n <= d;
  always @(posedge clk) s <= {n, p};
  assign q = PAIR ? s : {1'b0, p};
`else
  generate
    if (PAIR) IDDRX1F cell_ (.SCLK(clk), .RST(1'b0), .D(d), .Q0(q[0]), .Q1(q[1]));
    else begin
      IFS1P3DX cell_ (.D(d), .SP(1'b1), .SCLK(clk), .CD(1'b0), .Q(q[0]));
      assign q[1] = 0;
    end
  endgenerate
`endif
endmodule

// A pad that the design lets go; then it is pulled up.
module open_pad (input d, input t, output pad, output level);
`ifdef SIMULATION
  assign pad = t | d, level = pad;
`else
  BB cell_ (.I(d), .T(t), .B(pad), .O(level));
`endif
endmodule

module pads #(parameter KIND = 0) (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [1:0] rst = 0;
  always @(posedge clk) rst <= {&r[31:29], ~|r[28:27]};
  genvar i;
  generate
    for (i = 0; i < 4; i = i + 1) begin : singles
      out_register #(i) s (clk, r[i], r[i + 4], rst[0], o[i]);
      // The other edges of the chip.
      out_register #(i) e (clk, r[i + 8], 1'b1, rst[1], o[i + 8]);
    end
  endgenerate
  out_pair p0 (clk, r[9:8], o[4]);
  out_pair p1 (~clk, r[11:10], o[12]);
  in_register #(KIND) p2 (clk, rx, o[6:5]);
  wire level;
  open_pad t0 (r[12], r[13], o[7], level);
  reg seen = 0;
  always @(posedge clk) seen <= level;
  assign o[15:13] = {seen, r[15:14]};
endmodule

// A pad whose data, release and input all have registers, cleared, set and cleared by one reset.
module bus_pad #(parameter SYNC = 0) (input clk, input d, input t, input ce, input r, output pad, output q);
`ifdef SIMULATION
  reg a = 0, b = 1, c = 0;
  assign pad = b | a, q = c;
  generate
    if (SYNC) begin always @(posedge clk) if (r) {a, b, c} <= 3'b010; else if (ce) {a, b, c} <= {d, t, pad}; end
    else begin
      always @(posedge clk or posedge r) if (r) {a, b, c} <= 3'b010; else if (ce) {a, b, c} <= {d, t, pad};
    end
  endgenerate
`else
  wire a, b, level;
  generate
    if (SYNC) begin
      OFS1P3IX d_ (.D(d), .SP(ce), .SCLK(clk), .CD(r), .Q(a));
      OFS1P3JX t_ (.D(t), .SP(ce), .SCLK(clk), .PD(r), .Q(b));
      IFS1P3IX i_ (.D(level), .SP(ce), .SCLK(clk), .CD(r), .Q(q));
    end else begin
      OFS1P3DX d_ (.D(d), .SP(ce), .SCLK(clk), .CD(r), .Q(a));
      OFS1P3BX t_ (.D(t), .SP(ce), .SCLK(clk), .PD(r), .Q(b));
      IFS1P3DX i_ (.D(level), .SP(ce), .SCLK(clk), .CD(r), .Q(q));
    end
  endgenerate
  BB cell_ (.I(a), .T(b), .B(pad), .O(level));
`endif
endmodule

// What a pad reads, late: as it is (0), through a register (1), both edges (2), by a delay that could be moved (3).
module late_pad #(parameter KIND = 0) (input clk, input d, output pad, output [1:0] q);
`ifdef SIMULATION
  assign pad = d;
  generate
    if (KIND == 1) begin in_register #(0) p (clk, d, q); end
    else if (KIND == 2) begin in_register #(1) p (clk, d, q); end
    else assign q = {1'b0, d};
  endgenerate
`else
  wire level, late;
  BB cell_ (.I(d), .T(1'b0), .B(pad), .O(level));
  generate
    if (KIND == 3) DELAYF #(.DEL_VALUE(9)) delay_ (.A(level), .LOADN(1'b1), .MOVE(1'b0), .DIRECTION(1'b0), .Z(late));
    else DELAYG #(.DEL_VALUE(30)) delay_ (.A(level), .Z(late));
    if (KIND == 1 || KIND == 2) in_register #(KIND - 1) p (clk, late, q);
    else assign q = {1'b0, late};
  endgenerate
`endif
endmodule

// A register or a pair in a pad, and a delay behind it.
module late_out #(parameter PAIR = 0) (input clk, input [1:0] d, output pad);
`ifdef SIMULATION
  generate if (PAIR) out_pair p (clk, d, pad); else out_register #(2) p (clk, d[0], 1'b1, 1'b0, pad); endgenerate
`else
  wire early;
  generate if (PAIR) out_pair p (clk, d, early); else out_register #(2) p (clk, d[0], 1'b1, 1'b0, early); endgenerate
  DELAYG #(.DEL_VALUE(5)) delay_ (.A(early), .Z(pad));
`endif
endmodule

// Two bits a cycle on a pad that a register lets go.
module pair_pad (input clk, input [1:0] d, input t, output pad);
`ifdef SIMULATION
  reg z = 0;
  wire both;
  always @(posedge clk) z <= t;
  out_pair p (clk, d, both);
  assign pad = z | both;
`else
  wire both, z;
  out_pair p (clk, d, both);
  OFS1P3DX t_ (.D(t), .SP(1'b1), .SCLK(clk), .CD(1'b0), .Q(z));
  OBZ cell_ (.I(both), .T(z), .O(pad));
`endif
endmodule

// A pad with settings of its own, and what it is pulled to.
module set_pad #(parameter KIND = 0) (input d, input t, output pad, output level);
`ifdef SIMULATION
  generate
    if (KIND == 0) assign pad = d & ~t;  // pulled down
    else if (KIND == 1) assign pad = d | t;  // pulled up
    else assign pad = 0;  // an open drain that is pulled down
  endgenerate
  assign level = pad;
`else
  generate
    if (KIND == 0) begin
      (* PULLMODE = "DOWN", DRIVE = "16", SLEWRATE = "FAST", HYSTERESIS = "OFF", CLAMP = "ON" *)
      TRELLIS_IO #(.DIR("BIDIR")) cell_ (.B(pad), .I(d), .O(level), .T(t));
    end else if (KIND == 1) begin
      (* PULLMODE = "UP", DRIVE = "4", SLEWRATE = "SLOW", OPENDRAIN = "ON" *)
      TRELLIS_IO #(.DIR("BIDIR")) cell_ (.B(pad), .I(d), .O(level), .T(t));
    end else begin
      (* PULLMODE = "DOWN", DRIVE = "12", OPENDRAIN = "ON", HYSTERESIS = "ON" *)
      TRELLIS_IO #(.DIR("BIDIR")) cell_ (.B(pad), .I(d), .O(level), .T(t));
    end
  endgenerate
`endif
endmodule

module buses (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [1:0] rst = 0;
  always @(posedge clk) rst <= {&r[31:29], ~|r[28:26]};
  wire [3:0] q;
  genvar i;
  generate
    for (i = 0; i < 2; i = i + 1) begin : edges
      bus_pad #(i) s (clk, r[i], r[i + 2], r[i + 4], rst[i], o[i], q[i]);
      bus_pad #(i) e (clk, r[i + 6], r[i + 8], r[i + 10] ^ rx, rst[i], o[i + 4], q[i + 2]);
    end
  endgenerate
  wire [7:0] p;
  late_pad #(0) l0 (clk, r[12], o[2], p[1:0]);
  late_pad #(1) l1 (clk, r[13], o[3], p[3:2]);
  late_pad #(2) l2 (clk, r[14] ^ rx, o[6], p[5:4]);
  late_pad #(3) l3 (clk, r[15], o[9], p[7:6]);
  late_out #(1) l4 (clk, r[17:16], o[7]);
  late_out #(0) l5 (clk, r[18:17], o[8]);
  wire [2:0] level;
  set_pad #(0) s0 (r[18], r[19], o[10], level[0]);
  set_pad #(1) s1 (r[20], r[21], o[11], level[1]);
  pair_pad s2 (clk, r[23:22], r[24], o[12]);
  set_pad #(2) s3 (r[24], r[25], o[13], level[2]);
  signature #(15) s4 (.clk(clk), .d({q, p, level}), .out(o[14]));
  reg [3:0] seen = 0;
  always @(negedge clk) seen <= q ^ {r[0], level};
  assign o[15] = ^seen;
endmodule

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
  reg p = 0, n = 0, n2 = 0;
  reg [1:0] s = 0;
  always @(posedge clk) p <= d;
  always @(negedge clk) begin n <= d; n2 <= n; end
  always @(posedge clk) s <= {p, n2};
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

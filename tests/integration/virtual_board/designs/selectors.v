// Selectors of two clocks in every mode, a clock divided by three and a half, and registers that clock each other.

// Written after the vendor's description (FPGA-TN-02200): an input is let go, and the other taken, at the edge where it
// comes to the level that the output rests at.
module selector #(parameter MODE = "POS") (input clk0, input clk1, input [1:0] select, input force_, output out);
`ifdef SIMULATION
  localparam HIGH = MODE == "POS" || MODE == "CLK0_HIGH" || MODE == "CLK1_HIGH";
  localparam NO0 = MODE == "CLK1_LOW" || MODE == "CLK1_HIGH", NO1 = MODE == "CLK0_LOW" || MODE == "CLK0_HIGH";
  reg on0 = 0, on1 = 0;
  wire edge0 = HIGH ? clk0 : !clk0, edge1 = HIGH ? clk1 : !clk1;
  wire no0 = NO0 | on1, no1 = NO1 | on0;
  always @(posedge edge0 or posedge no0) if (no0) on0 <= 0; else on0 <= select[0];
  always @(posedge edge1 or posedge no1) if (no1) on1 <= 0; else on1 <= select[1];
  wire switched = &select ? HIGH : HIGH ? (clk0 | !on0) & (clk1 | !on1) : (clk0 & on0) | (clk1 & on1);
  wire normal = MODE == "CLK0" ? clk0 : MODE == "CLK1" ? clk1 : MODE == "LOW" ? 0 : MODE == "HIGH" ? 1 : switched;
  assign out = force_ ? (select == 1 ? clk0 : select == 2 ? clk1 : 0) : normal;
`else
  // The tools take the mode from an attribute, which the test sets in the packer's input.
  DCSC cell_ (.CLK0(clk0), .CLK1(clk1), .SEL0(select[0]), .SEL1(select[1]), .MODESEL(force_), .DCSOUT(out));
`endif
endmodule

// Counts edges.
module edges (input clk, input go, output reg [31:0] q);
  initial q = 32'h1234567;
  always @(posedge clk) if (go) q <= {q[30:0], q[31]} + 32'h9e3779b9;
endmodule

module selectors #(parameter M0 = "POS", parameter M1 = "NEG") (input clk, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [31:0] d = 0;
  always @(negedge clk) d <= r;
  reg [3:0] slow = 0;
  reg half = 0;
  always @(posedge clk) {slow, half} <= {slow + 4'd3, ~half ^ (d[3:0] == 0)};
  // Selections change seldom, also to none and to both.
  reg [1:0] s0 = 0, s1 = 0;
  reg f = 0;
  always @(negedge clk) begin
    if (d[20:18] == 0) s0 <= d[17:16];
    if (d[23:21] == 0) s1 <= d[25:24];
    f <= d[31:28] == 0 || f && d[27:26] != 0;
  end
  wire c0, c1;
  selector #(.MODE(M0)) x0 (half, slow[2], s0, f, c0);
  selector #(.MODE(M1)) x1 (slow[3], half, s1, 1'b0, c1);
  wire [31:0] q0, q1, q2;
  // A selection may make an edge of its own: what changes with it would be read in a race. What a clock that is high
  // from the start does is no matter either.
  reg [2:0] wait_ = 0;
  always @(negedge clk) if (wait_ != 7) wait_ <= wait_ + 1;
  wire go = wait_ == 7;
  edges e0 (c0, go, q0);
  edges e1 (c1, go, q1);
  edges e2 (!c1, go, q2);
  assign o = {half, s0, q2[4:0], q1[3:0], q0[3:0]};
endmodule

`ifdef SIMULATION
// Every mode at once.
module all_selectors (input clk, output [15:0] o0, output [15:0] o1, output [15:0] o2, output [15:0] o3, output [15:0] o4);
  selectors #("POS", "NEG") s0 (clk, o0);
  selectors #("CLK0_HIGH", "CLK0_LOW") s1 (clk, o1);
  selectors #("CLK1_LOW", "CLK1_HIGH") s2 (clk, o2);
  selectors #("CLK1", "CLK0") s3 (clk, o3);
  selectors #("LOW", "HIGH") s4 (clk, o4);
endmodule
`endif

// Seven halves of a period, of which four are high.
module divider (input clk, output out);
`ifdef SIMULATION
  reg [2:0] p = 6, n = 6;
  reg q0 = 0, q1 = 0;
  always @(posedge clk) begin p <= p == 6 ? 0 : p + 1; if (p == 0 || p == 2) q0 <= ~q0; end
  always @(negedge clk) begin n <= n == 6 ? 0 : n + 1; if (n == 3 || n == 5) q1 <= ~q1; end
  assign out = q0 ^ q1;
`else
  CLKDIVF #(.DIV("3.5")) cell_ (.CLKI(clk), .RST(1'b0), .ALIGNWD(1'b0), .CDIVX(out));
`endif
endmodule

module divided (input clk, output [15:0] o);
  wire slow;
  divider d0 (clk, slow);
  // What two clocks do at one moment is a race: nothing passes from the faster to the slower.
  wire [31:0] q0, q1;
  taker t0 (slow, 32'h9e3779b9, q0);
  taker #(1) t1 (slow, 32'h7f4a7c15, q1);
  reg [31:0] back = 0;
  always @(posedge clk) back <= {back[30:0], back[31]} ^ q0 ^ {q1[15:0], q1[31:16]};
  assign o = {back[5:0], q1[4:0], q0[4:0]};
endmodule

// Two registers that clock each other on and on, while rx is low.
module ringing (input clk, input rx, output tx, output [3:0] led);
  reg q = 0, p = 0, n = 0;
  wire gated;
  LUT4 #(.INIT(16'h0909)) ring (.A(q), .B(p), .C(rx), .D(1'b0), .Z(gated));
  always @(posedge gated) q <= ~q;
  always @(negedge gated) p <= ~p;
  always @(posedge clk) n <= q;
  assign tx = n, led = {4{q}};
endmodule

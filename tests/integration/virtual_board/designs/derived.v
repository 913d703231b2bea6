// Clocks that logic makes, gates and selects, ones that clock each other, and what passes between them.

// A clock behind a latch that is open while it is low.
module gate (input clk, input enable, output gated);
`ifdef SIMULATION
  reg open = 0;
  always @* if (!clk) open = enable;
  assign gated = clk & open;
`else
  DCCA cell_ (.CLKI(clk), .CE(enable), .CLKO(gated));
`endif
endmodule

// One of two clocks, changed over while each is high.
module switch (input clk0, input clk1, input select, output out);
`ifdef SIMULATION
  reg on0 = 0, on1 = 0;
  always @(posedge clk0 or posedge on1) if (on1) on0 <= 0; else on0 <= !select;
  always @(posedge clk1 or posedge on0) if (on0) on1 <= 0; else on1 <= select;
  assign out = (clk0 | !on0) & (clk1 | !on1);
`else
  DCSC #(.DCSMODE("POS")) cell_ (
    .CLK0(clk0), .CLK1(clk1), .SEL0(!select), .SEL1(select), .MODESEL(1'b0), .DCSOUT(out));
`endif
endmodule

// Counts its own clock's edges, and takes a word of another domain.
module taker #(parameter FALLING = 0) (input clk, input [31:0] d, output [31:0] q);
  reg [31:0] s = 32'h1234567;
  wire [31:0] next = {s[30:0], s[31]} + d;
  generate
    if (FALLING) begin always @(negedge clk) s <= next; end
    else begin always @(posedge clk) s <= next; end
  endgenerate
  assign q = s;
endmodule

module derived (input clk, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [31:0] d = 0;
  always @(negedge clk) d <= r;

  // A register's output.
  reg half = 0;
  always @(posedge clk) half <= ~half ^ (d[3:0] == 0);
  wire [31:0] of_half;
  taker c0 (half, d, of_half);
  // Logic of the clock and a register.
  wire [31:0] of_logic;
  wire logic_clock = clk & d[5];
  taker c1 (logic_clock, d ^ 32'h55, of_logic);
  // A gate, and its falling edge.
  wire gated;
  gate g0 (clk, d[7], gated);
  wire [31:0] of_gate, of_fall;
  taker c2 (gated, d, of_gate);
  taker #(1) c3 (gated, r, of_fall);
  // A counter whose bits clock each other.
  reg [3:0] ripple = 0;
  always @(posedge clk) ripple[0] <= ~ripple[0];
  always @(negedge ripple[0]) ripple[1] <= ~ripple[1];
  always @(negedge ripple[1]) ripple[2] <= ~ripple[2];
  always @(negedge ripple[2] or posedge half) if (half) ripple[3] <= 0; else ripple[3] <= ~ripple[3];
  // A choice of two.
  reg [3:0] slow = 0;
  always @(posedge clk) slow <= slow + 1;
  wire switched;
  switch s0 (half, slow[1], d[12] & d[13], switched);
  wire [31:0] of_switch;
  taker c4 (switched, d, of_switch);

  assign o = {slow[3], of_switch[2:0], ripple, of_fall[1:0], of_gate[1:0], of_logic[1:0], of_half[1:0]};
endmodule

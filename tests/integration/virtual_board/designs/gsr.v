// The chip-wide reset, active low, pulsed by a counter that it leaves alone. Registers without a reset of their own are
// under it. With SIMULATION it is written as behaviour.
module keep #(parameter W = 5, parameter INIT = 0) (input clk, input [W-1:0] d, output [W-1:0] q);
`ifdef SIMULATION
  reg [W-1:0] r = INIT;
  always @(posedge clk) r <= d;
  assign q = r;
`else
  genvar i;
  generate for (i = 0; i < W; i = i + 1) begin : bits
    TRELLIS_FF #(.GSR("DISABLED"), .CEMUX("1"), .CLKMUX("CLK"), .LSRMUX("LSR"), .REGSET(INIT >> i & 1 ? "SET" : "RESET"))
      ff (.CLK(clk), .LSR(1'b0), .DI(d[i]), .Q(q[i]));
  end endgenerate
`endif
endmodule

module gsr #(parameter SYNC = 0) (input clk, output [15:0] o);
  wire [4:0] free;
  wire gsr_n;
  keep #(5, 3) counter (.clk(clk), .d(free + 5'd1), .q(free));
  keep #(1, 1) trigger (.clk(clk), .d(!(free == 7 || free == 8 || free == 21)), .q(gsr_n));
  reg [9:0] count = 10'h155;
`ifdef SIMULATION
  reg late = 0;
  always @(posedge clk) late <= !gsr_n;
  wire reset = SYNC ? !gsr_n | late : !gsr_n;
  always @(posedge clk or posedge reset) if (reset) count <= 10'h155; else count <= count + 3;
`else
  generate
    if (SYNC) SGSR cell_ (.GSR(gsr_n), .CLK(clk));
    else GSR cell_ (.GSR(gsr_n));
  endgenerate
  always @(posedge clk) count <= count + 3;
`endif
  assign o = {free, gsr_n, count};
endmodule

// The chip-wide reset, active low, pulsed by a counter that it leaves alone. Registers without a reset of their own, and
// memories, are under it. With SIMULATION it is written as behaviour.
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
  wire [8:0] shown;
  wire [4:0] other = free ^ 5'd3;
`ifdef SIMULATION
  // With SYNC it ends with the second edge after its input has.
  reg first = 1, second = 1;
  always @(posedge clk) first <= !gsr_n;
  always @(posedge clk or negedge gsr_n) if (!gsr_n) second <= 1; else second <= first;
  wire reset = SYNC ? second : !gsr_n;
  always @(posedge clk or posedge reset) if (reset) count <= 10'h155; else count <= count + 3;
  // To a block RAM it is as a reset of its own: writes stop under one that waits for the clock.
  reg [8:0] memory [0:31], latch = 0;
  integer i;
  initial for (i = 0; i < 32; i = i + 1) memory[i] = 0;
  generate
    if (SYNC) begin
      always @(posedge clk) if (reset) latch <= 0; else begin memory[free] <= count[8:0]; latch <= memory[other]; end
    end else begin
      always @(posedge clk) memory[free] <= count[8:0];
      always @(posedge clk or posedge reset) if (reset) latch <= 0; else latch <= memory[other];
    end
  endgenerate
  assign shown = latch;
`else
  generate
    if (SYNC) SGSR cell_ (.GSR(gsr_n), .CLK(clk));
    else GSR cell_ (.GSR(gsr_n));
  endgenerate
  always @(posedge clk) count <= count + 3;
  DP16KD #(.DATA_WIDTH_A(9), .DATA_WIDTH_B(9), .RESETMODE(SYNC ? "SYNC" : "ASYNC"), .GSR("ENABLED")) memory (
    .CLKA(clk), .CEA(1'b1), .OCEA(1'b1), .WEA(1'b1), .RSTA(1'b0), .CSA0(1'b0), .CSA1(1'b0), .CSA2(1'b0),
    .CLKB(clk), .CEB(1'b1), .OCEB(1'b1), .WEB(1'b0), .RSTB(1'b0), .CSB0(1'b0), .CSB1(1'b0), .CSB2(1'b0),
    .ADA3(free[0]), .ADA4(free[1]), .ADA5(free[2]), .ADA6(free[3]), .ADA7(free[4]),
    .ADB3(other[0]), .ADB4(other[1]), .ADB5(other[2]), .ADB6(other[3]), .ADB7(other[4]),
    .DIA0(count[0]), .DIA1(count[1]), .DIA2(count[2]), .DIA3(count[3]), .DIA4(count[4]), .DIA5(count[5]),
    .DIA6(count[6]), .DIA7(count[7]), .DIA8(count[8]), .DOB0(shown[0]), .DOB1(shown[1]), .DOB2(shown[2]),
    .DOB3(shown[3]), .DOB4(shown[4]), .DOB5(shown[5]), .DOB6(shown[6]), .DOB7(shown[7]), .DOB8(shown[8]));
`endif
  assign o = {free, gsr_n, count ^ {shown, 1'b0}};
endmodule

// Pads that the tools' constraints make what they are: open drains with a pull each way and without, one of which never
// lets go by itself, and a differential output. What each should show is shown at plain outputs.
module pins (input clk, inout [2:0] d, output q, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [2:0] i = 0, t = 0;
  reg x = 0;
  always @(posedge clk) {x, t, i} <= {r[6], 1'b0, r[4:0]};
  wire [2:0] back;
  genvar k;
  generate
    for (k = 0; k < 3; k = k + 1) begin : pad
      TRELLIS_IO #(.DIR("BIDIR")) cell_ (.I(i[k]), .T(k < 2 ? t[k] : 1'b0), .B(d[k]), .O(back[k]));
    end
  endgenerate
  assign q = x;
  // Where a pad is let go, what it reads, and what the pair shows.
  assign o = {9'b0, x, back, t | i};
endmodule

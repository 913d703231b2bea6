module top (
    input  logic clk,
    input  logic rst,
    output logic led
);
  always_ff @(posedge clk) led <= !rst;
endmodule

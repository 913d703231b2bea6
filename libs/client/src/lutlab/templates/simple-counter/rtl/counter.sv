// Counts from 0 to `limit` while `enable` is high, and begins again.
module counter #(
    parameter WIDTH = 8
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             enable,
    input  logic [WIDTH-1:0] limit,
    output logic [WIDTH-1:0] count,
    output logic             wrapped
);
  always_ff @(posedge clk) begin
    wrapped <= 1'b0;
    if (rst) count <= '0;
    else if (enable) begin
      count   <= count >= limit ? '0 : count + 1'b1;
      wrapped <= count >= limit;
    end
  end
endmodule

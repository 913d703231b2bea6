// Proven for every run, however long: `lutlab formal .`
module counter_properties #(
    parameter WIDTH = 8
) (
    input logic             clk,
    input logic             rst,
    input logic             enable,
    input logic [WIDTH-1:0] limit,
    input logic [WIDTH-1:0] count,
    input logic             wrapped
);
  default clocking @(posedge clk);
  endclocking
  default disable iff (rst);

  initial assume (rst);

  holds : assert property (!enable |=> $stable(count) && !wrapped);
  begins_again : assert property (enable && count >= limit |=> count == 0 && wrapped);
  counts : assert property (enable && count < limit |=> count == $past(count) + 1'b1 && !wrapped);
  wraps : cover property (wrapped);
endmodule

bind counter counter_properties #(.WIDTH(WIDTH)) properties (.*);

// The butterfly's timing, and that what comes out is reduced. Bound into every butterfly.
module butterfly_properties (
    input logic        clk,
    input logic        rst,
    input logic        valid_in,
    input logic [11:0] a,
    input logic [11:0] b,
    input logic [11:0] zeta,
    input logic        valid_out,
    input logic [11:0] sum,
    input logic [11:0] difference,
    input logic [23:0] product,
    input logic [11:0] a1,
    input logic [11:0] a2,
    input logic [11:0] t
);
  localparam int Q = 3329;

  default clocking ticks @(posedge clk);
  endclocking
  default disable iff (rst);

  initial assume (rst);
  reduced_inputs : assume property (a < Q && b < Q && zeta < Q);

  three_cycles : assert property (valid_in |-> ##3 valid_out);
  nothing_else : assert property (!valid_in |-> ##3 !valid_out);

  // The multiplication itself is for the simulation: what is proven here is everything around it.
  property sum_is_right;
    a2 < Q && t < Q |=> sum < Q && (sum == $past(a2) + $past(t) || sum + Q == $past(a2) + $past(t));
  endproperty
  adds : assert property (sum_is_right);
  property difference_is_right;
    a2 < Q && t < Q
    |=> difference < Q && (difference + $past(t) == $past(a2) || difference + $past(t) == $past(a2) + Q);
  endproperty
  subtracts : assert property (difference_is_right);

  comes_out : cover property (valid_out ##1 !valid_out);
endmodule

bind butterfly butterfly_properties properties (.*);

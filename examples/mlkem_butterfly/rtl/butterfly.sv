// A butterfly of the forward transform (FIPS 203, algorithm 9): sum = a + zeta * b, difference = a - zeta * b, modulo q.
//
// Coefficients are below q. Three clock cycles from `valid_in` to `valid_out`, whatever the values are.
module butterfly (
    input  logic        clk,
    input  logic        rst,
    input  logic        valid_in,
    input  logic [11:0] a,
    input  logic [11:0] b,
    input  logic [11:0] zeta,
    output logic        valid_out,
    output logic [11:0] sum,
    output logic [11:0] difference
);
  localparam logic [12:0] Q = 13'd3329;

  logic [23:0] product;
  logic [11:0] a1, a2, reduced, t;
  logic valid1, valid2;
  logic [12:0] added, added_less, taken;
  logic [11:0] taken_more;

  reduce u_reduce (
      .value (product),
      .result(reduced)
  );

  assign added      = {1'b0, a2} + {1'b0, t};
  assign added_less = added - Q;
  assign taken      = {1'b0, a2} - {1'b0, t};
  assign taken_more = taken[11:0] + Q[11:0];

  always_ff @(posedge clk) begin
    product    <= 24'(zeta) * 24'(b);
    a1         <= a;
    t          <= reduced;
    a2         <= a1;
    sum        <= added_less[12] ? added[11:0] : added_less[11:0];
    difference <= taken[12] ? taken_more : taken[11:0];
  end

  always_ff @(posedge clk) begin
    if (rst) {valid_out, valid2, valid1} <= '0;
    else {valid_out, valid2, valid1} <= {valid2, valid1, valid_in};
  end
endmodule

// Barrett reduction modulo q = 3329 of a product of two reduced numbers.
//
// 5039 = floor(2^24 / q). For value < q^2 the estimate (value * 5039) >> 24 is the quotient or one less, so one
// conditional subtraction is left; it is done in every case and chosen by a mask.
module reduce (
    input  logic [23:0] value,
    output logic [11:0] result
);
  localparam logic [12:0] Q = 13'd3329;
  localparam logic [36:0] RECIPROCAL = 37'd5039;

  logic [12:0] quotient, rest, less;

  assign quotient = 13'((37'(value) * RECIPROCAL) >> 24);
  assign rest     = value[12:0] - quotient * Q;
  assign less     = rest - Q;
  assign result   = less[12] ? rest[11:0] : less[11:0];
endmodule

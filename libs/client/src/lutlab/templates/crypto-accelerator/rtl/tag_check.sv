// Compares two 128-bit tags byte by byte. It looks at all sixteen bytes, also after the first that differs: a comparison
// that stops early tells an attacker how far a guess was right. Try it: end when a byte differs, and run `lutlab verify .`
module tag_check (
    input  logic         clk,
    input  logic         rst,
    input  logic         start,
    input  logic [127:0] given,
    input  logic [127:0] expected,
    output logic         done,
    output logic         equal
);
  logic [127:0] rest;
  logic [3:0] place;
  logic busy, differs;

  always_ff @(posedge clk) begin
    done <= 1'b0;
    if (rst) begin
      busy    <= 1'b0;
      place   <= '0;
      differs <= 1'b0;
      equal   <= 1'b0;
      rest    <= '0;
    end else if (start && !busy) begin
      busy    <= 1'b1;
      place   <= '0;
      differs <= 1'b0;
      equal   <= 1'b0;
      rest    <= given ^ expected;
    end else if (busy) begin
      rest    <= rest >> 8;
      place   <= place + 1'b1;
      differs <= differs | (rest[7:0] != 8'd0);
      if (place == 4'd15) begin
        busy  <= 1'b0;
        done  <= 1'b1;
        equal <= !(differs | (rest[7:0] != 8'd0));
      end
    end
  end
endmodule

// Ends with $finish if all is well, with $fatal at the first thing that is not: `lutlab sim .`
module tag_check_tb;
  logic clk = 1'b0, rst = 1'b1, start = 1'b0, done, equal;
  logic [127:0] given, expected;

  tag_check dut (.clk, .rst, .start, .given, .expected, .done, .equal);

  always #5 clk = ~clk;

  task automatic compare(input logic [127:0] a, input logic [127:0] b);
    int unsigned cycles;
    given = a;
    expected = b;
    start = 1'b1;
    @(negedge clk);
    start = 1'b0;
    cycles = 0;
    while (!done) begin
      @(negedge clk);
      cycles++;
    end
    if (equal != (a == b)) $fatal(1, "%h against %h: equal is %b", a, b, equal);
    if (cycles != 16) $fatal(1, "%h against %h took %0d cycles", a, b, cycles);
    @(negedge clk);
  endtask

  initial begin
    repeat (2) @(negedge clk);
    rst = 1'b0;
    compare(128'h00112233445566778899aabbccddeeff, 128'h00112233445566778899aabbccddeeff);
    for (int unsigned place = 0; place < 128; place++) compare(128'd0, 128'd1 << place);
    $finish;
  end
endmodule

// Ends with $finish if all is well, with $fatal at the first thing that is not: `lutlab sim .`
module counter_tb;
  logic clk = 1'b0, rst = 1'b1, enable = 1'b0, wrapped;
  logic [7:0] limit = 8'd5, count;

  counter dut (.clk, .rst, .enable, .limit, .count, .wrapped);

  always #5 clk = ~clk;

  initial begin
    repeat (2) @(negedge clk);
    rst = 1'b0;
    repeat (3) @(negedge clk);
    if (count != 8'd0) $fatal(1, "counts without enable: %0d", count);
    enable = 1'b1;
    for (int unsigned step = 1; step <= 20; step++) begin
      @(negedge clk);
      if (count != 8'(step % 6)) $fatal(1, "after %0d steps it stands at %0d", step, count);
      if (wrapped != (step % 6 == 0)) $fatal(1, "wrapped is %b after %0d steps", wrapped, step);
    end
    $finish;
  end
endmodule

// Serial receiver: 8N1, DIV clock cycles a bit, samples in the middle.
module uart_rx #(parameter DIV = 4) (input clk, input rx, output reg [7:0] data, output reg stb);
  reg s0 = 1, s1 = 1, busy = 0;
  reg [15:0] cnt = 0;
  reg [3:0] n = 0;
  reg [7:0] sh = 0;
  always @(posedge clk) begin
    s0 <= rx;
    s1 <= s0;
    stb <= 0;
    if (!busy) begin
      if (!s1) begin
        busy <= 1;
        cnt <= DIV + DIV / 2 - 2;
        n <= 0;
      end
    end else if (cnt != 0) cnt <= cnt - 1;
    else begin
      cnt <= DIV - 1;
      n <= n + 1;
      if (n == 8) begin
        busy <= 0;
        stb <= s1;
        data <= sh;
      end else sh <= {s1, sh[7:1]};
    end
  end
  initial begin data = 0; stb = 0; end
endmodule

// Serial transmitter: 8N1, DIV clock cycles a bit.
module uart_tx #(parameter DIV = 4) (input clk, input [7:0] data, input stb, output rdy, output tx);
  reg [9:0] sh = 10'h3ff;
  reg [3:0] n = 0;
  reg [15:0] cnt = 0;
  assign tx = sh[0];
  assign rdy = n == 0;
  always @(posedge clk)
    if (n == 0) begin
      if (stb) begin
        sh <= {1'b1, data, 1'b0};
        n <= 10;
        cnt <= DIV - 1;
      end
    end else if (cnt != 0) cnt <= cnt - 1;
    else begin
      cnt <= DIV - 1;
      n <= n - 1;
      sh <= {1'b1, sh[9:1]};
    end
endmodule

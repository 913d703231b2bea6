// A test bench without Python: sends every byte around the loop.
`timescale 1ns / 1ps
module uart_tb;
  logic clk = 0;
  logic rst = 1;
  logic [7:0] tx_data = 0;
  logic tx_valid = 0;
  logic tx_ready;
  logic txd;
  logic [7:0] rx_data;
  logic rx_valid;
  logic framing_error;
  logic parity_error;
  integer value;

  uart #(
      .CLKS_PER_BIT(4)
  ) dut (
      .clk(clk),
      .rst(rst),
      .loopback(1'b1),
      .tx_data(tx_data),
      .tx_valid(tx_valid),
      .tx_ready(tx_ready),
      .txd(txd),
      .rxd(1'b1),
      .rx_data(rx_data),
      .rx_valid(rx_valid),
      .framing_error(framing_error),
      .parity_error(parity_error)
  );

  always #5 clk = !clk;

  initial begin
    #1_000_000;
    $fatal(1, "not through after 1 ms");
  end

  initial begin
    repeat (4) @(posedge clk);
    rst <= 0;
    for (value = 0; value < 256; value = value + 1) begin
      @(posedge clk);
      tx_data  <= value[7:0];
      tx_valid <= 1;
      @(posedge clk);
      tx_valid <= 0;
      @(posedge rx_valid);
      #1;
      if (rx_data != value[7:0]) $fatal(1, "sent %h, received %h", value[7:0], rx_data);
      if (framing_error || parity_error) $fatal(1, "an error was reported for %h", value[7:0]);
      wait (tx_ready);
    end
    $display("256 bytes came back");
    $finish;
  end
endmodule

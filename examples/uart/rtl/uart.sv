// A serial port: transmitter and receiver with the same format. `loopback` joins them, for a self test.
module uart #(
    parameter int CLKS_PER_BIT = 16,
    parameter bit PARITY = 1
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       loopback,
    input  logic [7:0] tx_data,
    input  logic       tx_valid,
    output logic       tx_ready,
    output logic       txd,
    input  logic       rxd,
    output logic [7:0] rx_data,
    output logic       rx_valid,
    output logic       framing_error,
    output logic       parity_error
);
  uart_tx #(
      .CLKS_PER_BIT(CLKS_PER_BIT),
      .PARITY(PARITY)
  ) tx (
      .clk(clk),
      .rst(rst),
      .data(tx_data),
      .valid(tx_valid),
      .ready(tx_ready),
      .txd(txd)
  );

  uart_rx #(
      .CLKS_PER_BIT(CLKS_PER_BIT),
      .PARITY(PARITY)
  ) rx (
      .clk(clk),
      .rst(rst),
      .rxd(loopback ? txd : rxd),
      .data(rx_data),
      .valid(rx_valid),
      .framing_error(framing_error),
      .parity_error(parity_error)
  );
endmodule

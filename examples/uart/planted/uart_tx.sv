// The transmitter of rtl/ with a planted bug: the parity of a byte depends on the bytes before it.
module uart_tx #(
    parameter int CLKS_PER_BIT = 16,
    parameter bit PARITY = 0
) (
    input  logic       clk,
    input  logic       rst,
    input  logic [7:0] data,
    input  logic       valid,
    output logic       ready,
    output logic       txd
);
  typedef enum logic [2:0] {
    IDLE,
    START,
    DATA,
    PARITY_BIT,
    STOP
  } state_t;

  localparam int TIMER_BITS = $clog2(CLKS_PER_BIT);
  localparam logic [TIMER_BITS-1:0] LAST_CLK = TIMER_BITS'(CLKS_PER_BIT - 1);

  state_t state;
  logic [TIMER_BITS-1:0] timer;
  logic [2:0] index;
  logic [7:0] shift;
  logic parity;

  assign ready = state == IDLE;

  always_ff @(posedge clk) begin
    if (rst) begin
      state  <= IDLE;
      timer  <= '0;
      index  <= '0;
      shift  <= '0;
      parity <= 1'b0;
      txd    <= 1'b1;
    end else if (state == IDLE) begin
      txd   <= 1'b1;
      timer <= '0;
      if (valid) begin
        shift  <= data;
        parity <= parity ^ ^data;
        index  <= '0;
        txd    <= 1'b0;
        state  <= START;
      end
    end else if (timer != LAST_CLK) begin
      timer <= timer + 1'b1;
    end else begin
      timer <= '0;
      case (state)
        START: begin
          txd   <= shift[0];
          shift <= {1'b0, shift[7:1]};
          state <= DATA;
        end
        DATA: begin
          index <= index + 1'b1;
          if (index != 3'd7) begin
            txd   <= shift[0];
            shift <= {1'b0, shift[7:1]};
          end else if (PARITY) begin
            txd   <= parity;
            state <= PARITY_BIT;
          end else begin
            txd   <= 1'b1;
            state <= STOP;
          end
        end
        PARITY_BIT: begin
          txd   <= 1'b1;
          state <= STOP;
        end
        default: state <= IDLE;
      endcase
    end
  end
endmodule

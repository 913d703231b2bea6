// Serial receiver: finds the start bit, samples every bit in its middle, and checks parity and the stop bit.
module uart_rx #(
    parameter int CLKS_PER_BIT = 16,
    parameter bit PARITY = 0
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       rxd,
    output logic [7:0] data,
    output logic       valid,         // for one clock: `data` is a good byte
    output logic       framing_error, // for one clock: the stop bit was low
    output logic       parity_error   // for one clock: the parity bit was wrong
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
  localparam logic [TIMER_BITS-1:0] MIDDLE = TIMER_BITS'(CLKS_PER_BIT / 2 - 1);

  state_t state;
  logic [TIMER_BITS-1:0] timer;
  logic [2:0] index;
  logic [7:0] shift;
  logic parity_bad;
  logic [1:0] synced;  // the line comes from another clock

  always_ff @(posedge clk) begin
    synced <= rst ? 2'b11 : {synced[0], rxd};
  end

  always_ff @(posedge clk) begin
    valid         <= 1'b0;
    framing_error <= 1'b0;
    parity_error  <= 1'b0;
    if (rst) begin
      state      <= IDLE;
      timer      <= '0;
      index      <= '0;
      shift      <= '0;
      parity_bad <= 1'b0;
      data       <= '0;
    end else begin
      case (state)
        IDLE: begin
          timer <= '0;
          index <= '0;
          if (!synced[1]) state <= START;
        end
        START: begin
          timer <= timer + 1'b1;
          if (timer == MIDDLE) begin
            timer <= '0;
            // A pulse shorter than half a bit is noise.
            state <= synced[1] ? IDLE : DATA;
          end
        end
        DATA: begin
          timer <= timer + 1'b1;
          if (timer == LAST_CLK) begin
            timer <= '0;
            shift <= {synced[1], shift[7:1]};
            index <= index + 1'b1;
            if (index == 3'd7) state <= PARITY ? PARITY_BIT : STOP;
          end
        end
        PARITY_BIT: begin
          timer <= timer + 1'b1;
          if (timer == LAST_CLK) begin
            timer      <= '0;
            parity_bad <= synced[1] != ^shift;
            state      <= STOP;
          end
        end
        default: begin
          timer <= timer + 1'b1;
          if (timer == LAST_CLK) begin
            state         <= IDLE;
            data          <= shift;
            valid         <= synced[1] && !(PARITY && parity_bad);
            framing_error <= !synced[1];
            parity_error  <= PARITY && parity_bad;
          end
        end
      endcase
    end
  end
endmodule

// Pulse width modulation of four LEDs. Register map: README.md.
//
// Period and duties are taken over together where a period begins, so no pulse is ever cut or doubled by a write.

module pwm (
    input  logic        clk,
    input  logic        rst,
    input  logic        wb_cyc,
    input  logic        wb_stb,
    input  logic        wb_we,
    input  logic [8:0]  wb_adr,
    input  logic [31:0] wb_dat_w,
    input  logic [3:0]  wb_sel,
    output logic [31:0] wb_dat_r,
    output logic        wb_ack,
    output logic [3:0]  io_leds
);
  localparam logic [8:0] TOP = 0, DUTY_0 = 1, DUTY_1 = 2, DUTY_2 = 3, DUTY_3 = 4, COUNT = 5;

  logic [15:0] count, top, top_next;
  logic [15:0] duty_0, duty_1, duty_2, duty_3;
  logic [15:0] duty_0_next, duty_1_next, duty_2_next, duty_3_next;

  wire request = wb_cyc & wb_stb & ~wb_ack;
  wire write = request & wb_we & (&wb_sel);
  wire last = count == top;

  always_ff @(posedge clk) begin
    count <= last ? 16'd0 : count + 16'd1;
    if (last) begin
      top <= top_next;
      duty_0 <= duty_0_next;
      duty_1 <= duty_1_next;
      duty_2 <= duty_2_next;
      duty_3 <= duty_3_next;
    end
    if (write) begin
      case (wb_adr)
        TOP: top_next <= wb_dat_w[15:0];
        DUTY_0: duty_0_next <= wb_dat_w[15:0];
        DUTY_1: duty_1_next <= wb_dat_w[15:0];
        DUTY_2: duty_2_next <= wb_dat_w[15:0];
        DUTY_3: duty_3_next <= wb_dat_w[15:0];
        default: ;
      endcase
    end
    if (rst) begin
      count <= 0;
      {top, top_next} <= 0;
      {duty_0, duty_1, duty_2, duty_3} <= 0;
      {duty_0_next, duty_1_next, duty_2_next, duty_3_next} <= 0;
    end
  end

  assign io_leds = {count < duty_3, count < duty_2, count < duty_1, count < duty_0};

  always_ff @(posedge clk) begin
    wb_ack <= request & ~rst;
    case (wb_adr)
      TOP: wb_dat_r <= {16'd0, top_next};
      DUTY_0: wb_dat_r <= {16'd0, duty_0_next};
      DUTY_1: wb_dat_r <= {16'd0, duty_1_next};
      DUTY_2: wb_dat_r <= {16'd0, duty_2_next};
      DUTY_3: wb_dat_r <= {16'd0, duty_3_next};
      COUNT: wb_dat_r <= {16'd0, count};
      default: wb_dat_r <= 0;
    endcase
  end
endmodule

// What stands behind an LED may rely on. Bound into pwm.
module pwm_properties (
    input logic        clk,
    input logic        rst,
    input logic        wb_cyc,
    input logic        wb_stb,
    input logic        wb_ack,
    input logic [3:0]  io_leds,
    input logic [15:0] count,
    input logic [15:0] top,
    input logic [15:0] duty_0
);
  default clocking ticks @(posedge clk);
  endclocking
  default disable iff (rst);

  initial assume (rst);

  in_range : assert property (count <= top);
  begins_again : assert property (count == top |=> count == 0);

  // One pulse a period, from its beginning on: whatever is written, and whenever.
  rises_at_the_beginning : assert property ($rose(io_leds[0]) |-> count == 0);
  no_pulse_is_cut : assert property ($fell(io_leds[0]) |-> count == 0 || count == duty_0);
  changes_at_the_beginning : assert property (!$stable(duty_0) |-> count == 0);

  off_is_off : assert property (duty_0 == 0 |-> !io_leds[0]);
  on_is_on : assert property (duty_0 > top |-> io_leds[0]);

  answers_once : assert property (wb_ack |-> $past(wb_cyc && wb_stb) && !$past(wb_ack));

  pulses : cover property ($rose(io_leds[0]) ##1 $fell(io_leds[0]));
endmodule

bind pwm pwm_properties properties (.*);

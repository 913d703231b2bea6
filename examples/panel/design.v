// LEDs, buttons and switches: ports that a design may have beside the bus. Ones are lit, pressed and on.
//
//   word 0  read   how often button 0 was pressed
//   word 1  read   the switches
//   word 2  read   the counter; it counts while switch 0 is on
//
// The LEDs show the presses.

module panel (
    input             clk,
    input             rst,
    input             wb_cyc,
    input             wb_stb,
    input             wb_we,
    input      [8:0]  wb_adr,
    input      [31:0] wb_dat_w,
    input      [3:0]  wb_sel,
    output reg [31:0] wb_dat_r,
    output reg        wb_ack,
    output     [3:0]  io_leds,
    input      [1:0]  io_buttons,
    input      [3:0]  io_switches
);
    reg [7:0]  presses;
    reg [15:0] count;
    reg        was_pressed;

    assign io_leds = presses[3:0];

    always @(posedge clk) begin
        wb_ack <= wb_cyc & wb_stb & ~wb_ack & ~rst;
        case (wb_adr[1:0])
            0: wb_dat_r <= presses;
            1: wb_dat_r <= io_switches;
            2: wb_dat_r <= count;
            default: wb_dat_r <= 0;
        endcase
        was_pressed <= io_buttons[0];
        if (io_buttons[0] & ~was_pressed) presses <= presses + 1;
        if (io_switches[0]) count <= count + 1;
        if (rst) begin
            presses <= 0;
            count <= 0;
        end
    end
endmodule

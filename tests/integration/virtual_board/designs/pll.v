// The serial bridge on a clock that a PLL makes: 50 MHz in, 25 MHz out, held in reset until the PLL locks.
module pll (input clk, input rx, output tx, output [3:0] led);
  wire fast, locked;
  // Not listened to, unless the PLL's settings say so.
  wire [2:0] moving = {led[0], rx, tx};
  (* FREQUENCY_PIN_CLKI = "50", FREQUENCY_PIN_CLKOS = "25", ICP_CURRENT = "12", LPF_RESISTOR = "8",
     MFG_ENABLE_FILTEROPAMP = "1", MFG_GMCREF_SEL = "2" *)
  EHXPLLL #(
    .PLLRST_ENA("DISABLED"), .INTFB_WAKE("DISABLED"), .STDBY_ENABLE("DISABLED"), .DPHASE_SOURCE("DISABLED"),
    .OUTDIVIDER_MUXA("DIVA"), .OUTDIVIDER_MUXB("DIVB"), .OUTDIVIDER_MUXC("DIVC"), .OUTDIVIDER_MUXD("DIVD"),
    .CLKI_DIV(1), .CLKOP_ENABLE("ENABLED"), .CLKOP_DIV(12), .CLKOP_CPHASE(5), .CLKOP_FPHASE(0),
    .CLKOS_ENABLE("ENABLED"), .CLKOS_DIV(24), .CLKOS_CPHASE(5), .CLKOS_FPHASE(0),
    .FEEDBK_PATH("CLKOP"), .CLKFB_DIV(1)
  ) pll_ (
    .RST(moving[0]), .STDBY(moving[1]), .CLKI(clk), .CLKOP(feedback), .CLKOS(fast), .CLKFB(feedback), .CLKINTFB(),
    .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1), .PHASESTEP(moving[2]), .PHASELOADREG(1'b1), .PLLWAKESYNC(1'b0),
    .ENCLKOP(1'b0), .ENCLKOS(1'b0), .LOCK(locked)
  );
  wire feedback;
  wire quiet_rx = rx | ~locked;
  soc bridge (.clk(fast), .rx(quiet_rx), .tx(tx), .led(led));
endmodule

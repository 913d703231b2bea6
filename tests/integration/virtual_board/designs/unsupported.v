// One small design a cell that the virtual board refuses; KIND chooses.
module unsupported #(parameter KIND = 0) (input clk, input rx, output tx, output [3:0] led);
  reg [3:0] n = 0;
  assign led = n;
  generate
    if (KIND == 0) begin  // the on-chip oscillator
      wire osc;
      OSCG #(.DIV(128)) oscillator (.OSC(osc));
      always @(posedge osc) n <= n + 1;
      assign tx = n[3];
    end else if (KIND == 1) begin  // a register in the pad
      OFS1P3DX register (.D(rx), .SP(1'b1), .SCLK(clk), .CD(1'b0), .Q(tx));
      always @(posedge clk) n <= n + 1;
    end else if (KIND == 2) begin  // a gated clock
      wire gated;
      DCCA gate (.CLKI(clk), .CE(rx), .CLKO(gated));
      always @(posedge gated) n <= n + 1;
      assign tx = n[3];
    end else if (KIND == 3) begin  // two clocks
      reg half = 0;
      always @(posedge clk) half <= ~half;
      always @(posedge half) n <= n + 1;
      assign tx = n[3];
    end else if (KIND == 4) begin  // logic that feeds back on itself
      (* keep *) wire a;
      LUT4 #(.INIT(16'h1111)) loop (.A(a), .B(rx), .C(1'b0), .D(1'b0), .Z(a));
      assign tx = a;
    end else if (KIND == 5) begin  // user access to the boot flash's clock
      USRMCLK mclk (.USRMCLKI(rx), .USRMCLKTS(1'b0));
      assign tx = rx;
    end else if (KIND == 6) begin  // a clock divider
      wire divided;
      CLKDIVF #(.DIV("2.0")) divider (.CLKI(clk), .RST(1'b0), .ALIGNWD(1'b0), .CDIVX(divided));
      always @(posedge divided) n <= n + 1;
      assign tx = n[3];
    end
  endgenerate
endmodule

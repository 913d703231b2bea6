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
    end else if (KIND == 1) begin  // the user's window into JTAG
      wire tck;
      JTAGG jtag (.JTCK(tck), .JTDO1(n[3]), .JTDO2(1'b0));
      always @(posedge tck) n <= n + 1;
      assign tx = n[3];
    end else if (KIND == 2) begin  // a clock divided by three and a half: this one runs
      wire divided;
      CLKDIVF #(.DIV("3.5")) divider (.CLKI(clk), .RST(1'b0), .ALIGNWD(1'b0), .CDIVX(divided));
      always @(posedge divided) n <= n + 1;
      assign tx = n[3];
    end else if (KIND == 3) begin  // a pad at a quarter of its clock
      wire half, quarter;
      CLKDIVF #(.DIV("2.0")) divider (.CLKI(clk), .RST(1'b0), .ALIGNWD(1'b0), .CDIVX(half));
      ODDRX2F pads (.D0(rx), .D1(n[0]), .D2(n[1]), .D3(n[2]), .SCLK(half), .ECLK(clk), .RST(1'b0), .Q(tx));
      always @(posedge half) n <= n + 1;
    end else if (KIND == 4) begin  // logic that feeds back on itself
      (* keep *) wire a;
      LUT4 #(.INIT(16'h1111)) loop (.A(a), .B(rx), .C(1'b0), .D(1'b0), .Z(a));
      assign tx = a;
    end else if (KIND == 5) begin  // user access to the boot flash's clock
      USRMCLK mclk (.USRMCLKI(rx), .USRMCLKTS(1'b0));
      assign tx = rx;
    end else if (KIND == 6) begin  // a clock divider: this one runs
      wire divided;
      CLKDIVF #(.DIV("2.0")) divider (.CLKI(clk), .RST(1'b0), .ALIGNWD(1'b0), .CDIVX(divided));
      always @(posedge divided) n <= n + 1;
      assign tx = n[3];
    end else if (KIND == 7) begin  // a delay that looks for an edge
      wire late;
      DELAYF delay (.A(rx), .LOADN(1'b1), .MOVE(n[0]), .DIRECTION(n[1]), .Z(late));
      always @(posedge clk) n <= n + late;
      assign tx = late;
    end
  endgenerate
endmodule

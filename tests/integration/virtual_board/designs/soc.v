// A small serial bus bridge. Write: 'W' adr[15:0] data[31:0] -> '.'; read: 'R' adr[15:0] -> data[31:0]; big endian.
// Addresses below 512 are a block RAM; 0x8000 counts clock cycles once written, 0x8001 is the LED register.
module soc #(parameter DIV = 4, parameter FREE = 0) (input clk, input rx, output tx, output [3:0] led);
  wire [7:0] rxd;
  wire rxs, rdy;
  uart_rx #(DIV) urx (.clk(clk), .rx(rx), .data(rxd), .stb(rxs));
  reg [31:0] dat = 0;
  reg [15:0] adr = 0;
  reg [2:0] n = 0;
  reg [2:0] st = 0;
  reg we = 0;
  uart_tx #(DIV) utx (.clk(clk), .data(dat[31:24]), .stb(st == 5), .rdy(rdy), .tx(tx));
  (* ram_style = "block" *) reg [31:0] mem [0:511];
  integer i;
  initial for (i = 0; i < 512; i = i + 1) mem[i] = i * 32'h01000193 ^ 32'h811c9dc5;
  reg [31:0] q = 0;
  reg [31:0] cycles = 0;
  reg running = FREE;
  reg [3:0] leds = 4'h5;
  assign led = leds;
  always @(posedge clk) begin
    if (st == 3 && we && !adr[15]) mem[adr[8:0]] <= dat;
    q <= mem[adr[8:0]];
    if (running) cycles <= cycles + 1;
    case (st)
      0: if (rxs && (rxd == "W" || rxd == "R")) begin we <= rxd == "W"; n <= 0; st <= 1; end
      1: if (rxs) begin adr <= {adr[7:0], rxd}; n <= n + 1; if (n == 1) begin n <= 0; st <= we ? 2 : 3; end end
      2: if (rxs) begin dat <= {dat[23:0], rxd}; n <= n + 1; if (n == 3) st <= 3; end
      3: begin
        st <= 4;
        if (we && adr == 16'h8000) begin cycles <= dat; running <= 1; end
        if (we && adr == 16'h8001) leds <= dat[3:0];
      end
      4: begin
        dat <= we ? 32'h2e000000 : adr == 16'h8000 ? cycles : adr == 16'h8001 ? leds : q;
        n <= we ? 0 : 3;
        st <= 5;
      end
      5: if (rdy) begin dat <= {dat[23:0], 8'h00}; n <= n - 1; if (n == 0) st <= 0; end
    endcase
  end
endmodule

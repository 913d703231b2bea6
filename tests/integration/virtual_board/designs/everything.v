// One design that exercises each kind of cell with random data from inside, and folds what it computes into a few
// output pins, one signature a feature, so that a difference anywhere is seen, and where.

// A pseudo-random number a cycle (xorshift32).
module noise #(parameter SEED = 32'h2545f491) (input clk, output [31:0] r);
  reg [31:0] x = SEED;
  wire [31:0] a = x ^ (x << 13);
  wire [31:0] b = a ^ (a >> 17);
  always @(posedge clk) x <= b ^ (b << 5);
  assign r = x;
endmodule

// Folds a word a cycle into one bit, and remembers all former words.
module signature #(parameter W = 32) (input clk, input [W-1:0] d, output out);
  reg [31:0] s = 32'hffffffff;
  wire [31:0] folded;
  genvar i;
  generate
    for (i = 0; i < 32; i = i + 1) begin : fold
      wire [W+31:0] wide = {32'b0, d} >> i;
      if (i < W) assign folded[i] = wide[0] ^ (i + 32 < W ? wide[32] : 1'b0);
      else assign folded[i] = 1'b0;
    end
  endgenerate
  always @(posedge clk) s <= {s[30:0], s[31] ^ s[21] ^ s[1] ^ s[0]} ^ folded;
  assign out = s[31];
endmodule

// Random logic, wide multiplexers (PFUMX, L6MUX21) and carry chains (CCU2C).
module logic_cells (input clk, input [31:0] r, input [31:0] t, output out);
  reg [31:0] a = 0, b = 1;
  wire [31:0] sum = a + b, difference = a - t, counted = a + 1;
  wire less = a < b, signed_less = $signed(a) < $signed(t), equal = a[11:0] == b[11:0];
  wire seven = ^{r[6:0] & {t[3:0], t[6:4]}} ^ (&r[3:0] | ~|t[6:2] & r[5]);
  wire picked = t[r[4:0]];
  always @(posedge clk) begin
    a <= r[0] ? sum : difference ^ {counted[15:0], r[31:16]};
    b <= {b[30:0], b[31]} + (r ^ {less, signed_less, equal, seven, picked, 27'b0});
  end
  signature sig (.clk(clk), .d(sum ^ {27'b0, less, signed_less, equal, seven, picked}), .out(out));
endmodule

// Flip-flops: enables, synchronous and asynchronous sets and resets of both polarities, both clock edges.
module flip_flops (input clk, input [31:0] r, input [31:0] t, output out);
  reg [31:0] q = 32'hfc5ac35a;
  reg enable = 0, reset = 1, areset = 1, set = 0;
  always @(posedge clk) begin
    enable <= r[7];
    reset <= &r[10:8];
    areset <= &r[14:11];
    set <= ~|r[17:15];
  end
  always @(posedge clk) if (enable) q[3:0] <= t[3:0];
  always @(posedge clk) if (!enable) q[7:4] <= t[7:4];
  always @(posedge clk) if (reset) q[11:8] <= 4'b0011; else if (enable) q[11:8] <= t[11:8];
  always @(posedge clk) if (!reset) q[15:12] <= 4'b1100; else q[15:12] <= t[15:12] ^ q[15:12];
  always @(posedge clk or posedge areset) if (areset) q[19:16] <= 4'b1010; else if (enable) q[19:16] <= t[19:16];
  always @(posedge clk or negedge areset) if (!areset) q[23:20] <= 4'b0101; else q[23:20] <= q[23:20] + t[20];
  always @(negedge clk) if (enable) q[27:24] <= t[27:24] ^ q[3:0];
  always @(negedge clk or posedge set) if (set) q[31:28] <= 4'b1111; else q[31:28] <= t[31:28];
  signature sig (.clk(clk), .d(q), .out(out));
endmodule

// Distributed RAM: written on the clock, read at once.
module lut_rams (input clk, input [31:0] r, input [31:0] t, output out);
  reg [8:0] m [0:63];
  reg [3:0] n [0:15];
  integer i;
  initial for (i = 0; i < 64; i = i + 1) m[i] = i * 37 + 5;
  initial for (i = 0; i < 16; i = i + 1) n[i] = i * 7;
  always @(posedge clk) if (r[0]) m[r[6:1]] <= t[8:0];
  always @(negedge clk) if (r[7]) n[t[12:9]] <= t[16:13];
  signature #(26) sig (.clk(clk), .d({m[t[22:17]], m[r[12:7]], n[r[16:13]], n[t[26:23]]}), .out(out));
endmodule

// A block RAM with two ports of one width; MODE 0 holds, 1 shows the old word, 2 the new one during a write.
module two_ports #(parameter W = 18, parameter A = 10, parameter MODE = 0, parameter SALT = 1)
  (input clk, input [31:0] r, input [31:0] t, output out);
  (* ram_style = "block" *) reg [W-1:0] m [0:(1<<A)-1];
  integer i;
  initial begin
    for (i = 0; i < 64; i = i + 1) m[i] = (i * 40503 + SALT) >> 3;
  end
  reg [W-1:0] p = 0, q = 0;
  // The ports never touch one word at once: that has no defined result.
  // Half of the accesses are to the first words, which have initial values.
  wire [A-1:0] a = {r[19] ? r[A-2:0] : {{(A-6){1'b0}}, r[4:0]}, 1'b0};
  wire [A-1:0] b = {t[19] ? t[A-2:0] : {{(A-6){1'b0}}, t[4:0]}, 1'b1};
  wire wa = r[20], wb = t[20], ea = r[21] | r[22], eb = t[21] | t[22];
  wire [W-1:0] da = t[31:32-W], db = r[31:32-W];
  generate
    if (MODE == 0) begin
      always @(posedge clk) if (ea) if (wa) m[a] <= da; else p <= m[a];
      always @(posedge clk) if (eb) if (wb) m[b] <= db; else q <= m[b];
    end else if (MODE == 1) begin
      always @(posedge clk) if (ea) begin p <= m[a]; if (wa) m[a] <= da; end
      always @(posedge clk) if (eb) begin q <= m[b]; if (wb) m[b] <= db; end
    end else begin
      always @(posedge clk) if (ea) begin if (wa) begin m[a] <= da; p <= da; end else p <= m[a]; end
      always @(posedge clk) if (eb) begin if (wb) begin m[b] <= db; q <= db; end else q <= m[b]; end
    end
  endgenerate
  signature #(2*W) sig (.clk(clk), .d({p, q}), .out(out));
endmodule

// A block RAM with a 36-bit write port with byte enables, and a read port with reset (synchronous or not).
module wide_ram #(parameter ASYNC = 0) (input clk, input [31:0] r, input [31:0] t, output out);
  (* ram_style = "block" *) reg [35:0] m [0:511];
  integer i;
  initial for (i = 0; i < 64; i = i + 1) m[i] = {i[3:0], i * 32'h9e3779b1};
  reg [35:0] q = 0;
  wire [35:0] d = {r[3:0], t};
  wire [8:0] write = {r[12:5], 1'b0}, read = {t[12:5], 1'b1};
  reg [8:0] last = 0;
  always @(posedge clk) begin
    if (r[13]) m[r[12:4]][8:0] <= d[8:0];
    if (r[14]) m[r[12:4]][17:9] <= d[17:9];
    if (r[15]) m[r[12:4]][26:18] <= d[26:18];
    if (r[16]) m[r[12:4]][35:27] <= d[35:27];
  end
  // Reads avoid the word that is written in the same cycle.
  wire [8:0] safe = t[12:4] == r[12:4] ? ~t[12:4] : t[12:4];
  wire clear = &t[15:13];
  reg clear_later = 0;
  always @(posedge clk) clear_later <= clear;
  generate
    if (ASYNC) begin
      always @(posedge clk or posedge clear_later) if (clear_later) q <= 0; else if (t[16]) q <= m[safe];
    end else begin
      always @(posedge clk) if (clear) q <= 0; else if (t[16]) q <= m[safe];
    end
  endgenerate
  signature #(36) sig (.clk(clk), .d(q), .out(out));
endmodule

// Products of signed and unsigned factors.
module products (input clk, input [31:0] r, input [31:0] t, output out);
  wire [35:0] u = r[17:0] * t[17:0];
  wire signed [35:0] s = $signed(r[31:14]) * $signed(t[31:14]);
  wire signed [23:0] n = $signed(r[11:0]) * $signed(t[11:0]);
  reg [35:0] x = 0, y = 0;
  always @(posedge clk) begin
    x <= u;
    y <= s ^ {n, 12'b0};
  end
  signature #(72) sig (.clk(clk), .d({x, y}), .out(out));
endmodule

module everything (input clk, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  logic_cells c0 (.clk(clk), .r(r), .t(t), .out(o[0]));
  flip_flops c1 (.clk(clk), .r(r), .t(t), .out(o[1]));
  lut_rams c2 (.clk(clk), .r(r), .t(t), .out(o[2]));
  two_ports #(18, 10, 0, 3) c3 (.clk(clk), .r(r), .t(t), .out(o[3]));
  two_ports #(18, 10, 1, 5) c4 (.clk(clk), .r(r), .t(t), .out(o[4]));
  two_ports #(18, 10, 2, 7) c5 (.clk(clk), .r(r), .t(t), .out(o[5]));
  two_ports #(9, 11, 0, 11) c6 (.clk(clk), .r(r), .t(t), .out(o[6]));
  two_ports #(4, 12, 1, 13) c7 (.clk(clk), .r(r), .t(t), .out(o[7]));
  two_ports #(2, 13, 2, 17) c8 (.clk(clk), .r(r), .t(t), .out(o[8]));
  two_ports #(1, 14, 0, 19) c9 (.clk(clk), .r(r), .t(t), .out(o[9]));
  wide_ram #(0) c10 (.clk(clk), .r(r), .t(t), .out(o[10]));
  wide_ram #(1) c11 (.clk(clk), .r(r), .t(t), .out(o[11]));
  products c12 (.clk(clk), .r(r), .t(t), .out(o[12]));
  assign o[13] = r[0], o[14] = t[31], o[15] = clk;
endmodule

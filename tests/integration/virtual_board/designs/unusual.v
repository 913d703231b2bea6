// Designs that a tester might bring, unlike the others in what they use; each is a top of its own. Data comes from the
// serial input, which the test makes noise on, and from inside.

// A memory of 36 bits and 300 words with an enable for each nine bits, written on one edge and read on the other, and
// one of 37 bits and 100 words that shows what is written.
module odd_memories (input clk, input rx, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  reg [35:0] m [0:299];
  reg [36:0] w [0:99];
  integer i;
  initial begin
    for (i = 0; i < 300; i = i + 1) m[i] = i * 36'h123456789;
    for (i = 0; i < 100; i = i + 1) w[i] = {5{i[6:0], 1'b1}};
  end
  wire [8:0] wa = r[8:0] % 300, ra = t[8:0] % 300;
  wire [3:0] we = r[31:28] & {4{rx}};
  always @(posedge clk) begin
    if (we[0]) m[wa][8:0] <= t[8:0];
    if (we[1]) m[wa][17:9] <= t[17:9];
    if (we[2]) m[wa][26:18] <= t[26:18];
    if (we[3]) m[wa][35:27] <= r[17:9];
  end
  reg [35:0] q = 0;
  always @(negedge clk) if (t[20]) q <= m[ra];
  reg [36:0] v = 0;
  wire [6:0] a = (r[15:9] ^ {7{rx}}) % 100;
  always @(posedge clk) begin
    if (t[31]) w[a] <= {t, r[31:27]};
    v <= t[31] ? {t, r[31:27]} : w[a];
  end
  signature #(36) s0 (.clk(clk), .d(q), .out(o[0]));
  signature #(37) s1 (.clk(clk), .d(v), .out(o[1]));
  assign o[15:2] = {v[6:0], q[6:0]};
endmodule

// Resets without a clock from logic and from the pin, sets beside them, and enables on both edges.
module sudden_resets (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [7:0] a = 8'h81, b = 8'h3c, c = 0, d = 8'h99;
  reg [3:0] rare = 0;
  always @(posedge clk) rare <= {&r[3:0], &r[7:4], ~|r[11:8], ~|r[15:12]};
  wire ra = rare[0] & a[3] | rare[1] & ~a[5], sa = rare[2], sc = rare[3];
  always @(posedge clk or posedge sa) if (sa) a <= 8'h81; else if (r[16]) a <= a + r[7:0];
  always @(negedge clk or negedge rx) if (!rx) b <= 8'h3c; else b <= {b[6:0], b[7]} ^ a;
  always @(posedge clk or posedge sc) if (sc) c <= 0; else c <= c * 5 + b;
  always @(negedge clk) if (ra) d <= 8'h99; else if (r[17]) d <= d ^ c ^ r[27:20];
  assign o = {d[3:0] ^ c[3:0], c[3:0], b[3:0], a[3:0]};
endmodule

// Four pins of a bus that two writers share, with pull-ups, and what they read back.
module shared_bus (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [3:0] oe0 = 0, oe1 = 0, d0 = 0, d1 = 0, seen = 0;
  always @(posedge clk) begin
    {oe0, d0} <= r[7:0];
    {oe1, d1} <= {r[11:8] & ~r[7:4], r[15:12] ^ {4{rx}}};
  end
  wire [3:0] level;
  genvar i;
  generate
    for (i = 0; i < 4; i = i + 1) begin : bus
      open_pad pad (oe0[i] ? d0[i] : d1[i], !(oe0[i] | oe1[i]), o[i], level[i]);
    end
  endgenerate
  always @(negedge clk) seen <= level;
  assign o[15:4] = {seen, oe1, oe0};
endmodule

// Both edges in, both edges out, and back through logic on the inverted clock.
module both_edges (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  wire [1:0] q;
  in_register #(1) p0 (clk, rx, q);
  reg [7:0] s = 0;
  always @(posedge clk) s <= {s[5:0], q} + r[7:0];
  reg [3:0] f = 0;
  always @(negedge clk) f <= s[3:0] ^ f;
  out_pair p1 (clk, s[1:0], o[0]);
  out_pair p2 (~clk, f[1:0], o[12]);
  out_register #(1) p3 (clk, s[3], q[0], r[31] & r[30], o[1]);
  assign {o[15:13], o[11:2]} = {f[3:1], s, q};
endmodule

// Read-only memories of a file and of a formula, of depths that are no power of two, and small writable ones with contents.
module contents (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [12:0] rom [0:776];
  reg [4:0] small_ [0:47];
  reg [3:0] table_ [0:99];
  integer i;
  initial begin
`ifdef CONTENTS
    $readmemh(`CONTENTS, rom);
`endif
    for (i = 0; i < 48; i = i + 1) small_[i] = i * 7 + 3;
    for (i = 0; i < 100; i = i + 1) table_[i] = (i * i) >> 3;
  end
  reg [12:0] q = 0;
  reg [4:0] s = 0;
  reg [3:0] t = 0;
  wire [9:0] a = r[9:0] % 777;
  always @(posedge clk) begin
    if (rx) q <= rom[a];
    s <= small_[r[15:10] % 48];
    if (r[31:30] == 0) small_[r[21:16] % 48] <= r[26:22];
    t <= table_[r[29:23] % 100];
  end
  signature #(13) s0 (.clk(clk), .d(q), .out(o[0]));
  assign o[15:1] = {t, s, q[5:0]};
endmodule

// Products wider than a multiplier, signed and not, behind registers that synthesis may move into the cells.
module wide_products (input clk, input rx, output [15:0] o);
  wire [31:0] r, t, u;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  noise #(32'h600dcafe) n2 (.clk(clk), .r(u));
  reg signed [39:0] a = 0, b = 0;
  reg signed [79:0] p0 = 0, p1 = 0;
  reg [26:0] c = 0;
  reg [34:0] d = 0;
  reg [61:0] q = 0;
  reg signed [17:0] e = 0, f = 0;
  reg signed [47:0] acc = 0;
  always @(posedge clk) begin
    if (rx) begin a <= {r, t[7:0]}; b <= {u, t[15:8]}; end
    p0 <= a * b;
    p1 <= p0;
    c <= r[26:0]; d <= {u, t[2:0]};
    if (t[31]) q <= c * d;
    e <= t[17:0]; f <= u[17:0];
    acc <= &r[31:27] ? 0 : acc + e * f;
  end
  signature #(80) s0 (.clk(clk), .d(p1), .out(o[0]));
  signature #(62) s1 (.clk(clk), .d(q), .out(o[1]));
  signature #(48) s2 (.clk(clk), .d(acc), .out(o[2]));
  assign o[15:3] = {p1[79:75], q[61:58], acc[47:44]};
endmodule

// A queue between two clocks, one of them gated and halved: Gray pointers, distributed RAM.
module crossing (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg half = 0;
  always @(posedge clk) half <= ~half;
  reg go = 0;
  always @(negedge clk) go <= r[30] | r[29];
  wire slow;
  gate g0 (half, go, slow);
  reg [7:0] m [0:15];
  reg [4:0] wp = 0, rp = 0, wg = 0, rg = 0, wg1 = 0, wg2 = 0, rg1 = 0, rg2 = 0;
  integer i;
  initial for (i = 0; i < 16; i = i + 1) m[i] = 0;
  wire [4:0] wn = wp + 1, rn = rp + 1;
  wire full = wg == {~rg2[4:3], rg2[2:0]};
  always @(negedge clk) begin
    {rg2, rg1} <= {rg1, rg};
    if (!full && r[3:2] == 0) begin m[wp[3:0]] <= r[15:8] ^ {8{rx}}; wp <= wn; wg <= wn ^ (wn >> 1); end
  end
  reg [7:0] q = 0;
  wire empty = rg == wg2;
  always @(posedge slow) begin
    {wg2, wg1} <= {wg1, wg};
    if (!empty) begin q <= m[rp[3:0]]; rp <= rn; rg <= rn ^ (rn >> 1); end
  end
  assign o = {half, full, empty, rp, q};
endmodule

// Distributed RAM that two ports read, written on the falling edge, and one written on the rising.
module two_readers (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  (* ram_style = "distributed" *) reg [6:0] m [0:31];
  (* ram_style = "distributed" *) reg [2:0] w [0:15];
  integer i;
  initial begin
    for (i = 0; i < 32; i = i + 1) m[i] = i * 3;
    for (i = 0; i < 16; i = i + 1) w[i] = i;
  end
  reg [4:0] wa = 0;
  reg [6:0] wd = 0;
  reg we = 0;
  always @(posedge clk) begin
    wa <= r[4:0]; wd <= r[11:5]; we <= r[12] ^ rx;
    if (r[13]) w[r[17:14]] <= r[20:18];
  end
  always @(negedge clk) if (we) m[wa] <= wd;
  assign o = {w[r[24:21]], w[r[28:25]][1:0], m[r[31:27]][4:0], m[r[9:5]][5:0]};
endmodule

// One block RAM of two widths, words and half bytes, with contents; a port keeps, shows or tells before what it writes.
module mixed_widths #(parameter MODE = "NORMAL") (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  // Port A has 18 bits and writes; port B has 4 and writes elsewhere.
  wire [9:0] aa = {1'b0, r[8:0]};
  wire [11:0] ab = {1'b1, r[20:10]};
  wire wa = r[31], wb = r[30] & rx, ea = r[29] | r[28], eb = r[27] | r[26];
  wire [1:0] be = r[25:24];
  wire [17:0] da = {r[9:0], r[31:24]};
  wire [3:0] db = r[7:4];
  wire [17:0] qa;
  wire [3:0] qb;
`ifdef SIMULATION
  reg [8:0] m [0:2047];
  integer i;
  initial for (i = 0; i < 2048; i = i + 1) m[i] = 0;
  reg [17:0] ya = 0;
  reg [3:0] yb = 0;
  wire [8:0] lo = wa & be[0] ? da[8:0] : m[{aa, 1'b0}], hi = wa & be[1] ? da[17:9] : m[{aa, 1'b1}];
  always @(posedge clk) begin
    if (ea) begin
      m[{aa, 1'b0}] <= lo;
      m[{aa, 1'b1}] <= hi;
      if (!wa || MODE == "READBEFOREWRITE") ya <= {m[{aa, 1'b1}], m[{aa, 1'b0}]};
      else if (MODE == "WRITETHROUGH") ya <= {hi, lo};
    end
    if (eb) begin
      if (wb) m[ab[11:1]][4 * ab[0] +: 4] <= db;
      if (!wb || MODE == "READBEFOREWRITE") yb <= m[ab[11:1]][4 * ab[0] +: 4];
      else if (MODE == "WRITETHROUGH") yb <= db;
    end
  end
  assign qa = ya, qb = yb;
`else
  DP16KD #(.DATA_WIDTH_A(18), .DATA_WIDTH_B(4), .REGMODE_A("NOREG"), .REGMODE_B("NOREG"), .RESETMODE("SYNC"), .GSR("DISABLED"),
    .CSDECODE_A("0b000"), .CSDECODE_B("0b000"), .WRITEMODE_A(MODE), .WRITEMODE_B(MODE)) cell_ (
    .CLKA(clk), .CEA(ea), .WEA(wa), .RSTA(1'b0), .OCEA(1'b1), .CSA0(1'b0), .CSA1(1'b0), .CSA2(1'b0),
    .CLKB(clk), .CEB(eb), .WEB(wb), .RSTB(1'b0), .OCEB(1'b1), .CSB0(1'b0), .CSB1(1'b0), .CSB2(1'b0),
    .ADA0(be[0]), .ADA1(be[1]), .ADA2(1'b0), .ADA3(1'b0), .ADA4(aa[0]), .ADA5(aa[1]), .ADA6(aa[2]), .ADA7(aa[3]), .ADA8(aa[4]),
    .ADA9(aa[5]), .ADA10(aa[6]), .ADA11(aa[7]), .ADA12(aa[8]), .ADA13(aa[9]),
    .ADB0(1'b0), .ADB1(1'b0), .ADB2(ab[0]), .ADB3(ab[1]), .ADB4(ab[2]), .ADB5(ab[3]), .ADB6(ab[4]), .ADB7(ab[5]), .ADB8(ab[6]),
    .ADB9(ab[7]), .ADB10(ab[8]), .ADB11(ab[9]), .ADB12(ab[10]), .ADB13(ab[11]),
    .DIA0(da[0]), .DIA1(da[1]), .DIA2(da[2]), .DIA3(da[3]), .DIA4(da[4]), .DIA5(da[5]), .DIA6(da[6]), .DIA7(da[7]), .DIA8(da[8]),
    .DIA9(da[9]), .DIA10(da[10]), .DIA11(da[11]), .DIA12(da[12]), .DIA13(da[13]), .DIA14(da[14]), .DIA15(da[15]), .DIA16(da[16]), .DIA17(da[17]),
    .DIB0(db[0]), .DIB1(db[1]), .DIB2(db[2]), .DIB3(db[3]),
    .DOA0(qa[0]), .DOA1(qa[1]), .DOA2(qa[2]), .DOA3(qa[3]), .DOA4(qa[4]), .DOA5(qa[5]), .DOA6(qa[6]), .DOA7(qa[7]), .DOA8(qa[8]),
    .DOA9(qa[9]), .DOA10(qa[10]), .DOA11(qa[11]), .DOA12(qa[12]), .DOA13(qa[13]), .DOA14(qa[14]), .DOA15(qa[15]), .DOA16(qa[16]), .DOA17(qa[17]),
    .DOB0(qb[0]), .DOB1(qb[1]), .DOB2(qb[2]), .DOB3(qb[3]));
`endif
  signature #(18) s0 (.clk(clk), .d(qa), .out(o[0]));
  assign o[15:1] = {qb, qa[15:9], qa[3:0]};
endmodule

// Registers inside a multiplier under the chip-wide reset.
module reset_product (input clk, input rx, output [15:0] o);
  reg [17:0] a = 3, b = 5;
  always @(posedge clk) begin a <= a * 5 + rx; b <= b + a; end
  wire [35:0] p;
  GSR gsr (.GSR(rx));
  MULT18X18D #(.REG_INPUTA_CLK("CLK0"), .REG_INPUTB_CLK("CLK0"), .GSR("ENABLED")) cell_ (
    .CLK0(clk), .CE0(1'b1), .RST0(1'b0), .SIGNEDA(1'b0), .SIGNEDB(1'b0), .SOURCEA(1'b0), .SOURCEB(1'b0),
    .A0(a[0]), .A1(a[1]), .A2(a[2]), .B0(b[0]), .B1(b[1]), .B2(b[2]), .P0(p[0]), .P1(p[1]), .P2(p[2]), .P3(p[3]));
  assign o = {p[3:0], a[11:0]};
endmodule

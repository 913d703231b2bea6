// What people build first, each a top of its own. Data comes from the serial input, which the test makes noise on, and
// from inside.

// A filter of eight taps whose coefficients may change, rounded and limited; and a complex multiplication and sum.
module filter (input clk, input rx, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  reg signed [15:0] c [0:7], x [0:7];
  reg signed [31:0] p [0:7];
  reg signed [32:0] s [0:3];
  reg signed [34:0] y = 0, rounded = 0;
  reg signed [15:0] limited = 0;
  integer i;
  initial begin
    for (i = 0; i < 8; i = i + 1) begin c[i] = 1024 * i - 3000; x[i] = 0; p[i] = 0; end
    for (i = 0; i < 4; i = i + 1) s[i] = 0;
  end
  always @(posedge clk) begin
    if (r[31:27] == 0) c[r[26:24]] <= t[15:0];
    if (rx) begin
      x[0] <= r[23:8];
      for (i = 1; i < 8; i = i + 1) x[i] <= x[i - 1];
    end
    for (i = 0; i < 8; i = i + 1) p[i] <= x[i] * c[i];
    for (i = 0; i < 4; i = i + 1) s[i] <= p[2 * i] + p[2 * i + 1];
    y <= s[0] + s[1] + s[2] + s[3];
    rounded <= (y + 35'sd8192) >>> 14;
    limited <= rounded > 32767 ? 32767 : rounded < -32768 ? -32768 : rounded[15:0];
  end
  // (a + bi)(c + di), unsigned times signed beside it, and a square.
  reg signed [11:0] ar = 0, ai = 0;
  reg signed [17:0] br = 0, bi = 0;
  reg signed [30:0] zr = 0, zi = 0;
  reg signed [39:0] sum = 0;
  reg [23:0] square = 0;
  reg signed [25:0] mixed = 0;
  always @(posedge clk) begin
    {ar, ai} <= r[23:0];
    {br, bi} <= {t, r[31:28]};
    zr <= ar * br - ai * bi;
    zi <= ar * bi + ai * br;
    sum <= t[31:26] == 0 ? 0 : rx ? sum + zr : sum - zi;
    square <= ar[11:0] * ar[11:0];
    mixed <= $signed({1'b0, r[7:0]}) * br[16:0];
  end
  signature #(62) s0 (.clk(clk), .d({zr, zi}), .out(o[0]));
  signature #(40) s1 (.clk(clk), .d(sum), .out(o[1]));
  signature #(50) s2 (.clk(clk), .d({square, mixed}), .out(o[2]));
  signature #(16) s3 (.clk(clk), .d(limited), .out(o[3]));
  assign o[15:4] = limited[15:4];
endmodule

// SHA-256, a round a cycle and with constants of its own, over blocks of noise: each begins with what the last ended with.
module hash (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  function [31:0] turned(input [31:0] a, input integer n); turned = a >> n | a << (32 - n); endfunction
  reg [31:0] k [0:63], w [0:15], h [0:7], v [0:7];
  integer i;
  initial begin
    for (i = 0; i < 64; i = i + 1) k[i] = (i + 1) * 32'h9e3779b1 ^ i * i * 32'h85ebca6b;
    for (i = 0; i < 16; i = i + 1) w[i] = 0;
    for (i = 0; i < 8; i = i + 1) begin h[i] = 32'h6a09e667 * (2 * i + 1); v[i] = 32'h6a09e667 * (2 * i + 1); end
  end
  reg [5:0] round = 0;
  reg last = 0, busy = 1;
  wire [31:0] s0 = turned(w[1], 7) ^ turned(w[1], 18) ^ w[1] >> 3;
  wire [31:0] s1 = turned(w[14], 17) ^ turned(w[14], 19) ^ w[14] >> 10;
  wire [31:0] next = round < 16 ? {r[31:1], r[0] ^ rx} : w[0] + s0 + w[9] + s1;
  wire [31:0] e0 = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
  wire [31:0] e1 = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
  wire [31:0] t1 = v[7] + e1 + (v[4] & v[5] ^ ~v[4] & v[6]) + k[round] + next;
  wire [31:0] t2 = e0 + (v[0] & v[1] ^ v[0] & v[2] ^ v[1] & v[2]);
  always @(posedge clk) begin
    if (last) begin
      for (i = 0; i < 8; i = i + 1) begin h[i] <= h[i] + v[i]; v[i] <= h[i] + v[i]; end
      last <= 0;
    end else if (busy) begin
      for (i = 0; i < 15; i = i + 1) w[i] <= w[i + 1];
      w[15] <= next;
      for (i = 1; i < 8; i = i + 1) v[i] <= v[i - 1];
      v[4] <= v[3] + t1;
      v[0] <= t1 + t2;
      round <= round + 1;
      last <= round == 63;
      busy <= round != 63 || r[3];
    end else busy <= rx;
  end
  signature #(64) sig (.clk(clk), .d({h[0], h[7]}), .out(o[0]));
  assign o[15:1] = {busy, last, h[3][12:0]};
endmodule

// A master of a serial peripheral bus in all four modes and at any speed, and a slave on its wires that answers.
module peripheral (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  reg [1:0] mode = 0;
  reg [3:0] speed = 0, wait_ = 0;
  reg [4:0] left = 0;
  reg [15:0] out = 0, in = 0, got = 0;
  reg sck = 0, cs = 1;
  wire cpol = mode[1], cpha = mode[0];
  reg [15:0] answer = 16'h5a3c, heard = 0;
  reg miso = 0, seen = 0;
  wire mosi = out[15];
  always @(posedge clk) begin
    if (cs) begin
      sck <= cpol;
      if (r[7:5] == 0) begin
        {mode, speed, out} <= r[31:10];
        sck <= r[31];
        cs <= 0; left <= 31; wait_ <= r[29:26];
      end
    end else if (wait_ != 0) wait_ <= wait_ - 1;
    else begin
      wait_ <= speed;
      sck <= ~sck;
      if ((sck ^ cpol) == cpha) in <= {in[14:0], miso ^ rx};
      else if (left != 31 || !cpha) out <= {out[14:0], 1'b0};
      left <= left - 1;
      if (left == 0) begin cs <= 1; got <= in; end
    end
    // The slave looks at the wires as it would from outside.
    seen <= sck;
    if (cs) begin miso <= answer[15]; answer <= heard ^ got; end
    else if (seen != sck) begin
      if (sck != cpol ^ cpha) heard <= {heard[14:0], mosi};
      else begin miso <= answer[15]; answer <= {answer[14:0], answer[15]}; end
    end
  end
  signature #(32) sig (.clk(clk), .d({got, heard}), .out(o[0]));
  assign o[15:1] = {cs, sck, mosi, miso, got[10:0]};
endmodule

// A picture of 640 by 480 with text, a square that moves and a frame, by its counters.
module picture (input clk, input rx, output [15:0] o);
  reg [9:0] x = 0, y = 400;
  reg [7:0] text_ [0:4095];
  reg [7:0] font [0:1023];
  integer i;
  initial begin
    for (i = 0; i < 4096; i = i + 1) text_[i] = (i * 37 + (i >> 3)) & 127;
    for (i = 0; i < 1024; i = i + 1) font[i] = (i * 40503) >> 5;
  end
  reg [9:0] bx = 100, by = 420;
  reg dx = 0, dy = 1;
  reg [7:0] letter = 0, row = 0;
  reg [2:0] column0 = 0, column1 = 0;
  reg on0 = 0, on1 = 0, square0 = 0, square1 = 0, edge0 = 0, edge1 = 0, hs0 = 0, hs1 = 0, vs0 = 0, vs1 = 0;
  reg [2:0] line = 0;
  reg [11:0] colour = 0;
  wire end_of_frame = x == 799 && y == 524;
  always @(posedge clk) begin
    x <= x == 799 ? 0 : x + 1;
    if (x == 799) y <= y == 524 ? 0 : y + 1;
    if (end_of_frame) begin
      bx <= dx ? bx - 3 : bx + 3;
      by <= dy ? by - 2 : by + 2;
      if (bx > 600) dx <= 1; else if (bx < 8) dx <= 0;
      if (by > 440) dy <= 1; else if (by < 8) dy <= 0;
      text_[bx + by] <= {x[1:0], bx[5:0]};
    end
    letter <= text_[y[8:4] * 80 + x[9:3]];
    row <= font[{letter[6:0], line}];
    line <= y[3:1];
    {column1, column0} <= {column0, x[2:0]};
    {on1, on0} <= {on0, x < 640 && y < 480};
    {square1, square0} <= {square0, x - bx < 32 && y - by < 32};
    {edge1, edge0} <= {edge0, x == 0 || x == 639 || y == 0 || y == 479};
    {hs1, hs0} <= {hs0, !(x >= 656 && x < 752)};
    {vs1, vs0} <= {vs0, !(y >= 490 && y < 492)};
    colour <= !on1 ? 0 : edge1 ? 12'hfff : (square1 ? 12'h0c4 : 12'h122) ^ {12{row[7 - column1]}} ^ {11'b0, rx};
  end
  signature #(14) sig (.clk(clk), .d({hs1, vs1, colour}), .out(o[0]));
  assign o[15:1] = {hs1, vs1, on1, colour};
endmodule

// Memories that are not clocked to read, large ones, and read-only ones of logic.
module tables (input clk, input rx, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  (* ram_style = "distributed" *) reg [23:0] m [0:255];
  (* ram_style = "distributed" *) reg [3:0] n [0:511];
  (* rom_style = "logic" *) reg [8:0] f [0:1023];
  integer i;
  initial begin
    for (i = 0; i < 256; i = i + 1) m[i] = i * 24'h010203 + 7;
    for (i = 0; i < 512; i = i + 1) n[i] = i >> 2;
    for (i = 0; i < 1024; i = i + 1) f[i] = (i * i) >> 7 ^ i * 5;
  end
  always @(posedge clk) begin
    if (r[31] & rx) m[r[7:0]] <= t[23:0];
    if (r[30:29] == 0) n[r[28:20]] <= t[31:28];
  end
  wire [23:0] a = m[t[7:0]], b = m[r[15:8]];
  wire [3:0] c = n[{t[8:1], rx}];
  wire [8:0] d = f[a[9:0]], e = f[{c, b[5:0]}];
  reg [17:0] q = 0;
  always @(posedge clk) q <= {d, e} ^ {q[16:0], q[17]};
  signature #(70) sig (.clk(clk), .d({a, b, c, d, e}), .out(o[0]));
  assign o[15:1] = q[14:0];
endmodule

// Shifts and rotations by any number, wide choices, counts of ones and zeros, a delay line, sorting, a shared bus inside.
module movers (input clk, input rx, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  wire [63:0] w = {r, t};
  reg [63:0] rotated = 0, shifted = 0;
  reg signed [63:0] filled = 0;
  reg [6:0] ones = 0, zeros = 0;
  reg chosen = 0;
  reg [7:0] byte_ = 0;
  reg [127:0] line = 0;
  reg tapped = 0;
  reg [2:0] granted = 0, first = 0;
  integer i, j;
  reg [6:0] count;
  reg [2:0] pick;
  always @(posedge clk) begin
    rotated <= w << r[5:0] | w >> (64 - r[5:0]);
    shifted <= rx ? w << t[6:0] : w >> t[6:0];
    filled <= $signed(w) >>> r[12:7];
    count = 0;
    for (i = 0; i < 64; i = i + 1) count = count + w[i];
    ones <= count;
    count = 64;
    for (i = 0; i < 64; i = i + 1) if (filled[i]) count = 63 - i;
    zeros <= count;
    chosen <= shifted[rotated[5:0]];
    byte_ <= rotated[8 * r[2:0] +: 8];
    if (rx) line <= {line[126:0], r[9]};
    tapped <= line[t[12:6]];
    // Who asks next in turn after who was granted last.
    pick = granted;
    for (i = 7; i > 0; i = i - 1) if (t[(granted + i) & 7]) pick = granted + i;
    granted <= pick;
    first <= pick;
  end
  // Eight numbers, sorted, two steps a cycle.
  reg [5:0] s [0:7];
  reg [5:0] h;
  initial for (j = 0; j < 8; j = j + 1) s[j] = 0;
  reg [3:0] step = 0;
  always @(posedge clk) begin
    step <= step + 1;
    if (step == 0) for (j = 0; j < 8; j = j + 1) s[j] <= w[8 * j +: 6];
    else if (step[0]) begin
      for (j = 0; j < 8; j = j + 2) if (s[j] > s[j + 1]) begin s[j] <= s[j + 1]; s[j + 1] <= s[j]; end
    end else for (j = 1; j < 7; j = j + 2) if (s[j] > s[j + 1]) begin s[j] <= s[j + 1]; s[j + 1] <= s[j]; end
  end
  wire [7:0] bus;
  wire [1:0] who = r[14:13];
`ifdef SIMULATION
  assign bus = who == 0 ? r[7:0] : who == 1 ? t[7:0] : who == 2 ? ~byte_ : ones;
`else
  assign bus = who == 0 ? r[7:0] : 8'bz;
  assign bus = who == 1 ? t[7:0] : 8'bz;
  assign bus = who == 2 ? ~byte_ : 8'bz;
  assign bus = who == 3 ? ones : 8'bz;
`endif
  signature #(192) s0 (.clk(clk), .d({rotated, shifted, filled}), .out(o[0]));
  signature #(31) s1 (.clk(clk), .d({ones, zeros, chosen, byte_, tapped, granted, first, rx}), .out(o[1]));
  signature #(48) s2 (.clk(clk), .d({s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]}), .out(o[2]));
  signature #(8) s3 (.clk(clk), .d(bus), .out(o[3]));
  assign o[15:4] = {s[0], zeros[5:0]};
endmodule

// A memory of 32 bits with an enable for each byte, one that both of its ports write, and a register file.
module stores (input clk, input rx, output [15:0] o);
  wire [31:0] r, t, u;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  noise #(32'h600dcafe) n2 (.clk(clk), .r(u));
  reg [31:0] m [0:1023], b [0:511], file_ [0:31];
  integer i;
  initial begin
    for (i = 0; i < 1024; i = i + 1) m[i] = i * 32'h01000193;
    for (i = 0; i < 512; i = i + 1) b[i] = i * 32'h9e3779b1;
    for (i = 0; i < 32; i = i + 1) file_[i] = i;
  end
  reg [31:0] q = 0, p0 = 0, p1 = 0;
  wire [9:0] a = rx ? {6'b0, r[3:0]} : r[9:0];
  always @(posedge clk) begin
    for (i = 0; i < 4; i = i + 1) if (u[i]) m[a][8 * i +: 8] <= t[8 * i +: 8];
    q <= m[a];
  end
  // The ports keep to words of their own: what both do at one word is not defined.
  always @(posedge clk) begin if (u[4]) b[{t[7:0], 1'b0}] <= r; p0 <= b[{t[7:0], 1'b0}]; end
  always @(posedge clk) begin if (u[5]) b[{r[17:10], 1'b1}] <= t; p1 <= b[{r[17:10], 1'b1}]; end
  wire [31:0] x = file_[u[10:6]], y = file_[u[15:11]];
  reg [31:0] z = 0;
  always @(posedge clk) begin
    if (u[21]) file_[u[20:16]] <= u[22] ? x + y : u[23] ? x ^ q : {x[15:0], y[31:16]};
    z <= x < y ? x : y;
  end
  signature #(32) s0 (.clk(clk), .d(q), .out(o[0]));
  signature #(64) s1 (.clk(clk), .d({p0, p1}), .out(o[1]));
  signature #(32) s2 (.clk(clk), .d(z), .out(o[2]));
  assign o[15:3] = {z[5:0], q[6:0]};
endmodule

// A quotient and a root bit by bit, a rotation by steps, a checksum, and numbers for people to read.
module figures (input clk, input rx, output [15:0] o);
  wire [31:0] r, t;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(t));
  reg [5:0] step = 0;
  reg [31:0] n = 0, quotient = 0, divided = 0;
  reg [32:0] rest = 0;
  reg [15:0] d = 1;
  reg [31:0] square = 0, root = 0, one = 0, rooted = 0;
  wire [32:0] less = {rest[31:0], n[31]} - d;
  always @(posedge clk) begin
    step <= step == 33 ? 0 : step + 1;
    if (step == 0) begin
      n <= r; d <= t[15:0] | 1; rest <= 0; quotient <= 0;
      square <= t; root <= 0; one <= 1 << 30;
    end else if (step < 33) begin
      n <= {n[30:0], 1'b0};
      rest <= less[32] ? {rest[31:0], n[31]} : less;
      quotient <= {quotient[30:0], !less[32]};
      if (one != 0) begin
        if (square >= root + one) begin square <= square - (root + one); root <= (root >> 1) + one; end
        else root <= root >> 1;
        one <= one >> 2;
      end
    end else begin divided <= quotient; rooted <= root; end
  end
  // Sixteen rotations in a row.
  reg signed [17:0] x [0:12], y [0:12];
  reg signed [15:0] z [0:12];
  integer i;
  initial for (i = 0; i < 13; i = i + 1) begin x[i] = 0; y[i] = 0; z[i] = 0; end
  always @(posedge clk) begin
    x[0] <= 18'sd19898; y[0] <= 0; z[0] <= $signed(r[15:0]) >>> 1;
    for (i = 0; i < 12; i = i + 1) begin
      x[i + 1] <= z[i] < 0 ? x[i] + (y[i] >>> i) : x[i] - (y[i] >>> i);
      y[i + 1] <= z[i] < 0 ? y[i] - (x[i] >>> i) : y[i] + (x[i] >>> i);
      z[i + 1] <= z[i] < 0 ? z[i] + (16'sd8192 >>> i) : z[i] - (16'sd8192 >>> i);
    end
  end
  reg [31:0] crc = 32'hffffffff, c;
  always @(posedge clk) begin
    c = crc ^ {24'b0, t[7:1], rx};
    for (i = 0; i < 8; i = i + 1) c = c[0] ? c >> 1 ^ 32'hedb88320 : c >> 1;
    crc <= c;
  end
  // Shift and add three.
  reg [39:0] decimal, shown = 0;
  always @(posedge clk) begin
    decimal = 0;
    for (i = 15; i >= 0; i = i - 1) begin
      if (decimal[3:0] > 4) decimal[3:0] = decimal[3:0] + 3;
      if (decimal[7:4] > 4) decimal[7:4] = decimal[7:4] + 3;
      if (decimal[11:8] > 4) decimal[11:8] = decimal[11:8] + 3;
      if (decimal[15:12] > 4) decimal[15:12] = decimal[15:12] + 3;
      if (decimal[19:16] > 4) decimal[19:16] = decimal[19:16] + 3;
      decimal = {decimal[38:0], t[8 + i]};
    end
    shown <= decimal;
  end
  signature #(64) s0 (.clk(clk), .d({divided, rooted}), .out(o[0]));
  signature #(52) s1 (.clk(clk), .d({x[12], y[12], z[12]}), .out(o[1]));
  signature #(52) s2 (.clk(clk), .d({crc, shown[19:0]}), .out(o[2]));
  assign o[15:3] = {crc[4:0], divided[3:0], rooted[3:0]};
endmodule

// A queue of block RAM between two clocks, with the words that may be taken counted on both sides.
module two_clock_queue (input clk, input rx, output [15:0] o);
  wire [31:0] r;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r));
  // Three quarters of the clock's edges, and never one where the writer's data change.
  reg go = 0;
  reg [31:0] held = 0;
  always @(negedge clk) begin go <= r[1:0] != 0; held <= r; end
  wire other;
  gate g0 (clk, go, other);
  (* ram_style = "block" *) reg [35:0] m [0:511];
  reg [9:0] wp = 0, wg = 0, rp = 0, rg = 0, rg0 = 0, rg1 = 0, wg0 = 0, wg1 = 0;
  function [9:0] gray(input [9:0] v); gray = v ^ v >> 1; endfunction
  function [9:0] plain(input [9:0] v);
    integer i;
    begin plain[9] = v[9]; for (i = 8; i >= 0; i = i - 1) plain[i] = plain[i + 1] ^ v[i]; end
  endfunction
  wire [9:0] used = wp - plain(rg1), there = plain(wg1) - rp;
  wire put = held[5:4] != 0 & rx & used < 500, take = there != 0;
  reg [35:0] q = 0;
  reg valid = 0;
  always @(negedge clk) begin
    if (put) begin m[wp[8:0]] <= {held, held[3:0]}; wp <= wp + 1; wg <= gray(wp + 10'd1); end
    {rg1, rg0} <= {rg0, rg};
  end
  always @(posedge other) begin
    {wg1, wg0} <= {wg0, wg};
    valid <= take;
    if (take) begin q <= m[rp[8:0]]; rp <= rp + 1; rg <= gray(rp + 10'd1); end
  end
  reg [31:0] sum = 0;
  always @(posedge other) if (valid) sum <= {sum[30:0], sum[31]} + q[35:4] + q[3:0];
  assign o = {valid, used[6:0], sum[7:0]};
endmodule

// ALU54B between its two multipliers, MULT18X18D. With SIMULATION it is written as behaviour, after the vendor's guide
// of the DSP slice (FPGA-TN-02205, operation codes, registers and flags), for an independent simulator.

module slice #(parameter IN = 0, parameter PIPE = 0, parameter CREG = 0, parameter OPS = 0, parameter OUT = 1,
               parameter ASYNC = 0, parameter PATC = 0, parameter CASCADE = 0, parameter MCPAT = "0x00000000000000",
               parameter MASKPAT = "0x00000000000000", parameter RNDPAT = "0x00000000000000",
               parameter [53:0] MC = 0, parameter [53:0] MASK = 0, parameter [53:0] RND = 0)
  (input clk, input [17:0] a0, input [17:0] b0, input [17:0] a1, input [17:0] b1, input [1:0] s, input [53:0] c,
   input [10:0] op, input [53:0] cin, input signedcin, input ce, input [3:0] rst, output [53:0] r, output signedr,
   output eqz, output eqpat, output eqpatb);
`ifdef SIMULATION
  reg [17:0] qa0 = 0, qb0 = 0, qa1 = 0, qb1 = 0;
  reg [1:0] qs = 0, qps = 0;
  reg [53:0] qm0 = 0, qm1 = 0, qc = 0, qr = 0;
  reg [10:0] qop0 = 0, qop1 = 0;
  reg [2:0] qflags = 0;
  wire [17:0] xa0 = IN ? qa0 : a0, xb0 = IN ? qb0 : b0, xa1 = IN ? qa1 : a1, xb1 = IN ? qb1 : b1;
  wire [1:0] xs = IN ? qs : s, ps = PIPE ? qps : xs;
  wire signed [53:0] sm0 = $signed(xa0) * $signed(xb0), sm1 = $signed(xa1) * $signed(xb1);
  wire [53:0] um0 = xa0 * xb0, um1 = xa1 * xb1;
  wire [53:0] p0 = xs[0] ? sm0 : um0, p1 = xs[1] ? sm1 : um1;
  wire [53:0] m0 = PIPE ? qm0 : p0, m1 = PIPE ? qm1 : p1;
  wire [53:0] xc = CREG ? qc : c;
  wire [10:0] xop = OPS == 0 ? op : OPS == 1 ? qop0 : qop1;
  reg [53:0] x, y, z, f;
  always @* begin
    case (xop[1:0])
      0: x = r;
      1: x = m0;
      2: x = {xc[17:0], xb0, xa0};
      default: x = 0;
    endcase
    case (xop[3:2])
      0: y = {m1[35:0], 18'b0};
      1: y = m1;
      2: y = {xc[44:27], xb1, xa1};
      default: y = 0;
    endcase
    case (xop[6:4])
      0: z = 0;
      1: z = {{18{signedcin & cin[53]}}, cin[53:18]};
      2: z = cin;
      3: z = xc;
      4: z = {xc[17:0], xb0, xa0};
      5: z = r;
      6: z = RND;
      7: z = RND - 1;
    endcase
    case (xop[10:7])
      4: f = x + y + z;
      5: f = x - y + z;
      6: f = x + y - z;
      7: f = x - y - z;
      12: f = ~(y ^ z);
      14: f = y ^ z;
      0: f = ~(y & z);
      8: f = y & z;
      3: f = y | z;
      11: f = ~(y | z);
      default: f = 54'bx;
    endcase
  end
  wire [53:0] pattern = PATC ? xc : MC;
  wire [2:0] flags = {f == 0, &(~(f ^ pattern) | MASK), &((f ^ pattern) | MASK)};
  task step;
    begin
      {qa0, qb0, qa1, qb1, qs} <= {a0, b0, a1, b1, s};
      {qm0, qm1, qps, qc} <= {p0, p1, xs, c};
      {qop0, qop1} <= {op, OPS > 0 ? qop0 : op};
      {qr, qflags} <= {f, flags};
    end
  endtask
  task clear;
    begin
      {qa0, qb0, qa1, qb1, qs} <= 0;
      {qm0, qm1, qps, qc} <= 0;
      {qop0, qop1} <= 0;
      {qr, qflags} <= 0;
    end
  endtask
  generate
    if (ASYNC) begin
      always @(posedge clk or posedge rst[0]) if (rst[0]) clear; else if (ce) step;
    end else begin
      always @(posedge clk) if (rst[0]) clear; else if (ce) step;
    end
  endgenerate
  assign r = OUT ? qr : f;
  assign {eqz, eqpat, eqpatb} = OUT ? qflags : flags;
  assign signedr = |ps;
`else
  wire [17:0] ra0, rb0, ra1, rb1;
  wire [35:0] m0, m1;
  wire [1:0] sp;
  MULT18X18D #(
    .REG_INPUTA_CLK(IN ? "CLK0" : "NONE"), .REG_INPUTB_CLK(IN ? "CLK0" : "NONE"), .REG_PIPELINE_CLK(PIPE ? "CLK0" : "NONE"),
    .REG_OUTPUT_CLK("NONE"), .REG_INPUTA_CE("CE0"), .REG_INPUTB_CE("CE0"), .REG_PIPELINE_CE("CE0"), .REG_OUTPUT_CE("CE0"),
    .REG_INPUTA_RST("RST0"), .REG_INPUTB_RST("RST0"), .REG_PIPELINE_RST("RST0"), .REG_OUTPUT_RST("RST0"),
    .GSR("DISABLED"), .SOURCEB_MODE("B_SHIFT"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC")
  ) mult0 (
    .CLK0(clk), .CLK1(1'b0), .CLK2(1'b0), .CLK3(1'b0), .CE0(ce), .CE1(ce), .CE2(ce), .CE3(ce),
    .RST0(rst[0]), .RST1(rst[1]), .RST2(rst[2]), .RST3(rst[3]), .SIGNEDA(s[0]), .SIGNEDB(s[0]), .SOURCEA(1'b0), .SOURCEB(1'b0),
    .A0(a0[0]), .A1(a0[1]), .A2(a0[2]), .A3(a0[3]), .A4(a0[4]), .A5(a0[5]), .A6(a0[6]), .A7(a0[7]), .A8(a0[8]), .A9(a0[9]), .A10(a0[10]), .A11(a0[11]), .A12(a0[12]), .A13(a0[13]), .A14(a0[14]), .A15(a0[15]), .A16(a0[16]), .A17(a0[17]),
    .B0(b0[0]), .B1(b0[1]), .B2(b0[2]), .B3(b0[3]), .B4(b0[4]), .B5(b0[5]), .B6(b0[6]), .B7(b0[7]), .B8(b0[8]), .B9(b0[9]), .B10(b0[10]), .B11(b0[11]), .B12(b0[12]), .B13(b0[13]), .B14(b0[14]), .B15(b0[15]), .B16(b0[16]), .B17(b0[17]),
    .ROA0(ra0[0]), .ROA1(ra0[1]), .ROA2(ra0[2]), .ROA3(ra0[3]), .ROA4(ra0[4]), .ROA5(ra0[5]), .ROA6(ra0[6]), .ROA7(ra0[7]), .ROA8(ra0[8]), .ROA9(ra0[9]), .ROA10(ra0[10]), .ROA11(ra0[11]), .ROA12(ra0[12]), .ROA13(ra0[13]), .ROA14(ra0[14]), .ROA15(ra0[15]), .ROA16(ra0[16]), .ROA17(ra0[17]),
    .ROB0(rb0[0]), .ROB1(rb0[1]), .ROB2(rb0[2]), .ROB3(rb0[3]), .ROB4(rb0[4]), .ROB5(rb0[5]), .ROB6(rb0[6]), .ROB7(rb0[7]), .ROB8(rb0[8]), .ROB9(rb0[9]), .ROB10(rb0[10]), .ROB11(rb0[11]), .ROB12(rb0[12]), .ROB13(rb0[13]), .ROB14(rb0[14]), .ROB15(rb0[15]), .ROB16(rb0[16]), .ROB17(rb0[17]),
    .P0(m0[0]), .P1(m0[1]), .P2(m0[2]), .P3(m0[3]), .P4(m0[4]), .P5(m0[5]), .P6(m0[6]), .P7(m0[7]), .P8(m0[8]), .P9(m0[9]), .P10(m0[10]), .P11(m0[11]), .P12(m0[12]), .P13(m0[13]), .P14(m0[14]), .P15(m0[15]), .P16(m0[16]), .P17(m0[17]), .P18(m0[18]), .P19(m0[19]), .P20(m0[20]), .P21(m0[21]), .P22(m0[22]), .P23(m0[23]), .P24(m0[24]), .P25(m0[25]), .P26(m0[26]), .P27(m0[27]), .P28(m0[28]), .P29(m0[29]), .P30(m0[30]), .P31(m0[31]), .P32(m0[32]), .P33(m0[33]), .P34(m0[34]), .P35(m0[35]),
    .SIGNEDP(sp[0])
  );
  MULT18X18D #(
    .REG_INPUTA_CLK(IN ? "CLK0" : "NONE"), .REG_INPUTB_CLK(IN ? "CLK0" : "NONE"), .REG_PIPELINE_CLK(PIPE ? "CLK0" : "NONE"),
    .REG_OUTPUT_CLK("NONE"), .REG_INPUTA_CE("CE0"), .REG_INPUTB_CE("CE0"), .REG_PIPELINE_CE("CE0"), .REG_OUTPUT_CE("CE0"),
    .REG_INPUTA_RST("RST0"), .REG_INPUTB_RST("RST0"), .REG_PIPELINE_RST("RST0"), .REG_OUTPUT_RST("RST0"),
    .GSR("DISABLED"), .SOURCEB_MODE("B_SHIFT"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC")
  ) mult1 (
    .CLK0(clk), .CLK1(1'b0), .CLK2(1'b0), .CLK3(1'b0), .CE0(ce), .CE1(ce), .CE2(ce), .CE3(ce),
    .RST0(rst[0]), .RST1(rst[1]), .RST2(rst[2]), .RST3(rst[3]), .SIGNEDA(s[1]), .SIGNEDB(s[1]), .SOURCEA(1'b0), .SOURCEB(1'b0),
    .A0(a1[0]), .A1(a1[1]), .A2(a1[2]), .A3(a1[3]), .A4(a1[4]), .A5(a1[5]), .A6(a1[6]), .A7(a1[7]), .A8(a1[8]), .A9(a1[9]), .A10(a1[10]), .A11(a1[11]), .A12(a1[12]), .A13(a1[13]), .A14(a1[14]), .A15(a1[15]), .A16(a1[16]), .A17(a1[17]),
    .B0(b1[0]), .B1(b1[1]), .B2(b1[2]), .B3(b1[3]), .B4(b1[4]), .B5(b1[5]), .B6(b1[6]), .B7(b1[7]), .B8(b1[8]), .B9(b1[9]), .B10(b1[10]), .B11(b1[11]), .B12(b1[12]), .B13(b1[13]), .B14(b1[14]), .B15(b1[15]), .B16(b1[16]), .B17(b1[17]),
    .ROA0(ra1[0]), .ROA1(ra1[1]), .ROA2(ra1[2]), .ROA3(ra1[3]), .ROA4(ra1[4]), .ROA5(ra1[5]), .ROA6(ra1[6]), .ROA7(ra1[7]), .ROA8(ra1[8]), .ROA9(ra1[9]), .ROA10(ra1[10]), .ROA11(ra1[11]), .ROA12(ra1[12]), .ROA13(ra1[13]), .ROA14(ra1[14]), .ROA15(ra1[15]), .ROA16(ra1[16]), .ROA17(ra1[17]),
    .ROB0(rb1[0]), .ROB1(rb1[1]), .ROB2(rb1[2]), .ROB3(rb1[3]), .ROB4(rb1[4]), .ROB5(rb1[5]), .ROB6(rb1[6]), .ROB7(rb1[7]), .ROB8(rb1[8]), .ROB9(rb1[9]), .ROB10(rb1[10]), .ROB11(rb1[11]), .ROB12(rb1[12]), .ROB13(rb1[13]), .ROB14(rb1[14]), .ROB15(rb1[15]), .ROB16(rb1[16]), .ROB17(rb1[17]),
    .P0(m1[0]), .P1(m1[1]), .P2(m1[2]), .P3(m1[3]), .P4(m1[4]), .P5(m1[5]), .P6(m1[6]), .P7(m1[7]), .P8(m1[8]), .P9(m1[9]), .P10(m1[10]), .P11(m1[11]), .P12(m1[12]), .P13(m1[13]), .P14(m1[14]), .P15(m1[15]), .P16(m1[16]), .P17(m1[17]), .P18(m1[18]), .P19(m1[19]), .P20(m1[20]), .P21(m1[21]), .P22(m1[22]), .P23(m1[23]), .P24(m1[24]), .P25(m1[25]), .P26(m1[26]), .P27(m1[27]), .P28(m1[28]), .P29(m1[29]), .P30(m1[30]), .P31(m1[31]), .P32(m1[32]), .P33(m1[33]), .P34(m1[34]), .P35(m1[35]),
    .SIGNEDP(sp[1])
  );
  generate if (CASCADE) begin : g
  ALU54B #(
    .REG_INPUTC0_CLK(CREG ? "CLK0" : "NONE"), .REG_INPUTC1_CLK(CREG ? "CLK0" : "NONE"),
    .REG_OPCODEOP0_0_CLK(OPS > 0 ? "CLK0" : "NONE"), .REG_OPCODEOP1_0_CLK(OPS > 0 ? "CLK0" : "NONE"), .REG_OPCODEIN_0_CLK(OPS > 0 ? "CLK0" : "NONE"),
    .REG_OPCODEOP0_1_CLK(OPS > 1 ? "CLK0" : "NONE"), .REG_OPCODEOP1_1_CLK(OPS > 1 ? "CLK0" : "NONE"), .REG_OPCODEIN_1_CLK(OPS > 1 ? "CLK0" : "NONE"),
    // nextpnr moves controls to other pins, and only names it finds here follow.
    .REG_OPCODEIN_0_CE("CE0"), .REG_OPCODEIN_0_RST("RST0"), .REG_OPCODEIN_1_CE("CE0"), .REG_OPCODEIN_1_RST("RST0"), .REG_OPCODEOP0_0_CE("CE0"), .REG_OPCODEOP0_0_RST("RST0"), .REG_OPCODEOP0_1_CE("CE0"), .REG_OPCODEOP0_1_RST("RST0"),
    .REG_OUTPUT0_CLK(OUT ? "CLK0" : "NONE"), .REG_OUTPUT1_CLK(OUT ? "CLK0" : "NONE"), .REG_FLAG_CLK(OUT ? "CLK0" : "NONE"),
    .MCPAT_SOURCE(PATC ? "DYNAMIC" : "STATIC"), .MASKPAT_SOURCE("STATIC"), .MCPAT(MCPAT), .MASKPAT(MASKPAT), .RNDPAT(RNDPAT),
    .MASK01("0x00000000000000"), .GSR("DISABLED"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC"), .LEGACY("DISABLED")
  ) alu (
    .CLK0(clk), .CLK1(1'b0), .CLK2(1'b0), .CLK3(1'b0), .CE0(ce), .CE1(ce), .CE2(ce), .CE3(ce),
    .RST0(rst[0]), .RST1(rst[1]), .RST2(rst[2]), .RST3(rst[3]), .SIGNEDIA(sp[0]), .SIGNEDIB(sp[1]),
    .A0(ra0[0]), .A1(ra0[1]), .A2(ra0[2]), .A3(ra0[3]), .A4(ra0[4]), .A5(ra0[5]), .A6(ra0[6]), .A7(ra0[7]), .A8(ra0[8]), .A9(ra0[9]), .A10(ra0[10]), .A11(ra0[11]), .A12(ra0[12]), .A13(ra0[13]), .A14(ra0[14]), .A15(ra0[15]), .A16(ra0[16]), .A17(ra0[17]),
    .A18(rb0[0]), .A19(rb0[1]), .A20(rb0[2]), .A21(rb0[3]), .A22(rb0[4]), .A23(rb0[5]), .A24(rb0[6]), .A25(rb0[7]), .A26(rb0[8]), .A27(rb0[9]), .A28(rb0[10]), .A29(rb0[11]), .A30(rb0[12]), .A31(rb0[13]), .A32(rb0[14]), .A33(rb0[15]), .A34(rb0[16]), .A35(rb0[17]),
    .B0(ra1[0]), .B1(ra1[1]), .B2(ra1[2]), .B3(ra1[3]), .B4(ra1[4]), .B5(ra1[5]), .B6(ra1[6]), .B7(ra1[7]), .B8(ra1[8]), .B9(ra1[9]), .B10(ra1[10]), .B11(ra1[11]), .B12(ra1[12]), .B13(ra1[13]), .B14(ra1[14]), .B15(ra1[15]), .B16(ra1[16]), .B17(ra1[17]),
    .B18(rb1[0]), .B19(rb1[1]), .B20(rb1[2]), .B21(rb1[3]), .B22(rb1[4]), .B23(rb1[5]), .B24(rb1[6]), .B25(rb1[7]), .B26(rb1[8]), .B27(rb1[9]), .B28(rb1[10]), .B29(rb1[11]), .B30(rb1[12]), .B31(rb1[13]), .B32(rb1[14]), .B33(rb1[15]), .B34(rb1[16]), .B35(rb1[17]),
    .MA0(m0[0]), .MA1(m0[1]), .MA2(m0[2]), .MA3(m0[3]), .MA4(m0[4]), .MA5(m0[5]), .MA6(m0[6]), .MA7(m0[7]), .MA8(m0[8]), .MA9(m0[9]), .MA10(m0[10]), .MA11(m0[11]), .MA12(m0[12]), .MA13(m0[13]), .MA14(m0[14]), .MA15(m0[15]), .MA16(m0[16]), .MA17(m0[17]), .MA18(m0[18]), .MA19(m0[19]), .MA20(m0[20]), .MA21(m0[21]), .MA22(m0[22]), .MA23(m0[23]), .MA24(m0[24]), .MA25(m0[25]), .MA26(m0[26]), .MA27(m0[27]), .MA28(m0[28]), .MA29(m0[29]), .MA30(m0[30]), .MA31(m0[31]), .MA32(m0[32]), .MA33(m0[33]), .MA34(m0[34]), .MA35(m0[35]),
    .MB0(m1[0]), .MB1(m1[1]), .MB2(m1[2]), .MB3(m1[3]), .MB4(m1[4]), .MB5(m1[5]), .MB6(m1[6]), .MB7(m1[7]), .MB8(m1[8]), .MB9(m1[9]), .MB10(m1[10]), .MB11(m1[11]), .MB12(m1[12]), .MB13(m1[13]), .MB14(m1[14]), .MB15(m1[15]), .MB16(m1[16]), .MB17(m1[17]), .MB18(m1[18]), .MB19(m1[19]), .MB20(m1[20]), .MB21(m1[21]), .MB22(m1[22]), .MB23(m1[23]), .MB24(m1[24]), .MB25(m1[25]), .MB26(m1[26]), .MB27(m1[27]), .MB28(m1[28]), .MB29(m1[29]), .MB30(m1[30]), .MB31(m1[31]), .MB32(m1[32]), .MB33(m1[33]), .MB34(m1[34]), .MB35(m1[35]),
    .C0(c[0]), .C1(c[1]), .C2(c[2]), .C3(c[3]), .C4(c[4]), .C5(c[5]), .C6(c[6]), .C7(c[7]), .C8(c[8]), .C9(c[9]), .C10(c[10]), .C11(c[11]), .C12(c[12]), .C13(c[13]), .C14(c[14]), .C15(c[15]), .C16(c[16]), .C17(c[17]), .C18(c[18]), .C19(c[19]), .C20(c[20]), .C21(c[21]), .C22(c[22]), .C23(c[23]), .C24(c[24]), .C25(c[25]), .C26(c[26]), .C27(c[27]), .C28(c[28]), .C29(c[29]), .C30(c[30]), .C31(c[31]), .C32(c[32]), .C33(c[33]), .C34(c[34]), .C35(c[35]), .C36(c[36]), .C37(c[37]), .C38(c[38]), .C39(c[39]), .C40(c[40]), .C41(c[41]), .C42(c[42]), .C43(c[43]), .C44(c[44]), .C45(c[45]), .C46(c[46]), .C47(c[47]), .C48(c[48]), .C49(c[49]), .C50(c[50]), .C51(c[51]), .C52(c[52]), .C53(c[53]),
    .OP0(op[0]), .OP1(op[1]), .OP2(op[2]), .OP3(op[3]), .OP4(op[4]), .OP5(op[5]), .OP6(op[6]), .OP7(op[7]), .OP8(op[8]), .OP9(op[9]), .OP10(op[10]),
    .R0(r[0]), .R1(r[1]), .R2(r[2]), .R3(r[3]), .R4(r[4]), .R5(r[5]), .R6(r[6]), .R7(r[7]), .R8(r[8]), .R9(r[9]), .R10(r[10]), .R11(r[11]), .R12(r[12]), .R13(r[13]), .R14(r[14]), .R15(r[15]), .R16(r[16]), .R17(r[17]), .R18(r[18]), .R19(r[19]), .R20(r[20]), .R21(r[21]), .R22(r[22]), .R23(r[23]), .R24(r[24]), .R25(r[25]), .R26(r[26]), .R27(r[27]), .R28(r[28]), .R29(r[29]), .R30(r[30]), .R31(r[31]), .R32(r[32]), .R33(r[33]), .R34(r[34]), .R35(r[35]), .R36(r[36]), .R37(r[37]), .R38(r[38]), .R39(r[39]), .R40(r[40]), .R41(r[41]), .R42(r[42]), .R43(r[43]), .R44(r[44]), .R45(r[45]), .R46(r[46]), .R47(r[47]), .R48(r[48]), .R49(r[49]), .R50(r[50]), .R51(r[51]), .R52(r[52]), .R53(r[53]),
    .SIGNEDR(signedr), .EQZ(eqz), .EQPAT(eqpat), .EQPATB(eqpatb),
    .CIN0(cin[0]), .CIN1(cin[1]), .CIN2(cin[2]), .CIN3(cin[3]), .CIN4(cin[4]), .CIN5(cin[5]), .CIN6(cin[6]), .CIN7(cin[7]), .CIN8(cin[8]), .CIN9(cin[9]), .CIN10(cin[10]), .CIN11(cin[11]), .CIN12(cin[12]), .CIN13(cin[13]), .CIN14(cin[14]), .CIN15(cin[15]), .CIN16(cin[16]), .CIN17(cin[17]), .CIN18(cin[18]), .CIN19(cin[19]), .CIN20(cin[20]), .CIN21(cin[21]), .CIN22(cin[22]), .CIN23(cin[23]), .CIN24(cin[24]), .CIN25(cin[25]), .CIN26(cin[26]), .CIN27(cin[27]), .CIN28(cin[28]), .CIN29(cin[29]), .CIN30(cin[30]), .CIN31(cin[31]), .CIN32(cin[32]), .CIN33(cin[33]), .CIN34(cin[34]), .CIN35(cin[35]), .CIN36(cin[36]), .CIN37(cin[37]), .CIN38(cin[38]), .CIN39(cin[39]), .CIN40(cin[40]), .CIN41(cin[41]), .CIN42(cin[42]), .CIN43(cin[43]), .CIN44(cin[44]), .CIN45(cin[45]), .CIN46(cin[46]), .CIN47(cin[47]), .CIN48(cin[48]), .CIN49(cin[49]), .CIN50(cin[50]), .CIN51(cin[51]), .CIN52(cin[52]), .CIN53(cin[53]),
    .SIGNEDCIN(signedcin)
  );
  end else begin : g
  ALU54B #(
    .REG_INPUTC0_CLK(CREG ? "CLK0" : "NONE"), .REG_INPUTC1_CLK(CREG ? "CLK0" : "NONE"),
    .REG_OPCODEOP0_0_CLK(OPS > 0 ? "CLK0" : "NONE"), .REG_OPCODEOP1_0_CLK(OPS > 0 ? "CLK0" : "NONE"), .REG_OPCODEIN_0_CLK(OPS > 0 ? "CLK0" : "NONE"),
    .REG_OPCODEOP0_1_CLK(OPS > 1 ? "CLK0" : "NONE"), .REG_OPCODEOP1_1_CLK(OPS > 1 ? "CLK0" : "NONE"), .REG_OPCODEIN_1_CLK(OPS > 1 ? "CLK0" : "NONE"),
    // nextpnr moves controls to other pins, and only names it finds here follow.
    .REG_OPCODEIN_0_CE("CE0"), .REG_OPCODEIN_0_RST("RST0"), .REG_OPCODEIN_1_CE("CE0"), .REG_OPCODEIN_1_RST("RST0"), .REG_OPCODEOP0_0_CE("CE0"), .REG_OPCODEOP0_0_RST("RST0"), .REG_OPCODEOP0_1_CE("CE0"), .REG_OPCODEOP0_1_RST("RST0"),
    .REG_OUTPUT0_CLK(OUT ? "CLK0" : "NONE"), .REG_OUTPUT1_CLK(OUT ? "CLK0" : "NONE"), .REG_FLAG_CLK(OUT ? "CLK0" : "NONE"),
    .MCPAT_SOURCE(PATC ? "DYNAMIC" : "STATIC"), .MASKPAT_SOURCE("STATIC"), .MCPAT(MCPAT), .MASKPAT(MASKPAT), .RNDPAT(RNDPAT),
    .MASK01("0x00000000000000"), .GSR("DISABLED"), .RESETMODE(ASYNC ? "ASYNC" : "SYNC"), .LEGACY("DISABLED")
  ) alu (
    .CLK0(clk), .CLK1(1'b0), .CLK2(1'b0), .CLK3(1'b0), .CE0(ce), .CE1(ce), .CE2(ce), .CE3(ce),
    .RST0(rst[0]), .RST1(rst[1]), .RST2(rst[2]), .RST3(rst[3]), .SIGNEDIA(sp[0]), .SIGNEDIB(sp[1]),
    .A0(ra0[0]), .A1(ra0[1]), .A2(ra0[2]), .A3(ra0[3]), .A4(ra0[4]), .A5(ra0[5]), .A6(ra0[6]), .A7(ra0[7]), .A8(ra0[8]), .A9(ra0[9]), .A10(ra0[10]), .A11(ra0[11]), .A12(ra0[12]), .A13(ra0[13]), .A14(ra0[14]), .A15(ra0[15]), .A16(ra0[16]), .A17(ra0[17]),
    .A18(rb0[0]), .A19(rb0[1]), .A20(rb0[2]), .A21(rb0[3]), .A22(rb0[4]), .A23(rb0[5]), .A24(rb0[6]), .A25(rb0[7]), .A26(rb0[8]), .A27(rb0[9]), .A28(rb0[10]), .A29(rb0[11]), .A30(rb0[12]), .A31(rb0[13]), .A32(rb0[14]), .A33(rb0[15]), .A34(rb0[16]), .A35(rb0[17]),
    .B0(ra1[0]), .B1(ra1[1]), .B2(ra1[2]), .B3(ra1[3]), .B4(ra1[4]), .B5(ra1[5]), .B6(ra1[6]), .B7(ra1[7]), .B8(ra1[8]), .B9(ra1[9]), .B10(ra1[10]), .B11(ra1[11]), .B12(ra1[12]), .B13(ra1[13]), .B14(ra1[14]), .B15(ra1[15]), .B16(ra1[16]), .B17(ra1[17]),
    .B18(rb1[0]), .B19(rb1[1]), .B20(rb1[2]), .B21(rb1[3]), .B22(rb1[4]), .B23(rb1[5]), .B24(rb1[6]), .B25(rb1[7]), .B26(rb1[8]), .B27(rb1[9]), .B28(rb1[10]), .B29(rb1[11]), .B30(rb1[12]), .B31(rb1[13]), .B32(rb1[14]), .B33(rb1[15]), .B34(rb1[16]), .B35(rb1[17]),
    .MA0(m0[0]), .MA1(m0[1]), .MA2(m0[2]), .MA3(m0[3]), .MA4(m0[4]), .MA5(m0[5]), .MA6(m0[6]), .MA7(m0[7]), .MA8(m0[8]), .MA9(m0[9]), .MA10(m0[10]), .MA11(m0[11]), .MA12(m0[12]), .MA13(m0[13]), .MA14(m0[14]), .MA15(m0[15]), .MA16(m0[16]), .MA17(m0[17]), .MA18(m0[18]), .MA19(m0[19]), .MA20(m0[20]), .MA21(m0[21]), .MA22(m0[22]), .MA23(m0[23]), .MA24(m0[24]), .MA25(m0[25]), .MA26(m0[26]), .MA27(m0[27]), .MA28(m0[28]), .MA29(m0[29]), .MA30(m0[30]), .MA31(m0[31]), .MA32(m0[32]), .MA33(m0[33]), .MA34(m0[34]), .MA35(m0[35]),
    .MB0(m1[0]), .MB1(m1[1]), .MB2(m1[2]), .MB3(m1[3]), .MB4(m1[4]), .MB5(m1[5]), .MB6(m1[6]), .MB7(m1[7]), .MB8(m1[8]), .MB9(m1[9]), .MB10(m1[10]), .MB11(m1[11]), .MB12(m1[12]), .MB13(m1[13]), .MB14(m1[14]), .MB15(m1[15]), .MB16(m1[16]), .MB17(m1[17]), .MB18(m1[18]), .MB19(m1[19]), .MB20(m1[20]), .MB21(m1[21]), .MB22(m1[22]), .MB23(m1[23]), .MB24(m1[24]), .MB25(m1[25]), .MB26(m1[26]), .MB27(m1[27]), .MB28(m1[28]), .MB29(m1[29]), .MB30(m1[30]), .MB31(m1[31]), .MB32(m1[32]), .MB33(m1[33]), .MB34(m1[34]), .MB35(m1[35]),
    .C0(c[0]), .C1(c[1]), .C2(c[2]), .C3(c[3]), .C4(c[4]), .C5(c[5]), .C6(c[6]), .C7(c[7]), .C8(c[8]), .C9(c[9]), .C10(c[10]), .C11(c[11]), .C12(c[12]), .C13(c[13]), .C14(c[14]), .C15(c[15]), .C16(c[16]), .C17(c[17]), .C18(c[18]), .C19(c[19]), .C20(c[20]), .C21(c[21]), .C22(c[22]), .C23(c[23]), .C24(c[24]), .C25(c[25]), .C26(c[26]), .C27(c[27]), .C28(c[28]), .C29(c[29]), .C30(c[30]), .C31(c[31]), .C32(c[32]), .C33(c[33]), .C34(c[34]), .C35(c[35]), .C36(c[36]), .C37(c[37]), .C38(c[38]), .C39(c[39]), .C40(c[40]), .C41(c[41]), .C42(c[42]), .C43(c[43]), .C44(c[44]), .C45(c[45]), .C46(c[46]), .C47(c[47]), .C48(c[48]), .C49(c[49]), .C50(c[50]), .C51(c[51]), .C52(c[52]), .C53(c[53]),
    .OP0(op[0]), .OP1(op[1]), .OP2(op[2]), .OP3(op[3]), .OP4(op[4]), .OP5(op[5]), .OP6(op[6]), .OP7(op[7]), .OP8(op[8]), .OP9(op[9]), .OP10(op[10]),
    .R0(r[0]), .R1(r[1]), .R2(r[2]), .R3(r[3]), .R4(r[4]), .R5(r[5]), .R6(r[6]), .R7(r[7]), .R8(r[8]), .R9(r[9]), .R10(r[10]), .R11(r[11]), .R12(r[12]), .R13(r[13]), .R14(r[14]), .R15(r[15]), .R16(r[16]), .R17(r[17]), .R18(r[18]), .R19(r[19]), .R20(r[20]), .R21(r[21]), .R22(r[22]), .R23(r[23]), .R24(r[24]), .R25(r[25]), .R26(r[26]), .R27(r[27]), .R28(r[28]), .R29(r[29]), .R30(r[30]), .R31(r[31]), .R32(r[32]), .R33(r[33]), .R34(r[34]), .R35(r[35]), .R36(r[36]), .R37(r[37]), .R38(r[38]), .R39(r[39]), .R40(r[40]), .R41(r[41]), .R42(r[42]), .R43(r[43]), .R44(r[44]), .R45(r[45]), .R46(r[46]), .R47(r[47]), .R48(r[48]), .R49(r[49]), .R50(r[50]), .R51(r[51]), .R52(r[52]), .R53(r[53]),
    .SIGNEDR(signedr), .EQZ(eqz), .EQPAT(eqpat), .EQPATB(eqpatb)
  );
  end endgenerate
`endif
endmodule

// Four nets that are zero and that nobody takes for one: the chip database does not know which reset some registers of
// the ALU have, and nextpnr gives equal nets one pin.
module zeros (output [3:0] z);
`ifdef SIMULATION
  assign z = 0;
`else
  genvar i;
  generate for (i = 0; i < 4; i = i + 1) begin : each (* keep *) LUT4 #(.INIT(16'h0000)) cell_ (.Z(z[i])); end endgenerate
`endif
endmodule

// One signature for each way of using the slice.
module alus (input clk, output [15:0] o);
  wire [31:0] r0, r1, r2, r3, r4;
  noise #(32'h2545f491) n0 (.clk(clk), .r(r0));
  noise #(32'h0badf00d) n1 (.clk(clk), .r(r1));
  noise #(32'h13579bdf) n2 (.clk(clk), .r(r2));
  noise #(32'hdeadbeef) n3 (.clk(clk), .r(r3));
  noise #(32'h600dcafe) n4 (.clk(clk), .r(r4));
  reg [3:0] rst = 4'b1111;
  always @(posedge clk) rst <= {&r4[4:0], ~|r4[9:5], &r4[14:10], ~|r4[20:15]};
  wire [53:0] c = r4[31] ? {r0[26:0], r3[26:0]} : {{46{r4[30]}}, r3[7:0]};
  wire [17:0] a0 = r0[17:0], b0 = r1[17:0], a1 = r2[17:0], b1 = r3[17:0];
  wire [53:0] r [0:10];
  wire [10:0] signedr, eqz, eqpat, eqpatb;
  wire [3:0] z0, z1;
  zeros zs0 (z0);
  zeros zs1 (z1);
  // Sum and difference of two products, without any register.
  slice #(.OUT(0)) s0 (clk, a0, b0, a1, b1, 2'b11, 54'b0, {3'b010, r4[0], 3'b000, 4'b0101}, 54'b0, 1'b0,
    1'b1, 4'b0, r[0], signedr[0], eqz[0], eqpat[0], eqpatb[0]);
  // Accumulator of a product and C, both ways, with every register.
  slice #(.IN(1), .PIPE(1), .CREG(1), .OPS(2)) s1 (clk, a0, b0, a1, b1, 2'b10, c, {2'b01, r4[1:0], 3'b011, 4'b0100},
    54'b0, 1'b0, 1'b1, z0, r[1], signedr[1], eqz[1], eqpat[1], eqpatb[1]);
  // 54 bits of A and B, which C completes.
  slice s2 (clk, a0, b0, a1, b1, 2'b00, c, {3'b010, r4[3], 3'b000, 4'b1010}, 54'b0, 1'b0,
    1'b1, {4{rst[1]}}, r[2], signedr[2], eqz[2], eqpat[2], eqpatb[2]);
  // Exclusive or and its opposite of B and C; a pattern with some bits masked.
  slice #(.IN(1), .OPS(1), .MCPAT("0x000000000000c5"), .MASKPAT("0x3fffffffffffe0"), .MC(54'hc5), .MASK(54'h3fffffffffffe0))
    s3 (clk, a0, b0, a1, b1, r4[6:5], c, {2'b11, r4[7], 1'b0, 3'b011, 4'b1000}, 54'b0, 1'b0,
    1'b1, z1, r[3], signedr[3], eqz[3], eqpat[3], eqpatb[3]);
  // And, or and their opposites.
  slice #(.PIPE(1)) s4 (clk, a0, b0, a1, b1, r4[10:9], c, {r4[11], 3'b000, 3'b011, 4'b0100}, 54'b0, 1'b0,
    1'b1, {4{rst[3]}}, r[4], signedr[4], eqz[4], eqpat[4], eqpatb[4]);
  slice #(.ASYNC(1), .IN(1), .OPS(1)) s5 (clk, a0, b0, a1, b1, r4[13:12], c, {r4[14], 3'b011, 3'b011, 4'b0000}, 54'b0, 1'b0,
    1'b1, {4{rst[0]}}, r[5], signedr[5], eqz[5], eqpat[5], eqpatb[5]);
  // Every choice of A and B, and of C what needs no neighbour: A, or the result.
  slice #(.ASYNC(1), .IN(1), .PIPE(1), .OPS(2)) s6 (clk, a0, b0, a1, b1, r4[17:16], c,
    {2'b01, r4[19:18], 2'b10, r4[20], r4[24:21]}, 54'b0, 1'b0, 1'b1, {4{rst[1]}}, r[6], signedr[6], eqz[6], eqpat[6], eqpatb[6]);
  // Rounding, and a pattern that C brings; signs that change as it goes.
  slice #(.OUT(0), .IN(1), .PATC(1), .RNDPAT("0x00000000020000"), .RND(54'h20000), .MASKPAT("0x3ffffffffffff0"),
    .MASK(54'h3ffffffffffff0)) s7 (clk, a0, b0, a1, b1, r4[29:28], {46'b0, c[7:0]},
    {3'b010, r4[26], 2'b11, r4[27], 4'b0101}, 54'b0, 1'b0, r4[30], {4{rst[2]}}, r[7], signedr[7], eqz[7], eqpat[7], eqpatb[7]);
  // Two in a row: the second adds the first's result, whole or without its lowest 18 bits.
  slice #(.IN(1)) s8 (clk, a0, b0, a1, b1, {2{r4[28]}}, c, {3'b010, r4[29], 3'b011, 4'b0101}, 54'b0, 1'b0,
    1'b1, {4{rst[3]}}, r[8], signedr[8], eqz[8], eqpat[8], eqpatb[8]);
  slice #(.IN(1), .CASCADE(1), .OPS(1)) s9 (clk, a1, b0, a0, b1, r1[31:30], c, {3'b010, r4[29], 1'b0, r1[29:28], 4'b0101},
    r[8], signedr[8], 1'b1, {4{rst[3]}}, r[9], signedr[9], eqz[9], eqpat[9], eqpatb[9]);
  // Registers that wait for an enable.
  slice #(.OUT(0), .IN(1), .PIPE(1), .OPS(2)) s10 (clk, a1, b1, a0, b0, r2[31:30], c, {3'b010, r4[2], 3'b011, r4[9:8], 2'b01},
    54'b0, 1'b0, r4[25], {4{rst[2]}}, r[10], signedr[10], eqz[10], eqpat[10], eqpatb[10]);
  genvar i;
  generate
    for (i = 0; i < 11; i = i + 1) begin : signatures
      signature #(54) sig (.clk(clk), .d(r[i]), .out(o[i]));
    end
  endgenerate
  // Flags only where the chip database knows the resets of their registers, or they have none, and their patterns.
  signature #(5) s11 (.clk(clk), .d({eqz[0], eqz[1], eqz[3], eqz[7], eqz[10]}), .out(o[11]));
  signature #(3) s12 (.clk(clk), .d({eqpat[7], eqpat[3], eqpat[1]}), .out(o[12]));
  signature #(3) s13 (.clk(clk), .d({eqpatb[7], eqpatb[3], eqpatb[1]}), .out(o[13]));
  assign o[15:14] = r0[1:0];
endmodule

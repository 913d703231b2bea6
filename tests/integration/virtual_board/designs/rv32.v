// A small RV32I core: three cycles an instruction, one 4 KiB block RAM for program and data, an output port at 0x800.
// Not in it: CSRs, fences, exceptions, misaligned accesses. Bytes and half words are there.
module rv32 (input clk, input rx, output [15:0] o);
  reg [31:0] memory [0:511];
  initial $readmemh(`PROGRAM, memory);

  localparam FETCH = 0, EXECUTE = 1, FINISH = 2;
  reg [1:0] state = FETCH;
  reg [31:0] pc = 0, word = 0, out = 0;
  reg [31:0] x [0:31];
  integer i;
  initial for (i = 0; i < 32; i = i + 1) x[i] = 0;

  // The instruction is in `word` after FETCH, a load's data after EXECUTE.
  reg [31:0] instruction = 0;
  wire [31:0] now = state == EXECUTE ? word : instruction;
  wire [4:0] opcode = now[6:2], rd = now[11:7], rs1 = now[19:15], rs2 = now[24:20];
  wire [2:0] f = now[14:12];
  wire [31:0] a = x[rs1], b = x[rs2];
  wire [31:0] imm_i = {{20{now[31]}}, now[31:20]}, imm_s = {{20{now[31]}}, now[31:25], now[11:7]};
  wire [31:0] imm_b = {{20{now[31]}}, now[7], now[30:25], now[11:8], 1'b0};
  wire [31:0] imm_j = {{12{now[31]}}, now[19:12], now[20], now[30:21], 1'b0};

  wire load = opcode == 5'b00000, store = opcode == 5'b01000, branch = opcode == 5'b11000;
  wire jal = opcode == 5'b11011, jalr = opcode == 5'b11001, lui = opcode == 5'b01101, auipc = opcode == 5'b00101;
  wire immediate = opcode == 5'b00100;

  wire [31:0] second = immediate ? imm_i : b;
  wire [4:0] amount = second[4:0];
  reg [31:0] result;
  always @* begin
    case (f)
      0: result = !immediate && now[30] ? a - b : a + second;
      1: result = a << amount;
      2: result = {31'b0, $signed(a) < $signed(second)};
      3: result = {31'b0, a < second};
      4: result = a ^ second;
      5: result = now[30] ? $signed(a) >>> amount : a >> amount;
      6: result = a | second;
      default: result = a & second;
    endcase
  end

  wire less = f[1] ? a < b : $signed(a) < $signed(b);
  wire taken = f[0] ^ (f[2] ? less : a == b);
  wire [31:0] address = a + (store ? imm_s : imm_i);
  wire port = address[11];

  // Byte lanes of stores and loads.
  wire [3:0] lanes = f[1] ? 4'b1111 : f[0] ? 4'b0011 << address[1:0] : 4'b0001 << address[1:0];
  wire [31:0] stored = b << {address[1:0], 3'b0};
  wire [31:0] shifted = word >> {address[1:0], 3'b0};
  wire [31:0] loaded = port ? {31'b0, rx} : f[1] ? shifted
    : f[0] ? {{16{shifted[15] & ~f[2]}}, shifted[15:0]} : {{24{shifted[7] & ~f[2]}}, shifted[7:0]};

  wire [8:0] place = state == FETCH ? pc[10:2] : address[10:2];
  wire write = state == EXECUTE && store && !port;
  always @(posedge clk) begin
    word <= memory[place];
    if (write && lanes[0]) memory[place][7:0] <= stored[7:0];
    if (write && lanes[1]) memory[place][15:8] <= stored[15:8];
    if (write && lanes[2]) memory[place][23:16] <= stored[23:16];
    if (write && lanes[3]) memory[place][31:24] <= stored[31:24];
  end

  wire [31:0] following = pc + 4;
  wire [31:0] value = load ? loaded : jal | jalr ? following : lui ? {now[31:12], 12'b0}
    : auipc ? pc + {now[31:12], 12'b0} : result;
  wire writes = load | jal | jalr | lui | auipc | immediate | opcode == 5'b01100;
  always @(posedge clk) begin
    case (state)
      FETCH: state <= EXECUTE;
      EXECUTE: begin
        instruction <= word;
        state <= FINISH;
        if (store && port) out <= b;
      end
      default: begin
        state <= FETCH;
        if (writes && rd != 0) x[rd] <= value;
        pc <= jal ? pc + imm_j : jalr ? (a + imm_i) & ~32'b1 : branch && taken ? pc + imm_b : following;
      end
    endcase
  end
  assign o = out[15:0] ^ {out[31:26], pc[11:2]};
endmodule

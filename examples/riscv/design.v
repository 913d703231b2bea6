// A small RV32I computer: a processor that takes three cycles an instruction, and 1 KiB of memory for program and data.
// Register map: README.md. Not in it: CSRs, fences, interrupts, misaligned accesses; ECALL and EBREAK end the program.
//
// The memory is one block RAM with one port. It belongs to the bus while the processor stands, and to the processor while
// it runs; a transfer to it meanwhile ends with `wb_err`.

module riscv (
    input             clk,
    input             rst,
    input             wb_cyc,
    input             wb_stb,
    input             wb_we,
    input      [8:0]  wb_adr,
    input      [31:0] wb_dat_w,
    input      [3:0]  wb_sel,
    output     [31:0] wb_dat_r,
    output reg        wb_ack,
    output reg        wb_err,
    output     [3:0]  io_leds
);
    localparam [8:0] CONTROL = 9'd0, PC = 9'd1, CYCLES = 9'd2, INSTRUCTIONS = 9'd3;
    localparam [1:0] FETCH = 2'd0, EXECUTE = 2'd1, FINISH = 2'd2;

    reg        running;
    reg [1:0]  state;
    reg [9:0]  pc;
    reg [31:0] cycles, instructions;
    reg [31:0] x [0:31];
    reg [31:0] memory [0:255];
    integer i;
    initial for (i = 0; i < 32; i = i + 1) x[i] = 0;

    // -- one instruction: in `word` while it is EXECUTEd, kept with its operands until it FINISHes; then a load's data is
    // in `word`
    reg  [31:0] word, now, a, b;
    wire [31:0] first = x[word[19:15]], other = x[word[24:20]];
    wire [4:0]  opcode = now[6:2], rd = now[11:7];
    wire [2:0]  f = now[14:12];
    wire [31:0] imm_i = {{20{now[31]}}, now[31:20]};
    wire [9:0]  imm_b = {now[29:25], now[11:8], 1'b0}, imm_j = {now[29:21], 1'b0};  // of 1 KiB no more counts

    wire load   = opcode == 5'b00000, branch = opcode == 5'b11000;
    wire jal    = opcode == 5'b11011, jalr  = opcode == 5'b11001;
    wire lui    = opcode == 5'b01101, auipc = opcode == 5'b00101;
    wire alu    = opcode == 5'b01100, alu_i = opcode == 5'b00100;
    wire system = opcode == 5'b11100;

    wire [31:0] second = alu_i ? imm_i : b;
    reg  [31:0] result;
    always @* begin
        case (f)
            3'd0:    result = alu && now[30] ? a - b : a + second;
            3'd1:    result = a << second[4:0];
            3'd2:    result = {31'd0, $signed(a) < $signed(second)};
            3'd3:    result = {31'd0, a < second};
            3'd4:    result = a ^ second;
            3'd5:    result = now[30] ? $signed(a) >>> second[4:0] : a >> second[4:0];
            3'd6:    result = a | second;
            default: result = a & second;
        endcase
    end

    wire less  = f[1] ? a < b : $signed(a) < $signed(b);
    wire taken = f[0] ^ (f[2] ? less : a == b);

    // -- bytes and half words: addressed while an instruction is EXECUTEd, shifted into their place when it FINISHes
    wire        store   = word[6:2] == 5'b01000;
    wire [9:0]  address = first[9:0] + (store ? {word[29:25], word[11:7]} : word[29:20]);
    wire [3:0]  lanes   = word[13] ? 4'b1111 : word[12] ? 4'b0011 << address[1:0] : 4'b0001 << address[1:0];
    reg  [1:0]  at;
    wire [31:0] shifted = word >> {at, 3'd0};
    wire [31:0] loaded  = f[1] ? shifted
                        : f[0] ? {{16{shifted[15] & ~f[2]}}, shifted[15:0]}
                               : {{24{shifted[7] & ~f[2]}}, shifted[7:0]};

    // -- the memory's only port
    wire        request = wb_cyc & wb_stb & ~wb_ack & ~wb_err;
    wire        poke    = request & wb_we & wb_adr[8];
    wire [7:0]  place   = !running ? wb_adr[7:0] : state == FETCH ? pc[9:2] : address[9:2];
    wire [31:0] stored  = running ? other << {address[1:0], 3'd0} : wb_dat_w;
    wire [3:0]  enable  = running ? lanes & {4{state == EXECUTE && store}} : wb_sel & {4{poke}};
    always @(posedge clk) begin
        word <= memory[place];
        if (enable[0]) memory[place][7:0]   <= stored[7:0];
        if (enable[1]) memory[place][15:8]  <= stored[15:8];
        if (enable[2]) memory[place][23:16] <= stored[23:16];
        if (enable[3]) memory[place][31:24] <= stored[31:24];
    end

    // -- the processor
    wire [9:0]  next_pc = jal            ? pc + imm_j
                        : jalr           ? (a[9:0] + imm_i[9:0]) & ~10'd1
                        : branch & taken ? pc + imm_b : pc + 10'd4;
    wire [31:0] value   = load ? loaded : jal | jalr ? {22'd0, pc} + 32'd4 : lui ? {now[31:12], 12'd0}
                        : auipc ? {22'd0, pc} + {now[31:12], 12'd0} : result;
    wire        writes  = load | jal | jalr | lui | auipc | alu | alu_i;
    always @(posedge clk) begin
        if (running) begin
            cycles <= cycles + 1;
            case (state)
                FETCH: state <= EXECUTE;
                EXECUTE: begin
                    now   <= word;
                    a     <= first;
                    b     <= other;
                    at    <= address[1:0];
                    state <= FINISH;
                end
                default: begin
                    state <= FETCH;
                    instructions <= instructions + 1;
                    if (system) running <= 1'b0;
                    else pc <= next_pc;
                    if (writes && rd != 0) x[rd] <= value;
                end
            endcase
        end
        if (request && wb_we && wb_adr == CONTROL) begin
            running <= wb_dat_w[0];
            state <= FETCH;
            if (wb_dat_w[0]) begin
                pc <= 0;
                cycles <= 0;
                instructions <= 0;
            end
        end
        if (rst) begin
            running <= 1'b0;
            state <= FETCH;
            pc <= 0;
            cycles <= 0;
            instructions <= 0;
        end
    end

    // -- the bus
    reg [31:0] told;
    always @(posedge clk) begin
        wb_ack <= request & ~(wb_adr[8] & running) & ~rst;
        wb_err <= request & wb_adr[8] & running & ~rst;
        case (wb_adr)
            CONTROL:      told <= {31'd0, running};
            PC:           told <= {22'd0, pc};
            CYCLES:       told <= cycles;
            INSTRUCTIONS: told <= instructions;
            default:      told <= 0;
        endcase
    end
    assign wb_dat_r = wb_adr[8] ? word : told;
    assign io_leds = pc[5:2];
endmodule

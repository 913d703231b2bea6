// Counter: counts clock cycles from 0 up to a limit, then starts again. Register map: README.md.
//
// Reads and writes are acknowledged combinationally: `wb_ack` follows the request in the same cycle. The bus takes one
// transfer per request, so a write strobe lasts exactly one cycle.

module counter (
    input             clk,
    input             rst,
    input             wb_cyc,
    input             wb_stb,
    input             wb_we,
    input      [8:0]  wb_adr,
    input      [31:0] wb_dat_w,
    input      [3:0]  wb_sel,
    output reg [31:0] wb_dat_r,
    output            wb_ack
);
    localparam [8:0] CONTROL = 9'd0;  // bit 0: run, bit 1: write 1 to clear
    localparam [8:0] LIMIT   = 9'd1;
    localparam [8:0] COUNT   = 9'd2;
    localparam [8:0] WRAPS   = 9'd3;

    reg        run;
    reg [31:0] limit, count, wraps;

    wire request = wb_cyc & wb_stb;
    wire write   = request & wb_we & (&wb_sel);
    wire clear   = write & (wb_adr == CONTROL) & wb_dat_w[1];

    assign wb_ack = request;

    always @* begin
        case (wb_adr)
            CONTROL: wb_dat_r = {31'd0, run};
            LIMIT:   wb_dat_r = limit;
            COUNT:   wb_dat_r = count;
            WRAPS:   wb_dat_r = wraps;
            default: wb_dat_r = 32'd0;
        endcase
    end

    always @(posedge clk) begin
        if (write && wb_adr == CONTROL) run   <= wb_dat_w[0];
        if (write && wb_adr == LIMIT)   limit <= wb_dat_w;

        if (clear) begin
            count <= 32'd0;
            wraps <= 32'd0;
        end else if (run) begin
            if (count >= limit) begin
                count <= 32'd0;
                wraps <= wraps + 32'd1;
            end else begin
                count <= count + 32'd1;
            end
        end

        if (rst) begin
            run   <= 1'b0;
            limit <= 32'hFFFF_FFFF;
            count <= 32'd0;
            wraps <= 32'd0;
        end
    end
endmodule

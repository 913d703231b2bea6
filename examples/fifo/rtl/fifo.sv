// A synchronous FIFO of DEPTH words. A write is taken if `full` is low, a read if `empty` is low; a full FIFO takes a
// write in the cycle of a read only after that read, so `full` needs no look at `read`.
module fifo #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 4,
    localparam int AW = $clog2(DEPTH)
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             write,
    input  logic [WIDTH-1:0] wdata,
    input  logic             read,
    output logic [WIDTH-1:0] rdata,
    output logic             full,
    output logic             empty,
    output logic [AW:0]      level
);
  logic [WIDTH-1:0] words[DEPTH];
  logic [AW-1:0] head, tail;
  logic pushes, pops;

  assign full   = level == DEPTH[AW:0];
  assign empty  = level == '0;
  assign rdata  = words[tail];
  assign pushes = write && !full;
  assign pops   = read && !empty;

  always_ff @(posedge clk) begin
    if (pushes) words[head] <= wdata;
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      head  <= '0;
      tail  <= '0;
      level <= '0;
    end else begin
      if (pushes) head <= head + 1'b1;
      if (pops) tail <= tail + 1'b1;
      level <= level + {{AW{1'b0}}, pushes} - {{AW{1'b0}}, pops};
    end
  end

  // Only the module itself sees its pointers. Without this, nothing that reaches a word is provable by induction.
  always_ff @(posedge clk) begin
    if (!rst) pointers_apart : assert (head - tail == level[AW-1:0]);
  end
endmodule

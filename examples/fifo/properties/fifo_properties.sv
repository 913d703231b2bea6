// What a user of the FIFO may rely on. Bound into every fifo.
module fifo_properties #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 4
) (
    input logic                   clk,
    input logic                   rst,
    input logic                   write,
    input logic [WIDTH-1:0]       wdata,
    input logic                   read,
    input logic [WIDTH-1:0]       rdata,
    input logic                   full,
    input logic                   empty,
    input logic [$clog2(DEPTH):0] level
);
  default clocking ticks @(posedge clk);
  endclocking
  default disable iff (rst);

  initial assume (rst);

  never_above : assert property (level <= DEPTH);
  full_or_not : assert property (full == (level == DEPTH));
  empty_or_not : assert property (empty == (level == 0));

  // A full FIFO takes nothing, an empty one gives nothing.
  stays_full : assert property (full && !read |=> full);
  stays_empty : assert property (empty && !write |=> empty && level == 0);

  one_more : assert property (write && !full && !(read && !empty) |=> level == $past(level) + 1);
  one_less : assert property (read && !empty && !(write && !full) |=> level == $past(level) - 1);
  unchanged : assert property (!write && !read |=> $stable(level) && !$rose(full) && !$fell(empty));

  // What goes into an empty FIFO comes out next, however long it waits.
  first_word : assert property (empty && write |=> !empty && rdata == $past(wdata));
  waits : assert property (!empty && !read |=> $stable(rdata));

  // The only way from empty to full is DEPTH writes long.
  property fills_slowly;
    empty ##1 write |-> ##[0:2] !full;
  endproperty
  slow : assert property (fills_slowly);

  gets_full : cover property (full);
  drains : cover property (full ##1 !full ##[1:8] empty);
endmodule

bind fifo fifo_properties #(.WIDTH(WIDTH), .DEPTH(DEPTH)) properties (.*);

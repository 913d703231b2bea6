// Proven for every run, however long: `lutlab formal .`
module tag_check_properties (
    input logic       clk,
    input logic       rst,
    input logic       busy,
    input logic [3:0] place,
    input logic       done,
    input logic       equal
);
  default clocking @(posedge clk);
  endclocking
  default disable iff (rst);

  initial assume (rst);

  never_early : assert property (busy && place != 4'd15 |=> !done);
  ends : assert property (busy && place == 4'd15 |=> done && !busy);
  one_cycle : assert property (done |=> !done);
  idle_is_quiet : assert property (!busy |=> !done);
  answers : cover property (done && equal);
endmodule

bind tag_check tag_check_properties properties (.*);

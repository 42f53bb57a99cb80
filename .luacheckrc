-- luacheck: one page of rules; an exception stands beside the code that needs it.
std = "luajit"
max_line_length = 160
codes = true

files["lua/isa"] = { max_line_length = false }   -- one instruction, one row

files["spec"] = { std = "luajit+busted" }

-- luacheck: one page of rules; an exception stands beside the code that needs it.
std = "luajit"
max_line_length = 140
codes = true

files["spec"] = { std = "luajit+busted" }

-- luacheck: one page of rules; an exception stands beside the code that needs it.
std = "luajit"
max_line_length = 160
codes = true

-- Instruction descriptions: one row, one line; the words are those that umbra.isa gives them.
files["lua/isa"] = {
  max_line_length = false,
  read_globals = { "XLEN", "extension", "field", "file", "func", "include", "insn", "keys", "register", "short" },
}

files["spec"] = { std = "luajit+busted" }

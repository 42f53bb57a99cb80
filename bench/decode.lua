-- decode: what it takes to know an instruction, and to write it down.
-- SPDX-License-Identifier: MIT
local bench = require "umbra.bench"
local ffi = require "ffi"
local clib, cpu, dis = require "umbra.clib", require "umbra.cpu", require "umbra.dis"
local build = bench.file "guest/build.lua"

local C = clib.C

-- The words of a kernel's code, each where an instruction begins.
local function setup()
  local words, bytes = {}, ffi.new("uint32_t[?]", 512)
  for _, section in ipairs(dis.file(build.program("sha256", "bare", 1))) do
    for line in section:lines() do words[#words + 1] = line.word end
  end
  for i = 0, 511 do bytes[i] = words[i % #words + 1] end
  return { words = bytes, mask = cpu.isa_mask "rv64gc", decoded = ffi.new "struct um_riscv_decoded" }
end

return bench {
  help = "decoder and disassembler, on the code of a kernel",
  bench.component {
    name = "decode", unit = "instruction", setup = setup, needs = { build.compiler_program },
    routine = function(s, i)
      C.um_riscv_decode(s.words[i % 512], s.mask, s.decoded)
      return s.decoded.op
    end,
  },
  bench.component {
    name = "disassemble", unit = "instruction", setup = setup, needs = { build.compiler_program },
    routine = function(s, i) return dis.word(s.words[i % 512]) end,
  },
}

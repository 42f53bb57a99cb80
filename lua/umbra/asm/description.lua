-- description: the description of RISC-V that the assembler reads.
-- SPDX-License-Identifier: MIT
local isa = require "umbra.isa"

local lua = debug.getinfo(1, "S").source:match "^@(.*)umbra/asm/description%.lua$"

return isa.load(lua .. "isa/riscv/riscv.lua")

-- a: atomic memory operations (unprivileged manual, chapter 13).
-- SPDX-License-Identifier: MIT

insn "lr.w" "00010 aq rl 00000 rs1 010 rd 0101111" "rd, (rs1)"      [[ rd = lr.s32(rs1, aq, rl) ]]
insn "sc.w" "00011 aq rl rs2   rs1 010 rd 0101111" "rd, rs2, (rs1)" [[ rd = sc.32(rs1, rs2, aq, rl) ]]
if XLEN == 64 then
  insn "lr.d" "00010 aq rl 00000 rs1 011 rd 0101111" "rd, (rs1)"      [[ rd = lr.u64(rs1, aq, rl) ]]
  insn "sc.d" "00011 aq rl rs2   rs1 011 rd 0101111" "rd, rs2, (rs1)" [[ rd = sc.64(rs1, rs2, aq, rl) ]]
end

local operations = { { "swap", "00001" }, { "add", "00000" }, { "xor", "00100" }, { "and", "01100" }, { "or", "01000" },
                     { "min", "10000" }, { "max", "10100" }, { "minu", "11000" }, { "maxu", "11100" } }
for _, o in ipairs(operations) do
  local name, code = o[1], o[2]
  insn("amo" .. name .. ".w") (code .. " aq rl rs2 rs1 010 rd 0101111") "rd, rs2, (rs1)" ("rd = amo." .. name .. ".s32(rs1, rs2, aq, rl)")
  if XLEN == 64 then
    insn("amo" .. name .. ".d") (code .. " aq rl rs2 rs1 011 rd 0101111") "rd, rs2, (rs1)" ("rd = amo." .. name .. ".u64(rs1, rs2, aq, rl)")
  end
end

-- guest: small bare-metal programs: assembled, run by umbra and by qemu-system-riscv64, and what they noted compared.
--
-- A program is assembler text with a label `main`; spec/guest/prelude.s comes before it. Its result is the notes it took: a list of
-- 16-digit hexadecimal numbers. Linked programs are kept in build/guest, by the text they come from.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local lfs     = require "lfs"
local machine = require "umbra.machine"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local guest = {}

local NOTES   = 0x80100000
local FOLDER  = "build/guest"
local SECONDS = 20
guest.ISA = "rv64gc_zicntr_zihpm_zicond_zicbom_zicboz_zawrs_zba_zbb_zbc_zbs_sstc_svinval_svnapot_svpbmt_svadu"

-- FNV-1a over two halves with different starts: enough to tell the programs of one folder apart.
local function name_of(text)
  local a, b = 0x811c9dc5, 0x01234567
  for i = 1, #text do
    local byte = text:byte(i)
    a = bit.tobit(bit.bxor(a, byte) * 0x193 + bit.lshift(a, 24))
    b = bit.tobit(bit.bxor(b, byte) * 0x1b3 + bit.lshift(a, 7))
  end
  return bit.tohex(a) .. bit.tohex(b)
end

-- The path of the linked program. march: what the assembler may use.
function guest.build(text, march)
  march = march or "rv64gc_zicbom_zicboz_svinval"
  local whole = "# " .. march .. "\n" .. tree.read "spec/guest/prelude.s" .. text
  local path = ("%s/%s"):format(FOLDER, name_of(whole))
  if tree.exists(path .. ".elf") then return path .. ".elf" end
  lfs.mkdir "build"
  lfs.mkdir(FOLDER)
  local file = assert(io.open(path .. ".s", "w"))
  file:write(whole)
  file:close()
  local output, code = tree.run(("{ riscv64-unknown-elf-as -march=%s -o %s.o %s.s && riscv64-unknown-elf-ld -N --no-relax --no-warn-rwx-segments " ..
    "-Ttext=0x80000000 -o %s.tmp %s.o && mv %s.tmp %s.elf && rm %s.o; }"):format(march, path, path, path, path, path, path, path))
  if code ~= 0 then error("does not assemble:\n" .. output, 2) end
  return path .. ".elf"
end

local function hex(bytes)
  local notes = {}
  for i = 1, #bytes - 7, 8 do
    notes[#notes + 1] = bytes:sub(i, i + 7):reverse():gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  end
  return notes
end

-- Runs the program here. options: isa, mmu, misaligned, fuse of the machine; prepare = function(m) before it runs; keep = m is not closed.
-- Returns { reason =, code =, notes = {...} }.
function guest.run(path, options)
  options = options or {}
  local m = machine.load("machines/bare.lua", { kernel = path, isa = options.isa or guest.ISA, mmu = options.mmu or "sv57",
    misaligned = options.misaligned or "fast" })
  if options.prepare then options.prepare(m) end
  local result = m:run { timeout = SECONDS, instructions = options.instructions }
  local size = m.hart:reg "s11" - NOTES
  local notes = size >= 0 and size < 0x100000 and hex(m.mem:read(NOTES, size)) or {}
  local out = { reason = result.reason, code = result.code, notes = notes, counters = m:counters() }
  m:close()
  return out
end

-- Runs the program in QEMU's `virt` machine: the same fields. options: cpu, seconds, options = more of its command line, raw: all that it
-- wrote comes as `bytes` instead of notes. (A sanitizer preloaded into this process is not for QEMU.)
function guest.qemu(path, options)
  options = options or {}
  local out = path:gsub("elf$", "out")
  local _, code = tree.run(("env -u LD_PRELOAD timeout -s KILL %d qemu-system-riscv64 -M virt -cpu %s -m 128M -bios none -kernel %s -display none " ..
    "-serial none -monitor none -semihosting-config enable=on,target=native %s > %s 2> /dev/null < /dev/null"):format(options.seconds or SECONDS,
    umbra.quote(options.cpu or guest.CPU), path, options.options or "", out))
  local result = { reason = code == 0 and "exit" or "code " .. code, code = code }
  if options.raw then result.bytes = tree.read(out) else result.notes = hex(tree.read(out)) end
  os.remove(out)
  return result
end

-- As close to guest.ISA as QEMU 7.2 comes.
guest.CPU = "rv64,h=false,sstc=true,svinval=true,svnapot=true,svpbmt=true,pmu-num=0"

-- The first few notes that differ, as text; nil when the results are equal. `describe(i)` says what note i is.
function guest.differences(ours, theirs, describe)
  local lines = {}
  if ours.reason ~= theirs.reason then lines[1] = ("ended with %s here, %s there"):format(ours.reason, theirs.reason) end
  for i = 1, math.max(#ours.notes, #theirs.notes) do
    if ours.notes[i] ~= theirs.notes[i] then
      local what = describe and (" (%s)"):format(describe(i)) or ""
      lines[#lines + 1] = ("note %d: %s here, %s there%s"):format(i, ours.notes[i] or "none", theirs.notes[i] or "none", what)
      if #lines == 8 then break end
    end
  end
  return lines[1] and table.concat(lines, "\n") or nil
end

return guest

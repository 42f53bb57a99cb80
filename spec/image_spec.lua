-- image: what files to be booted are, hostile ones among them.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local image   = require "umbra.image"
local refuses = require "spec.support.refuses"
local umbra   = require "spec.support.umbra"

local function le(value, bytes)
  local pieces = {}
  for i = 1, bytes do
    pieces[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(pieces)
end

-- An ELF file for RISC-V 64 of the given segments ({ at, bytes, memory }), with fields of the header replaced.
local function elf(segments, fields)
  fields = fields or {}
  local count = #segments
  local header = "\127ELF" .. le(fields.class or 2, 1) .. le(fields.order or 1, 1) .. "\1" .. ("\0"):rep(9)
    .. le(2, 2) .. le(fields.machine or 243, 2) .. le(1, 4) .. le(fields.entry or 0x80000000, 8) .. le(fields.ph_offset or 64, 8)
    .. le(fields.sh_offset or 0, 8) .. le(0, 4) .. le(64, 2) .. le(fields.ph_size or 56, 2) .. le(fields.ph_count or count, 2)
    .. le(64, 2) .. le(fields.sh_count or 0, 2) .. le(0, 2)
  local table_of, data, offset = {}, {}, 64 + 56 * count
  for i, s in ipairs(segments) do
    table_of[i] = le(s.type or 1, 4) .. le(5, 4) .. le(s.offset or offset, 8) .. le(s.at, 8) .. le(s.at, 8) .. le(s.file_bytes or #s.bytes, 8)
      .. le(s.memory or #s.bytes, 8) .. le(4096, 8)
    data[i] = s.bytes
    offset = offset + #s.bytes
  end
  return header .. table.concat(table_of) .. table.concat(data)
end

local function linux(fields)
  return "MZ\0\0" .. le(0, 4) .. le(fields.text_offset or 2^21, 8) .. le(fields.size or 2^22, 8) .. le(fields.flags or 0, 8)
    .. le(2, 4) .. le(0, 4) .. ("\0"):rep(8) .. "RISCV\0\0\0" .. (fields.magic or "RSC\5") .. le(0, 4) .. ("x"):rep(100)
end

describe("an ELF file", function()
  it("has segments, an entry and a range", function()
    local file = image.parse(elf({ { at = 0x80001000, bytes = "data", memory = 4096 }, { at = 0x80000000, bytes = "code" } }), "t.elf")
    assert.equal("elf", file.kind)
    assert.equal(64, file.bits)
    assert.equal(0x80000000, file.entry)
    assert.equal(0x80000000, file.low)
    assert.equal(0x80002000, file.high)
    assert.equal(2, #file.segments)
    assert.same({ at = 0x80001000, virtual_at = 0x80001000, offset = 176, file_bytes = 4, memory_bytes = 4096, flags = 5, headers = false }, file.segments[1])
    local seen = {}
    file:each_piece(0, function(at, from, size, memory) seen[#seen + 1] = { at, ffi.string(from, size), memory } end)
    assert.same({ { 0x80001000, "data", 4096 }, { 0x80000000, "code", 4 } }, seen)
  end)

  it("may have segments that are not to be loaded", function()
    local file = image.parse(elf { { at = 0, bytes = "note", type = 4 }, { at = 0x1000, bytes = "x" }, { at = 0x1000, bytes = "" } }, "t.elf")
    assert.equal(1, #file.segments)
  end)

  it("keeps addresses above 2^53 exact", function()
    local bytes = elf { { at = 0, bytes = "code" } }
    bytes = bytes:sub(1, 64 + 24) .. "\1\0\0\128\255\255\255\255" .. bytes:sub(64 + 33)
    assert.is_true(image.parse(bytes, "t.elf").segments[1].at == 0xffffffff80000001ULL)
  end)

  it("made by a real linker has symbols", function()
    local folder = umbra.folder()
    finally(folder.remove)
    local path = umbra.assemble(".globl _start, tohost\n_start: nop\n.data\n.balign 64\ntohost: .dword 0\n.set far, 0xffffffff80000000\n.globl far\n",
      folder.path .. "/t.elf")
    local file = image.open(path)
    assert.equal(0x80000000, file:symbol "_start")
    assert.equal(0, file:symbol "tohost" % 64)
    assert.is_true(file:symbol "far" == 0xffffffff80000000ULL)
    assert.is_nil(file:symbol "toho")
    assert.is_nil(file:symbol "")
  end)

  local BROKEN = {
    { "truncated ELF file: 19 bytes", elf({}):sub(1, 19) },
    { "truncated ELF file: 63 bytes", elf({}):sub(1, 63) },
    { "broken ELF file: class 3", elf({}, { class = 3 }) },
    { "broken ELF file: byte order 7", elf({}, { order = 7 }) },
    { "not for RISC%-V 64: x86%-64", elf({ { at = 0, bytes = "x" } }, { machine = 62 }) },
    { "not for RISC%-V 64: AArch64", elf({ { at = 0, bytes = "x" } }, { machine = 183 }) },
    { "not for RISC%-V 64: ELF machine 9999", elf({ { at = 0, bytes = "x" } }, { machine = 9999 }) },
    { "not for RISC%-V 64: s390", elf({ { at = 0, bytes = "x" } }, { order = 2, machine = 22 * 256 }) },
    { "ELF file without segments to load %(an object file%?%)", elf {} },
    { "ELF file without segments to load %(an object file%?%)", elf { { at = 0, bytes = "x", type = 2 } } },
    { "broken ELF file: program headers of 31 bytes", elf({ { at = 0, bytes = "x" } }, { ph_size = 31 }) },
    { "truncated ELF file: the program headers end behind the end of the file", elf({ { at = 0, bytes = "x" } }, { ph_count = 9 }) },
    { "truncated ELF file: the program headers end behind the end of the file", elf({ { at = 0, bytes = "x" } }, { ph_offset = 2^63 }) },
    { "truncated ELF file: segment 0 ends behind the end of the file", elf { { at = 0, bytes = "x", file_bytes = 9, memory = 9 } } },
    { "truncated ELF file: segment 0 ends behind the end of the file", elf { { at = 0, bytes = "x", offset = 2^63 } } },
    { "broken ELF file: segment 0 has more bytes in the file than in memory", elf { { at = 0, bytes = "xyz", memory = 2 } } },
    { "broken ELF file: segment 0 wraps around the address space", elf { { at = 2^63, bytes = "x", memory = 2^63 } } },
    { "broken ELF file: overlapping segments at 0x1000 and 0x1fff", elf { { at = 0x1000, bytes = "x", memory = 4096 }, { at = 0x1fff, bytes = "y" } } },
  }
  for i, row in ipairs(BROKEN) do
    it(("is refused when broken (%d: %s)"):format(i, row[1]), function()
      refuses(function() image.parse(row[2], "t.elf") end, "t%.elf: " .. row[1])
    end)
  end

  it("with more segments than any linker makes is refused", function()
    local segments = {}
    for i = 1, 300 do segments[i] = { at = i * 4096, bytes = "x" } end
    refuses(function() image.parse(elf(segments), "t.elf") end, "t%.elf: broken ELF file: more than 256 segments to load")
  end)

  it("cut anywhere is parsed or refused, never believed", function()
    local whole = elf { { at = 0x1000, bytes = "some code" }, { at = 0x2000, bytes = "some data" } }
    local refused = 0
    for size = 0, #whole - 1 do
      local ok, text = pcall(image.parse, whole:sub(1, size), "t.elf")
      assert.is_false(ok and text.kind == "elf", "believed at " .. size .. " bytes")
      if not ok then refused = refused + 1 end
    end
    assert.is_true(refused > #whole - 64)
  end)

  it("with a broken symbol table is refused when a symbol is asked for", function()
    local file = image.parse(elf({ { at = 0, bytes = "x" } }, { sh_offset = 2^40, sh_count = 3 }), "t.elf")
    refuses(function() file:symbol "tohost" end, "t%.elf: truncated ELF file: the section headers end behind the end of the file")
  end)
end)

describe("a Linux Image", function()
  it("says where it goes and how much it takes", function()
    local file = image.parse(linux { text_offset = 2^21, size = 2^22 }, "Image")
    assert.equal("linux", file.kind)
    assert.equal(2^21, file.text_offset)
    assert.equal(2^22, file.memory_bytes)
  end)

  it("takes at least its own size", function()
    assert.equal(#linux {}, image.parse(linux { size = 0 }, "Image").memory_bytes)
  end)

  it("is refused when it is not for this hart, or mad", function()
    refuses(function() image.parse(linux { magic = "ARM\100" }, "Image") end, "Image: not for RISC%-V 64: an AArch64 Linux Image")
    refuses(function() image.parse(linux { flags = 1 }, "Image") end, "Image: not for a little%-endian hart: the Linux Image is big%-endian")
    refuses(function() image.parse(linux { size = 2^60 }, "Image") end, "Image: broken Linux Image: .*")
  end)
end)

describe("any other file", function()
  it("is raw bytes", function()
    local file = image.parse("\19\0\0\0", "t.bin")
    assert.equal("raw", file.kind)
    assert.equal(4, file.memory_bytes)
  end)

  it("is refused when it is empty or something known", function()
    refuses(function() image.parse("", "t.bin") end, "t%.bin: empty file")
    refuses(function() image.parse("\31\139\8\0", "Image.gz") end, "Image%.gz: compressed with gzip: unpack it first")
    refuses(function() image.parse("\40\181\47\253....", "Image.zst") end, "Image%.zst: compressed with zstd: unpack it first")
    refuses(function() image.parse("MZ\0\0zimg" .. ("\0"):rep(64), "vmlinuz") end, "vmlinuz: a compressed EFI kernel: unpack it first")
    refuses(function() image.parse("\208\13\254\237....", "a.dtb") end, "a%.dtb: a device tree, not an image to run")
    refuses(function() image.parse(("\0"):rep(0x202) .. "HdrS....", "bzImage") end, "bzImage: not for RISC%-V 64: an x86 bzImage")
  end)

  it("is refused when it cannot be read", function()
    refuses(function() image.open "/nowhere/x" end, "cannot open /nowhere/x: No such file or directory")
    refuses(function() image.open "/tmp" end, "cannot read /tmp: Is a directory")
    refuses(function() image.open "/dev/null" end, "/dev/null: empty file")
    refuses(function() image.open "/dev/zero" end, "cannot read /dev/zero: larger than 1G")
  end)
end)

-- virtio: negotiation, queues, disk, console and entropy source through a driver in Lua; and rings no driver would make.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local ffi     = require "ffi"
local block   = require "umbra.block"
local dev     = require "umbra.dev"
local irq     = require "umbra.irq"
local mem     = require "umbra.mem"
local example = require "spec.support.example"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local shadow  = require "spec.support.shadow"
local virtio  = require "spec.support.virtio"

local RAM, ROM, BASE = 0x80000000, 0x1000, 0x10001000
local RAM_BYTES = 4 * 2^20
local SECTORS = 64
local ALL = virtio.VERSION_1 + virtio.INDIRECT_DESC + virtio.EVENT_IDX
local F_FLUSH = 2^9

local many = random.soak() and 20 or 1             -- the long form plays that many times longer

local made, m, line
local function make(object)
  made[#made + 1] = object
  return object
end

-- A device in a memory with RAM and ROM, and its driver.
local function start(device)
  device:map { mem = m, at = BASE }
  return virtio.new(m, BASE, RAM), make(device)
end

local function close_all()
  for i = #made, 1, -1 do made[i]:close() end
end

local function image(bytes)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  return path
end

-- Cuts `what` (a string, or a count of bytes to be written) into one to four pieces.
local function cut(what, into)
  local size = type(what) == "string" and #what or what
  local at = 0
  local pieces = math.random(4)
  for i = 1, pieces do
    local part = i == pieces and size - at or math.random(0, size - at)
    if part > 0 then into[#into + 1] = type(what) == "string" and what:sub(at + 1, at + part) or part end
    at = at + part
  end
end

local function le(value, bytes)
  local out = {}
  for i = 1, bytes do
    out[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(out)
end

local function header(kind, sector) return le(kind, 4) .. le(0, 4) .. le(sector, 8) end

local function setup()
  made = {}
  m = make(mem.new())
  m:add_ram { at = RAM, size = RAM_BYTES }
  m:add_rom { at = ROM, size = 4096 }
  line = make(irq.new())
end

describe("virtio", function()
  before_each(setup)
  after_each(close_all)

  it("does what its page of docs begins with", function() example "docs/virtio.md" end)

  it("says what it is", function()
    local d, device = start(dev.virtio_rng { line = line })
    assert.same({ 0x74726976, 2, 4, 0x52424d55 }, { d:get "magic", d:get "version", d:get "id", d:get "vendor" })
    assert.equal(256, d:get "queue_max")
    d:put("queue", 1)
    assert.equal(0, d:get "queue_max")             -- it has one queue
    assert.equal(ALL, d:offered())
    assert.equal(0xffffffff, m:load(BASE + 0xb0, 4))
    assert.equal(0, m:load(BASE, 1))               -- registers are 32 bits wide
    assert.equal(0, m:load(BASE, 8))
    m:store(BASE + 0x70, 1, 1)
    assert.equal(0, d:get "status")
    assert.is_nil(device:broken())
  end)

  it("takes FEATURES_OK only for features that it offers, with VERSION_1 among them", function()
    local d = start(dev.virtio_rng { line = line })
    local ROWS = {                                 -- features; status after FEATURES_OK, after DRIVER_OK
      { 0, 3, 3 }, { virtio.EVENT_IDX, 3, 3 }, { virtio.VERSION_1 + 1, 3, 3 }, { virtio.VERSION_1, 11, 15 }, { ALL, 11, 15 },
    }
    for _, row in ipairs(ROWS) do
      d:put("status", 0)
      d:put("status", 3)
      d:accept(row[1])
      d:put("status", 11)
      assert.equal(row[2], d:get "status")
      d:put("status", row[3] == 3 and 7 or 15)
      assert.equal(row[3], d:get "status")
    end
    d:accept(0)                                    -- too late: the event index stays accepted
    d:setup(0, 8)
    d:add(0, { 8 })
    d:kick(0)
    assert.equal(1, m:load(d.queues[0].used + 4 + 8 * 8, 2))
    d:put("status", 0)
    assert.equal(0, d:get "status")
  end)

  it("lets only a reset take status bits back, and never the driver set DEVICE_NEEDS_RESET", function()
    local d = start(dev.virtio_rng { line = line })
    d:put("status", 0x43)
    assert.equal(3, d:get "status")
    d:put("status", 1)
    assert.equal(3, d:get "status")
    d:put("status", 0x80)
    assert.equal(0x83, d:get "status")
  end)

  it("leaves the queue alone before DRIVER_OK and serves what waits at it", function()
    local d = start(dev.virtio_rng { line = line, seed = 1 })
    d:start(1, 8)
    d:put("status", 0)
    d.mem:write(RAM, ("\0"):rep(0x10000))
    d:put("status", 3)
    d:accept(virtio.VERSION_1)
    d:put("status", 11)
    d:setup(0, 8)
    d:add(0, { 8 })
    d:kick(0)
    assert.is_nil(d:done(0))
    assert.is_false(line:level())
    d:put("status", 15)
    assert.is_not_nil(d:done(0))
    assert.is_true(line:level())
  end)

  it("keeps a ready queue where it is, and forgets its place with QueueReady 0", function()
    local d = start(dev.virtio_rng { line = line, seed = 1 })
    d:start(1, 8)
    d:put_wide("descriptors", 0)
    d:put("queue_size", 3)
    d:add(0, { 8 })
    d:kick(0)
    assert.is_not_nil(d:done(0))
    d:put("ready", 0)
    assert.equal(0, d:get "ready")
    d:add(0, { 8 })
    d:kick(0)
    assert.is_nil(d:done(0))
  end)

  it("acknowledges interrupts bit by bit", function()
    local d = start(dev.virtio_rng { line = line, seed = 1 })
    d:start(1, 8)
    d:add(0, { 8 })
    d:kick(0)
    assert.equal(1, d:get "interrupts")
    d:put("ack", 2)
    assert.is_true(line:level())
    d:put("ack", 1)
    assert.is_false(line:level())
    assert.equal(0, d:get "interrupts")
  end)

  it("does not interrupt a driver that asked not to be", function()
    local d = start(dev.virtio_rng { line = line, seed = 1 })
    d:start(1, 8)
    m:store(d.queues[0].available, 2, 1)           -- NO_INTERRUPT
    d:add(0, { 8 })
    d:kick(0)
    assert.is_not_nil(d:done(0))
    assert.is_false(line:level())
  end)

  it("interrupts when the used event is passed, and asks to be notified of the next", function()
    local d = start(dev.virtio_rng { line = line, seed = 1 })
    d:start(1, 8, ALL)
    local queue = d.queues[0]
    local used_event, available_event = queue.available + 4 + 2 * 8, queue.used + 4 + 8 * 8
    local wanted = 65530
    queue.next_available, queue.next_used = 0, 0
    for n = 0, 70000 do                            -- the indices go round
      if n % 5 == 0 then wanted = (n + 2) % 65536 end      -- tell me when that one is used
      m:store(used_event, 2, wanted)
      d:add(0, { 8 })
      d:kick(0)
      if not d:done(0) then error("not used: " .. n) end
      local expected = n % 65536 == wanted
      if line:level() ~= expected then error(("chain %d: event %d, interrupt %s"):format(n, wanted, tostring(line:level()))) end
      d:put("ack", 1)
      if m:load(available_event, 2) ~= (n + 1) % 65536 then error("available event at " .. n) end
    end
  end)
end)

describe("virtio_blk", function()
  local path
  local content = {}
  for i = 1, SECTORS * 512 do content[i] = string.char((i * 7 + math.floor(i / 512)) % 256) end
  content = table.concat(content)

  before_each(function()
    setup()
    path = image(content)
  end)
  after_each(function()
    close_all()
    os.remove(path)
  end)

  local function disk(options)
    options = options or {}
    options.block = make(block.open { path = path, read_only = options.shared })
    options.shared = nil
    options.line = line
    local d, device = start(dev.virtio_blk(options))
    return d, device, options.block
  end

  -- One request; returns its status and what it read.
  local function request(d, kind, sector, data, indirect)
    local buffers = {}
    cut(header(kind, sector), buffers)
    if type(data) == "string" then cut(data, buffers) end
    cut((type(data) == "number" and data or 0) + 1, buffers)
    assert(d:add(0, buffers, indirect))
    d:kick(0)
    local _, bytes, written = d:done(0)
    assert(bytes, "not served")
    return bytes:byte(-1), bytes:sub(1, -2), written
  end

  it("describes the disk", function()
    local d = disk { block_size = 4096 }
    assert.equal(2, d:get "id")
    assert.equal(0, bit.band(tonumber(d:offered() % 2^32), 2^5))
    assert.equal(SECTORS, m:load(BASE + 0x100, 8))
    assert.equal(SECTORS, m:load(BASE + 0x100, 1))
    assert.equal(254, m:load(BASE + 0x10c, 4))
    assert.equal(4096, m:load(BASE + 0x114, 4))
    assert.equal(0x10, m:load(BASE + 0x115, 1))
    assert.equal(0, m:load(BASE + 0x140, 4))
    m:store(BASE + 0x100, 8, 1)
    assert.equal(SECTORS, m:load(BASE + 0x100, 8))
  end)

  it("refuses an image, an id or a size of blocks that does not fit", function()
    local odd = image(("x"):rep(5 * 512))
    local opened = make(block.open { path = odd })
    os.remove(odd)
    refuses(function() dev.virtio_blk { block = opened, block_size = 4096 } end, "virtio_blk: .* has 2560 bytes, no multiple of block_size 4096")
    refuses(function() dev.virtio_blk { block = opened, id = ("n"):rep(21) } end, "virtio_blk: id must be at most 20 bytes, not 21 .*")
    refuses(function() dev.virtio_blk { block = opened, block_size = 1024 } end, "`virtio_blk.block_size` must be one of 512, 4096, not 1024")
  end)

  it("reads and writes like the file it is, however requests are cut", function()
    local d, device, opened = disk()
    local twin = ffi.new("char[?]", #content)
    ffi.copy(twin, content, #content)
    for _, features in ipairs { virtio.VERSION_1 + F_FLUSH, ALL + F_FLUSH, virtio.VERSION_1 + virtio.INDIRECT_DESC } do
      d:start(1, 16, features)
      local with_table = features % 2^29 >= 2^28
      shadow.play(1500 * many, function()
        local kind, sector, count = shadow.pick { 0, 0, 0, 1, 1, 1, 4, 8, 2, 11 }, math.random(0, SECTORS + 2), math.random(0, 4)
        local indirect, size = with_table and shadow.flip(), count * 512
        local fits = sector + count <= SECTORS
        if kind == 0 then
          local status, bytes, written = request(d, 0, sector, size, indirect)
          shadow.same(status, fits and 0 or 1, "status of a read")
          if fits then shadow.same(bytes, ffi.string(twin + sector * 512, size), "read at " .. sector) end
          shadow.same(written, (fits or size == 0) and size + 1 or 0, "bytes written by a read")
        elseif kind == 1 then
          local data = string.char(math.random(0, 255)):rep(size)
          shadow.same((request(d, 1, sector, data, indirect)), fits and 0 or 1, "status of a write")
          if fits then ffi.copy(twin + sector * 512, data, size) end
        elseif kind == 4 then
          local before = opened:counts().flushes
          shadow.same((request(d, 4, 0, 0, indirect)), 0, "status of a flush")
          shadow.same(opened:counts().flushes, before + 1, "flushes")
        elseif kind == 8 then
          local status, bytes = request(d, 8, 0, 20, indirect)
          shadow.same(status, 0, "status of an id")
          shadow.same(bytes, "umbra" .. ("\0"):rep(15), "id")
        else
          shadow.same((request(d, kind, sector, 0, indirect)), 2, "status of an unknown request")
        end
        shadow.same(device:broken(), nil, "broken")
      end)
    end
    assert.equal(ffi.string(twin, #content), opened:read(0, #content))
  end)

  it("serves batches in order", function()
    local d = disk()
    d:start(1, 256)
    shadow.play(100, function()
      local expected = {}
      for _ = 1, math.random(40) do
        local sector, buffers = math.random(0, SECTORS - 1), {}
        cut(header(0, sector), buffers)
        cut(513, buffers)
        expected[#expected + 1] = { d:add(0, buffers), content:sub(sector * 512 + 1, sector * 512 + 512) .. "\0" }
      end
      d:kick(0)
      for i, row in ipairs(expected) do
        local head, bytes = d:done(0)
        shadow.same(head, row[1], "order at " .. i)
        shadow.same(bytes, row[2], "bytes of " .. i)
      end
      shadow.same(d:done(0), nil, "one more")
    end)
  end)

  it("writes through where the driver cannot flush", function()
    local d, _, opened = disk()
    d:start(1, 16)
    request(d, 1, 3, ("w"):rep(512))
    assert.equal(1, opened:counts().flushes)
    assert.equal(("w"):rep(512), opened:read(3 * 512, 512))
  end)

  it("refuses writes to a read-only disk, by its option and by its image", function()
    for _, options in ipairs { { read_only = true }, { shared = true } } do
      local d, device, opened = disk(options)
      assert.equal(2^5, bit.band(tonumber(d:offered() % 2^32), 2^5))
      d:start(1, 16)
      assert.equal(1, (request(d, 1, 0, ("w"):rep(512))))
      assert.equal(0, (request(d, 4, 0, 0)))
      local status, bytes = request(d, 0, 0, 512)
      assert.equal(0, status)
      assert.equal(content:sub(1, 512), bytes)
      device:close()
      opened:close()
    end
  end)

  it("answers with an I/O error when the image became shorter", function()
    local d, device = disk()
    d:start(1, 16)
    local file = assert(io.open(path, "wb"))
    file:write(content:sub(1, 512 * 8))
    file:close()
    assert.equal(1, (request(d, 0, 20, 512)))
    assert.equal(1, (request(d, 1, 20, ("w"):rep(512))))
    local status, bytes = request(d, 0, 7, 512)
    assert.equal(0, status)
    assert.equal(content:sub(512 * 7 + 1, 512 * 8), bytes)
    assert.is_nil(device:broken())
  end)

  it("asks for a reset when a request has no header or no status byte", function()
    local d, device = disk()
    for _, buffers in ipairs { { ("h"):rep(15), 513 }, { header(0, 0) }, { 513 }, { header(1, 0) .. ("x"):rep(512) } } do
      d:start(1, 16)
      d:add(0, buffers)
      d:kick(0)
      assert.equal("a disk request has no header or no status byte", device:broken())
      assert.equal(15 + virtio.NEEDS_RESET, d:get "status")
      assert.is_nil(d:done(0))
    end
  end)
end)

describe("virtio_console", function()
  local port, d, device
  local RX, TX = 0, 1
  before_each(function()
    setup()
    port = make(dev.chardev())
    d, device = start(dev.virtio_console { chardev = port, line = line })
  end)
  after_each(close_all)

  it("passes on all bytes in order, both ways", function()
    d:start(2, 32, ALL)
    local sent, received, given, taken = {}, {}, {}, {}
    shadow.play(4000 * many, function()
      local roll = math.random(6)
      if roll == 1 then
        local text, buffers = string.char(math.random(0, 255)):rep(math.random(1, 400)), {}
        cut(text, buffers)
        if d:add(TX, buffers, shadow.flip()) then sent[#sent + 1] = text end
      elseif roll == 2 then d:kick(TX)
      elseif roll == 3 then d:add(RX, { math.random(1, 64) }, shadow.flip())
      elseif roll == 4 then
        local text = string.char(math.random(0, 255)):rep(math.random(1, 60))
        given[#given + 1] = text:sub(1, port:give(text))
      elseif roll == 5 then d:kick(RX)
      else taken[#taken + 1] = port:take(math.random(1, 1000)) end
      while d:done(TX) do shadow.same(device:broken(), nil, "broken") end
      while true do
        local _, bytes, written = d:done(RX)
        if not bytes then break end
        received[#received + 1] = bytes:sub(1, written)
      end
    end)
    d:kick(TX)
    taken[#taken + 1] = port:take()
    assert.equal(table.concat(sent), table.concat(taken))
    local got, all = table.concat(received), table.concat(given)
    assert.equal(all:sub(1, #got), got)
    assert.is_true(#got > 0)
  end)

  it("leaves in the queue what the host has no room for, and goes on when it takes", function()
    d:start(2, 8)
    local text = {}
    for i = 1, 100000 do text[i] = string.char(i % 251) end
    text = table.concat(text)
    d:add(TX, { text:sub(1, 30000), text:sub(30001, 70000) })
    d:add(TX, { text:sub(70001) })
    d:kick(TX)
    assert.is_nil(d:done(TX))                      -- the first chain is out in part only
    assert.equal(65536, port:waiting())
    assert.is_false(line:level())
    local first = port:take(10000)
    assert.is_not_nil(d:done(TX))
    assert.is_nil(d:done(TX))
    assert.is_true(line:level())
    local rest = port:take()
    assert.is_not_nil(d:done(TX))
    assert.equal(text, first .. rest .. port:take())
  end)

  it("receives as soon as there are bytes and buffers", function()
    d:start(2, 8)
    assert.equal(3, port:give "abc")
    assert.is_false(line:level())
    d:add(RX, { 2 })
    d:kick(RX)
    local _, bytes, written = d:done(RX)
    assert.same({ "ab", 2 }, { bytes, written })
    d:add(RX, { 8 })
    d:kick(RX)
    d:add(RX, { 8 })
    d:put("ack", 3)
    port:give "xyz"
    assert.is_true(line:level())
    _, bytes, written = d:done(RX)
    assert.same({ "c\170", 1 }, { bytes:sub(1, 2), written })
    _, bytes, written = d:done(RX)
    assert.same({ "xyz\170", 3 }, { bytes:sub(1, 4), written })
    assert.is_nil(d:done(RX))
  end)
end)

describe("virtio_rng", function()
  before_each(setup)
  after_each(close_all)

  local function read(device, sizes)
    local d = virtio.new(m, BASE, RAM)
    device:map { mem = m, at = BASE }
    d:start(1, 8)
    local all = {}
    for i, size in ipairs(sizes) do
      d:add(0, { size })
      d:kick(0)
      local _, bytes, written = d:done(0)
      all[i] = bytes:sub(1, written)
    end
    device:close()
    return table.concat(all)
  end

  it("gives the same bytes for a seed, others for another, and never the same from the host", function()
    local first = read(dev.virtio_rng { seed = 7 }, { 1000, 3 })
    assert.equal(1003, #first)
    assert.equal(first, read(dev.virtio_rng { seed = 7 }, { 1000, 3 }))
    assert.are_not.equal(first, read(dev.virtio_rng { seed = 8 }, { 1000, 3 }))
    assert.are_not.equal(read(dev.virtio_rng {}, { 64 }), read(dev.virtio_rng {}, { 64 }))
  end)

  it("has no preferred bit", function()
    local ones, bytes = 0, read(dev.virtio_rng {}, { 8192 })
    for i = 1, #bytes do
      local byte = bytes:byte(i)
      while byte > 0 do
        ones = ones + byte % 2
        byte = math.floor(byte / 2)
      end
    end
    assert.is_true(math.abs(ones - 32768) < 1000)  -- eight standard deviations
  end)

  it("gives at most 64 KiB a request", function()
    assert.equal(65536, #read(dev.virtio_rng { seed = 1 }, { 100000 }))
  end)
end)

describe("a broken ring", function()
  local d, device
  before_each(function()
    setup()
    d, device = start(dev.virtio_rng { line = line, seed = 1 })
  end)
  after_each(close_all)

  -- The device rests, says so, and works again after a reset.
  local function check_broken(why)
    assert.equal(why, device:broken())
    assert.equal(virtio.NEEDS_RESET, bit.band(d:get "status", virtio.NEEDS_RESET))
    if bit.band(d:get "status", 4) ~= 0 then assert.equal(2, bit.band(d:get "interrupts", 2)) end
    assert.equal(1, d:get "generation")
    local queue = d.queues[0]
    d:put("ack", 3)
    for i = 0, queue.size - 1 do d:write_descriptor(queue, i, d.data, 8, virtio.WRITE) end
    d:kick(0)
    assert.is_false(line:level())
    d:put("status", 0)
    assert.is_nil(device:broken())
    assert.equal(0, d:get "interrupts")
    d:start(1, 8, ALL)
    d:add(0, { 16 })
    d:kick(0)
    local _, bytes, written = d:done(0)
    assert.equal(16, written)
    assert.are_not.equal(("\170"):rep(16), bytes)
  end

  local N, W, I = virtio.NEXT, virtio.WRITE, virtio.INDIRECT
  local DATA, TABLE = RAM + 0x50000, RAM + 0x10000
  local OUTSIDE = "a buffer is not in RAM"
  -- Descriptors { at, size, flags, next } from 0 on, and from TABLE on; the features; what is wrong.
  local CASES = {
    { "a loop", { { DATA, 8, N, 1 }, { DATA, 8, N, 0 } }, why = "descriptor loop" },
    { "a chain onto itself", { { DATA, 8, W + N, 0 } }, why = "descriptor loop" },
    { "a loop of empty buffers", { { DATA, 0, N, 0 } }, why = "descriptor loop" },
    { "a next beyond the table", { { DATA, 8, N, 8 } }, why = "a descriptor index is out of range" },
    { "a buffer in a hole", { { 0x40000000, 8, W } }, why = OUTSIDE },
    { "a buffer over the end of RAM", { { RAM + RAM_BYTES - 4, 8, W } }, why = OUTSIDE },
    { "a buffer round the address space", { { -8ULL, 16, W } }, why = OUTSIDE },
    { "a buffer of 4 GiB", { { DATA, 0xffffffff, W } }, why = OUTSIDE },
    { "a buffer in registers", { { BASE, 8, W } }, why = OUTSIDE },
    { "a writable buffer in ROM", { { ROM, 8, W } }, why = OUTSIDE },
    { "readable after writable", { { DATA, 8, W + N, 1 }, { DATA, 8, 0 } }, why = "a readable buffer follows a writable one" },
    { "an indirect descriptor unasked", { { TABLE, 16, I } }, { { DATA, 8, W } }, features = virtio.VERSION_1,
      why = "an indirect descriptor was not negotiated" },
    { "an empty table", { { TABLE, 0, I } }, why = "an indirect table is no multiple of 16 bytes" },
    { "a ragged table", { { TABLE, 24, I } }, why = "an indirect table is no multiple of 16 bytes" },
    { "a table in a table", { { TABLE, 16, I } }, { { TABLE, 16, I } }, why = "an indirect descriptor is where none may be" },
    { "a table in a chain", { { TABLE, 16, I + N, 1 }, { DATA, 8, W } }, why = "an indirect descriptor is where none may be" },
    { "a table in a hole", { { 0x40000000, 16, I } }, why = "a descriptor is not in RAM" },
    { "a table round the address space", { { -16ULL, 32, I } }, why = "a descriptor is not in RAM" },
    { "a loop in a table", { { TABLE, 32, I } }, { { DATA, 8, N, 1 }, { DATA, 8, N, 0 } }, why = "descriptor loop" },
    { "a next beyond a table", { { TABLE, 32, I } }, { { DATA, 8, N, 2 } }, why = "a descriptor index is out of range" },
  }
  for _, case in ipairs(CASES) do
    it("with " .. case[1] .. " needs a reset", function()
      d:start(1, 8, case.features or ALL)
      for i, row in ipairs(case[2]) do d:write_descriptor(d.queues[0], i - 1, unpack(row)) end
      for i, row in ipairs(case[3] or {}) do m:write(TABLE + 16 * (i - 1), virtio.descriptor(unpack(row))) end
      d:offer(d.queues[0], 0)
      d:kick(0)
      check_broken(case.why)
    end)
  end

  it("with a head beyond the table needs a reset", function()
    d:start(1, 8, ALL)
    d:offer(d.queues[0], 8)
    d:kick(0)
    check_broken "a descriptor index is out of range"
  end)

  it("whose available index runs ahead needs a reset", function()
    d:start(1, 8, ALL)
    m:store(d.queues[0].available + 2, 2, 9)
    d:kick(0)
    check_broken "the available index ran ahead of the queue"
  end)

  it("of a chain of more than 2^32 bytes needs a reset", function()
    d:start(1, 256, ALL)
    m:add_ram { at = 0x100000000, size = 2^30, name = "more" }
    for i = 0, 4 do d:write_descriptor(d.queues[0], i, 0x100000000, 2^30, i < 4 and N + W or W, i + 1) end
    d:offer(d.queues[0], 0)
    d:kick(0)
    check_broken "a chain is longer than 2^32 bytes"
  end)

  it("that lies where no ring may is refused when it is made ready", function()
    local PLACES = {
      { 3, {}, "queue size is no power of two up to the maximum" },
      { 0, {}, "queue size is no power of two up to the maximum" },
      { 512, {}, "queue size is no power of two up to the maximum" },
      { 8, { descriptors = RAM + 8 }, "a ring is misaligned" },
      { 8, { available = RAM + 1 }, "a ring is misaligned" },
      { 8, { used = RAM + 2 }, "a ring is misaligned" },
      { 8, { descriptors = 0 }, "a ring is not in RAM" },
      { 8, { descriptors = RAM + RAM_BYTES - 16 }, "a ring is not in RAM" },
      { 8, { available = RAM + RAM_BYTES - 20 }, "a ring is not in RAM" },
      { 8, { used = RAM + RAM_BYTES - 64 }, "a ring is not in RAM" },
      { 8, { used = ROM }, "a ring is not in RAM" },
      { 8, { used = BASE }, "a ring is not in RAM" },
    }
    for _, row in ipairs(PLACES) do
      d:put("status", 0)
      d:put("status", 3)
      d:accept(ALL)
      d:put("status", 11)
      d:setup(0, row[1], row[2])
      assert.equal(row[3], device:broken())
      assert.equal(0, d:get "ready")
      d:put("status", 15)
      assert.equal(2, d:get "interrupts")          -- told once there is someone to tell
    end
    d:start(1, 8)
    d:add(0, { 8 })
    d:kick(0)
    assert.is_not_nil(d:done(0))
  end)

  it("that comes to lie under a window is noticed", function()
    d:start(1, 8)
    local cover = dev.htif { chardev = make(dev.chardev()), control = make(require("umbra.control").new()) }
    cover:map { mem = m, tohost = d.queues[0].used }
    d:add(0, { 8 })
    d:kick(0)
    assert.equal("a ring is no longer in RAM", device:broken())
    cover:close()
  end)
end)

describe("rings of a hostile guest", function()
  before_each(setup)
  after_each(close_all)

  local ADDRESSES = {
    RAM, RAM + 0x50000, RAM + RAM_BYTES - 16, RAM + RAM_BYTES - 1, RAM + RAM_BYTES, ROM, ROM + 4090, BASE, BASE + 0x50, 0, -1ULL, -16ULL,
    0x7fffffffffffffffULL, RAM + 0x10000, RAM + 0x1000, RAM + 0x2000,
  }
  local function any_address() return math.random(8) == 1 and shadow.u64() or shadow.pick(ADDRESSES) end
  local function any_size() return shadow.pick { 0, 1, 15, 16, 17, 512, 513, 4096, 65536, RAM_BYTES, 2^31, 2^32 - 1, math.random(0, 2^32 - 1) } end
  -- Mostly what could be right, so that a good part of a ring is followed.
  local function any_descriptor(size)
    local sane = math.random(10) > 2
    return virtio.descriptor(sane and RAM + 0x50000 + math.random(0, 2^16) or any_address(), sane and math.random(0, 600) or any_size(),
      math.random(12) == 1 and math.random(0, 65535) or shadow.pick { 0, 1, 1, 2, 2, 3, 3, 4 }, math.random(0, math.random(20) == 1 and 65535 or size - 1))
  end

  local function rings(count, new)
    local path = image(("d"):rep(SECTORS * 512))
    local disk = make(block.open { path = path })
    os.remove(path)
    local port = make(dev.chardev())
    local d, device = start(new(port, disk))
    local broken, used = 0, 0
    shadow.play(count * many, function()
      local size = shadow.pick { 1, 2, 8, 64, 256 }
      d:start(d:get "id" == 3 and 2 or 1, size, shadow.pick { virtio.VERSION_1, ALL })
      local rows = {}
      for index = 0, #d.queues do
        local queue = d.queues[index]
        for i = 1, size do rows[i] = any_descriptor(size) end
        m:write(queue.descriptors, table.concat(rows, "", 1, size))
        for i = 1, 64 do rows[i] = any_descriptor(64) end
        m:write(d.tables, table.concat(rows, "", 1, 64))
        -- Some descriptors begin like a disk request.
        m:write(RAM + 0x50000, header(math.random(0, 9), math.random(0, SECTORS)))
        for i = 0, size - 1 do m:store(queue.available + 4 + 2 * i, 2, math.random(0, size - 1)) end
        m:store(queue.available, 2, math.random(0, 1))
        m:store(queue.available + 2, 2, math.random(20) == 1 and math.random(0, 65535) or math.random(1, size))
      end
      port:give(("r"):rep(math.random(0, 300)))
      for _ = 1, math.random(3) do d:kick(math.random(0, 2)) end
      port:take()
      for index = 0, #d.queues do
        local queue = d.queues[index]
        local count_used = m:load(queue.used + 2, 2)
        if device:broken() == nil and count_used > size then error("more used than there is") end
        used = used + (count_used > 0 and 1 or 0)
      end
      if device:broken() then
        broken = broken + 1
        shadow.same(bit.band(d:get "status", 64), 64, "DEVICE_NEEDS_RESET")
      end
      -- However it ended, a reset gives a device that works.
      d:start(d:get "id" == 3 and 2 or 1, 8)
      shadow.same(d:get "interrupts", 0, "interrupts after a reset")
      shadow.same(device:broken(), nil, "broken after a reset")
    end)
    assert.is_true(broken > 0 and used > 0, ("%d broken, %d served something"):format(broken, used))
  end

  it("do no harm to an entropy source", function()
    rings(2000, function() return dev.virtio_rng { line = line, seed = 3 } end)
  end)

  it("do no harm to a console", function()
    rings(2000, function(port) return dev.virtio_console { chardev = port, line = line } end)
  end)

  it("do no harm to a disk", function()
    rings(2000, function(_, disk) return dev.virtio_blk { block = disk, line = line } end)
  end)
end)

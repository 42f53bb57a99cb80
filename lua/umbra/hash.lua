-- hash: a machine's whole state as one number, to tell whether two runs are the same.
--
-- Hashed are all RAM and ROM, the declared state of every hart and device (those written in Lua too), and what a virtual clock has counted. Not hashed is what
-- belongs to the host: a wall clock, counters, decoded code, and console bytes that nobody has taken yet.
-- SPDX-License-Identifier: MIT
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local dev    = require "umbra.dev"
local device = require "umbra.device"
local fault  = require "umbra.fault"

local C = clib.C

local hash = {}

local function library()
  return clib.host([[
    typedef struct XXH3_state_s XXH3_state_t;
    XXH3_state_t *XXH3_createState(void);
    int XXH3_freeState(XXH3_state_t *state);
    int XXH3_64bits_reset(XXH3_state_t *state);
    int XXH3_64bits_update(XXH3_state_t *state, const void *input, size_t size);
    uint64_t XXH3_64bits_digest(const XXH3_state_t *state);
  ]], "libxxhash.so.0")
end

-- A hash that is fed piece by piece: feed(pointer or string, bytes), text(...) for labels; digest().
local function new()
  local X = library()
  local state = X.XXH3_createState()
  if state == nil then fault.raise "hash: the host has no memory for it" end
  ffi.gc(state, X.XXH3_freeState)
  X.XXH3_64bits_reset(state)
  local self = {}
  function self.feed(from, size) X.XXH3_64bits_update(state, from, size) end
  function self.text(form, ...)
    local text = form:format(...) .. "\0"
    self.feed(text, #text)
  end
  function self.digest() return ("%016x"):format(X.XXH3_64bits_digest(state)) end
  return self
end

local function feed_memory(h, m)
  local row = ffi.new "struct um_mem_row"
  for i = 0, C.um_mem_rows(m.mem.ptr) - 1 do
    fault.check(C.um_mem_row(m.mem.ptr, i, row), m.why)
    if row.kind ~= C.UM_MEM_MMIO then
      h.text("memory %s %s", bits.hex(row.at), bits.hex(row.size))
      h.feed(m.mem:view(row.at, tonumber(row.size)), row.size)
    end
  end
end

-- Rows of declared state, { name =, bytes = } each.
local function feed_rows(h, owner, rows)
  for _, row in ipairs(rows) do
    h.text("%s.%s %d", owner, row.name, #row.bytes)
    h.feed(row.bytes, #row.bytes)
  end
end

-- 16 hexadecimal digits of machine `m`.
function hash.of(m)
  local h = new()
  feed_memory(h, m)
  for i = 0, m.harts - 1 do feed_rows(h, "hart" .. i, m.cpu[i]:state()) end
  for _, row in ipairs(m.rows) do
    if row.ptr then feed_rows(h, row.name, dev.state_of(row.ptr)) end
    if row.port then feed_rows(h, row.name, device.state(row.port.object)) end
  end
  h.text("clock %s", bits.hex(m.clock:instructions()))
  return h.digest()
end

return hash

-- control: the buttons of a machine: what its guest asked for (off, reset, exit), and a kick that makes a run come back.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local address = require "umbra.address"
local clib    = require "umbra.clib"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"

local C = clib.C

local control = {}
local Control = { noun = "control" }
Control.__index = Control

local HALTS = { [C.UM_HALT_OFF] = "off", [C.UM_HALT_RESET] = "reset", [C.UM_HALT_EXIT] = "exit" }

function control.new()
  local ptr = C.um_control_new()
  if ptr == nil then fault.raise "control: the host has no memory or no file descriptor for it" end
  return handle.new(Control, ptr, C.um_control_free, { code = ffi.new "int[1]" })
end

-- nil while the guest has asked for nothing; else "off", "reset" or "exit", and its exit code.
function Control:halted()
  local halt = HALTS[C.um_control_halted(self.ptr, self.code)]
  if halt then return halt, self.code[0] end
end

function Control:kick() C.um_control_kick(self.ptr) end           -- the run under way, or the next one, comes back at once
function Control:clear() C.um_control_clear(self.ptr) end         -- forgets halt and kicks

-- An idle hart wakes when `fd` is readable; nil: none.
function Control:watch(fd) C.um_control_watch(self.ptr, fd and address.count(fd, "fd", 0, 2^31 - 1) or -1) end

Control.close = handle.close

return control

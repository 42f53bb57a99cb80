-- exec: the command that runs a Lua script with the library at hand.
-- SPDX-License-Identifier: MIT
local image = require "umbra.image"
local schema = require "umbra.schema"

local MISUSED, MISSING = 126, 127

local HELP = [[
usage: umbra exec SCRIPT.lua [arguments]

Runs a Lua script in which require "umbra.machine" and the other modules are found. Its arguments are in the table `arg`, as with
luajit; a whole number that it returns becomes the exit code.
]]

local function refuse(code, text)
  error({ text = text, code = code }, 0)
end

local function run(args)
  local path = args[1]
  if path == "--help" or path == "-h" then
    io.write(HELP)
    return 0
  end
  if not path then refuse(MISUSED, "exec: which script? (umbra exec --help)") end
  local text, why = image.read(path)
  if not text then refuse(why:find "No such file or directory" and MISSING or MISUSED, why) end
  local chunk, message = load(text:gsub("^#[^\n]*", ""), "@" .. path, "t")
  if not chunk then error(message, 0) end
  local script_args = { [0] = path, unpack(args, 2) }
  setfenv(chunk, setmetatable({ arg = script_args }, { __index = _G }))
  local result = chunk(unpack(script_args))
  if result == nil then return 0 end
  if type(result) == "number" and result % 1 == 0 and result >= 0 and result <= 255 then return result end
  refuse(MISUSED, ("%s: returned %s: an exit code from 0 to 255 was expected"):format(path, schema.show(result)))
end

return { summary = "run a Lua script with the library at hand", run = run }

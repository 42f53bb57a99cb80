-- words: the command line of a subcommand as a table: options that take a value, switches, and the other words.
--
--   local options, rest = words.parse("dis", args, { ["--at"] = "at" }, { ["--help"] = "help" })
-- SPDX-License-Identifier: MIT
local schema = require "umbra.schema"

local MISUSED, FAILED = 126, 125

local words = {}

-- Ends the command with one line and an exit code.
function words.refuse(code, text, ...)
  error({ text = text:format(...), code = code }, 0)
end

-- Writes a file for the user. One that cannot be opened was named wrongly: 126; one that does not take it all, because the disk is
-- full, is a failure of the host: 125. label: what messages begin with, or nothing.
function words.write(path, bytes, label)
  label = label and label .. ": " or ""
  local file, why = io.open(path, "wb")
  if not file then words.refuse(MISUSED, "%scannot open %s", label, why) end
  local ok, failure = file:write(bytes)
  if ok then ok, failure = file:flush() end
  file:close()
  if not ok then words.refuse(FAILED, "%scannot write %s: %s", label, path, failure) end
end

-- values and switches: option -> key of the table returned. A value follows as the next word or behind "=".
function words.parse(command, args, values, switches)
  local options, rest, i = {}, {}, 1
  while args[i] do
    local word = args[i]
    local name, value = word:match "^(%-%-?%w+)=(.*)$"
    name = name or word
    if switches[word] then
      options[switches[word]] = true
    elseif values[name] then
      if not value then i, value = i + 1, args[i + 1] end
      if not value then words.refuse(MISUSED, "%s: a value must follow", name) end
      options[values[name]] = value
    elseif word:find "^%-." then
      local known = {}
      for _, list in ipairs { values, switches } do
        for option in pairs(list) do if option ~= "-h" then known[#known + 1] = option end end
      end
      table.sort(known)
      words.refuse(MISUSED, "unknown option `%s`%s (umbra %s --help)", word, schema.suggest(name, known), command)
    else
      rest[#rest + 1] = word
    end
    i = i + 1
  end
  return options, rest
end

return words

-- words: the command line of a subcommand as a table: options that take a value, switches, and the other words.
--
--   local options, rest = words.parse("dis", args, { ["--at"] = "at" }, { ["--help"] = "help" })
-- SPDX-License-Identifier: MIT
local schema = require "umbra.schema"

local MISUSED = 126

local words = {}

-- Ends the command with one line and an exit code.
function words.refuse(code, text, ...)
  error({ text = text:format(...), code = code }, 0)
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

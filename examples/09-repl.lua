-- For a session: build/umbra repl, then `dofile "examples/09-repl.lua"` and `profile(1)`: where the guest spends its time.
-- SPDX-License-Identifier: MIT
-- luacheck: globals profile m

-- Looks `looks` times (default 200) within `seconds` (default 1) where the machine is, and shows the functions it was found in.
function profile(seconds, looks)
  looks = looks or 200
  local found, names = {}, {}
  for _ = 1, looks do
    m:wait { timeout = (seconds or 1) / looks }
    local place = m.symbols:name(m.hart:pc()) or "no symbol"
    local name = place:match "^[^+]+"
    if not found[name] then names[#names + 1] = name end
    found[name] = (found[name] or 0) + 1
  end
  table.sort(names, function(a, b) return found[a] > found[b] or found[a] == found[b] and a < b end)
  for i = 1, math.min(#names, 10) do print(("%5.1f %%  %s"):format(found[names[i]] / looks * 100, names[i])) end
end

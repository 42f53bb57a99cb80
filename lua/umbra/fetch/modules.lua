-- modules: chooses drivers of a Debian kernel for an initramfs, with all that they need.
-- SPDX-License-Identifier: MIT
--
-- The kernel package holds modules but not the index files that depmod writes at installation; the same facts stand in each
-- module's own .modinfo section. Modules stay compressed: the guest unpacks the few that it loads.

local cache = require "umbra.cache"
local apt   = require "umbra.fetch.apt"

local modules = {}

-- "virtio-rng" and "virtio_rng" are one module.
local function plain(name) return (name:gsub("-", "_")) end

-- Files below `dir`, as paths relative to it, sorted.
local function walk(dir, prefix, found)
  for _, name in ipairs(cache.list(dir)) do
    local path = prefix .. name
    if cache.size(dir .. "/" .. name) then
      found[#found + 1] = path
    else
      walk(dir .. "/" .. name, path .. "/", found)
    end
  end
  return found
end

-- Every value of `key` in the bytes of a module.
local function info(bytes, key)
  local values = {}
  for value in bytes:gmatch("%z" .. key .. "=([^%z]*)") do values[#values + 1] = value end
  return values
end

local function inspect(path)
  local bytes = apt.must("cannot read module " .. path:match "[^/]*$", { "xz", "-dc", path })
  local needs = {}
  for _, list in ipairs(info(bytes, "depends")) do
    for name in list:gmatch "[^,]+" do needs[#needs + 1] = plain(name) end
  end
  return needs, info(bytes, "alias")
end

-- The modules named by `wanted` and those that they depend on, each { name, path, needs, aliases }, sorted by path; paths are
-- relative to `dir`, the folder of the kernel's version.
function modules.closure(dir, wanted)
  local paths, chosen, queue = {}, {}, {}
  for _, path in ipairs(walk(dir, "", {})) do
    local name = path:match "([^/]+)%.ko%.xz$"
    if name then paths[plain(name)] = path end
  end
  for i, name in ipairs(wanted) do queue[i] = plain(name) end
  local seen, at = {}, 1
  while queue[at] do
    local name = queue[at]
    if not seen[name] then
      seen[name] = true
      if not paths[name] then error { refusal = ("the kernel package has no module %s"):format(name) } end
      local needs, aliases = inspect(dir .. "/" .. paths[name])
      chosen[#chosen + 1] = { name = name, path = paths[name], needs = needs, aliases = aliases }
      for _, other in ipairs(needs) do queue[#queue + 1] = other end
    end
    at = at + 1
  end
  table.sort(chosen, function(a, b) return a.path < b.path end)
  return chosen
end

-- Paths of everything that `module` needs, nearest first.
local function needs_of(module, by_name, found, seen)
  for _, name in ipairs(module.needs) do
    if not seen[name] then
      seen[name] = true
      found[#found + 1] = by_name[name].path
      needs_of(by_name[name], by_name, found, seen)
    end
  end
  return found
end

-- The texts of modules.dep and modules.alias for a closure.
function modules.index(closure)
  local by_name, dep, alias = {}, {}, {}
  for _, module in ipairs(closure) do by_name[module.name] = module end
  for _, module in ipairs(closure) do
    local needs = needs_of(module, by_name, {}, {})
    dep[#dep + 1] = module.path .. ":" .. (#needs > 0 and " " .. table.concat(needs, " ") or "") .. "\n"
    for _, pattern in ipairs(module.aliases) do alias[#alias + 1] = ("alias %s %s\n"):format(pattern, module.name) end
  end
  return table.concat(dep), table.concat(alias)
end

return modules

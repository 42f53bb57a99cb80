-- apt: a private apt root, from which packages of any Debian release and architecture come without touching the host's own.
-- SPDX-License-Identifier: MIT
--
-- The root has its own sources, lists and an empty dpkg status; the host's proxy and credentials settings are taken over, its
-- hooks are not. apt checks the signature of the release and through it the hash of every file. Nothing is installed, so no
-- rights are needed and no foreign program runs.
-- What goes wrong is raised as { refusal = one line of text }.

local uv      = require "luv"
local cache   = require "umbra.cache"
local process = require "umbra.fetch.process"

local apt = {}

local HELPER = "/usr/lib/apt/apt-helper"                -- apt's own downloader: the one that resumes, and checks a given hash

local Root = {}
Root.__index = Root

local function refuse(text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  error { refusal = text }
end

local function need(value, why)
  if not value then refuse(why) end
  return value
end

-- What apt says, most telling first: patterns of its messages, and what is said instead when its words help nobody.
local MESSAGES = {
  { "[Nn]o space left on device", "no space left on the disk" },
  { "don't have enough free space", "no space left on the disk" },
  { "NO_PUBKEY", "the release is signed by a key that the keyring does not have; a newer debian-archive-keyring may have it" },
  { "is not signed" },
  { "signatures? " },
  { "Hash Sum mismatch", "what the mirror sent has another hash than the signed list says" },
  { "Unable to locate package" },
  { "Failed to fetch" },
  { "Could not " },
}

-- One line out of all that a failed program wrote.
local function reason(text)
  local lines = {}
  for line in text:gmatch "[^\r\n]+" do
    if line:find "%S" then lines[#lines + 1] = line:gsub("^%s*%u:%s*", ""):gsub("%s+", " ") end
  end
  for _, message in ipairs(MESSAGES) do
    for _, line in ipairs(lines) do
      if line:find(message[1]) then return message[2] or line end
    end
  end
  return lines[#lines] or "no message"
end
apt.reason = reason

-- Runs a program that must succeed; `doing` begins the refusal.
local function must(doing, argv, options)
  local result, why = process.run(argv, options)
  if not result then refuse(why) end
  if result.code ~= 0 then refuse("%s: %s", doing, reason(result.err)) end
  if result.signal ~= 0 then refuse("%s: %s was ended by signal %d", doing, argv[1], result.signal) end
  return result.out
end
apt.must = must

-- Releases that mark a Debian mirror among whatever else the host's sources name.
local RELEASES = {}
for name in ([[buster bullseye bookworm trixie forky duke sid oldoldstable oldstable stable testing unstable]]):gmatch "%S+" do
  RELEASES[name] = true
end

-- The first Debian mirror that the host's apt is set up with, from the text of `apt-get indextargets`; nil when there is none.
function apt.choose_mirror(targets)
  for line in targets:gmatch "[^\n]+" do
    local uri, release, component = line:match "^(%S+) (%S+) (%S+)$"
    if uri and component == "main" and RELEASES[release:match "^[^-/]+"] and not (uri .. release):find "security"
       and not release:find "debug" and not uri:find "^cdrom:" then
      return (uri:gsub("/+$", ""))
    end
  end
end

function apt.host_mirror()
  local targets = must("cannot ask apt for a mirror", {
    "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages" }, { env = { LC_ALL = "C" } })
  return apt.choose_mirror(targets) or refuse "apt's configuration names no Debian mirror; give one with --mirror=URL"
end

-- Settings of the host that also hold in the private root: how to reach the network, and how strict to be about time.
local TAKEN_OVER = {
  "^Acquire::http", "^Acquire::https", "^Acquire::ftp", "^Acquire::tor", "^Acquire::socks", "^Acquire::Proxy", "^Acquire::Retries",
  "^Acquire::ForceIPv", "^Acquire::Check%-Valid%-Until", "^Acquire::Check%-Date", "^Acquire::Max%-ValidTime",
  "^Acquire::Min%-ValidTime", "^Acquire::By%-Hash", "^Acquire::Queue%-Mode",
}

local function host_settings()
  local dump = must("cannot read apt's configuration", { "apt-config", "dump", "--format", '%F "%v";%n', "Acquire" })
  local lines = {}
  for line in dump:gmatch "[^\n]+" do
    for _, pattern in ipairs(TAKEN_OVER) do
      if line:find(pattern) and not line:find ' "";$' then
        lines[#lines + 1] = line
        break
      end
    end
  end
  return lines
end

local function settings(dir, architecture)
  local rows = {
    { "Dir::State", dir .. "/state" }, { "Dir::State::Lists", dir .. "/state/lists" }, { "Dir::State::status", dir .. "/state/status" },
    { "Dir::Cache", dir .. "/cache" }, { "Dir::Cache::srcpkgcache", "" },
    { "Dir::Etc", dir .. "/etc" }, { "Dir::Etc::SourceList", dir .. "/etc/sources.list" }, { "Dir::Etc::SourceParts", "/dev/null" },
    { "Dir::Etc::Parts", "/dev/null" },
    { "Dir::Etc::netrc", "/etc/apt/auth.conf" }, { "Dir::Etc::netrcparts", "/etc/apt/auth.conf.d" },
    { "APT::Architecture", architecture }, { "APT::Architectures::", architecture }, { "APT::Install-Recommends", "0" },
    { "APT::Update::Error-Mode", "any" },               -- a list that did not come is an error, not a warning
    { "APT::Sandbox::User", uv.os_get_passwd().username },   -- the cache may lie where the user _apt cannot go
    { "Acquire::Languages", "none" }, { "Acquire::GzipIndexes", "true" },
  }
  local lines = { "#clear APT::Architectures;" }
  for _, row in ipairs(rows) do lines[#lines + 1] = ('%s "%s";'):format(row[1], row[2]) end
  return lines
end

-- Makes or reuses a private root in the folder `dir`. `source` = { mirror = URL, keyring = path, suite =, architecture = }.
function apt.root(dir, source)
  if dir:find '["\n]' then refuse("the cache folder %s has a quote in its name, which apt cannot read", dir) end
  if not source.mirror:find "^%a[%w+.-]*:[^%s%[%]]+$" then refuse("`%s` is not the URL of a mirror", source.mirror) end
  if source.keyring:find "[%s%[%],]" then refuse("apt cannot read the keyring name `%s`", source.keyring) end
  if not cache.size(source.keyring) then
    refuse("keyring %s not found; the package debian-archive-keyring brings it", source.keyring)
  end
  for _, name in ipairs { "/state/lists/partial", "/cache/archives/partial", "/etc/preferences.d", "/debs", "/partial" } do
    need(cache.make_dir(dir .. name))
  end
  local lines = settings(dir, source.architecture)
  for _, line in ipairs(host_settings()) do lines[#lines + 1] = line end
  need(cache.write(dir .. "/apt.conf", table.concat(lines, "\n") .. "\n"))
  need(cache.write(dir .. "/state/status", ""))
  need(cache.write(dir .. "/etc/sources.list", ("deb [arch=%s signed-by=%s] %s %s main\n"):format(
    source.architecture, source.keyring, source.mirror:gsub("/+$", ""), source.suite)))
  return setmetatable({ dir = dir, env = { APT_CONFIG = dir .. "/apt.conf", LC_ALL = "C" } }, Root)
end

-- Calls `on_percent` with what apt tells about a transfer, 0 to 100.
function Root:options(on_percent)
  return { env = self.env, cwd = self.dir, on_status = on_percent and function(line)
    local percent = tonumber(line:match "^dlstatus:[^:]*:([%d.]+)")
    if percent then on_percent(percent) end
  end }
end

-- Fetches the lists of packages.
function Root:update(on_percent)
  must("cannot fetch the package lists", { "apt-get", "-q", "-o", "APT::Status-Fd=3", "update" }, self:options(on_percent))
end

-- What the lists say about packages: one table of fields (lower case) a name, in the order asked.
function Root:show(names)
  local argv = { "apt-cache", "show", "--no-all-versions" }
  for _, name in ipairs(names) do argv[#argv + 1] = name end
  local by_name, found = {}, {}
  for paragraph in (must("cannot look up packages", argv, self:options()) .. "\n\n"):gmatch "(.-)\n\n" do
    local fields = {}
    for key, value in ("\n" .. paragraph):gmatch "\n([%w-]+): ([^\n]*)" do fields[key:lower()] = value end
    if fields.package then by_name[fields.package] = by_name[fields.package] or fields end
  end
  for i, name in ipairs(names) do
    found[i] = by_name[name] or refuse("the package lists do not know %s", name)
  end
  return found
end

-- The names of the packages and of all they depend on, sorted.
function Root:closure(names)
  local argv, all = { "apt-get", "-q", "-y", "--print-uris", "install" }, {}
  for _, name in ipairs(names) do argv[#argv + 1] = name end
  for line in must("cannot look up packages", argv, self:options()):gmatch "[^\n]+" do
    all[#all + 1] = line:match "^'[^']+' ([^_%s]+)_"
  end
  table.sort(all)
  return all
end

-- Where the packages lie: { name, version, uri, file, size, hash } each, in the order asked.
function Root:locate(names)
  local argv = { "apt-get", "download", "--print-uris" }
  for _, name in ipairs(names) do argv[#argv + 1] = name end
  local by_name, places = {}, {}
  for line in must("cannot look up packages", argv, self:options()):gmatch "[^\n]+" do
    local uri, file, size, hash = line:match "^'([^']+)' (%S+) (%d+) (SHA%d+:%x+)"
    if uri then
      local name, version = file:match "^([^_]+)_([^_]+)"
      by_name[name] = { name = name, version = (version:gsub("%%3a", ":")), uri = uri, file = file, size = tonumber(size), hash = hash }
    end
  end
  for i, name in ipairs(names) do
    places[i] = by_name[name] or refuse("the package lists give no place and no strong hash for %s", name)
  end
  return places
end

-- Fetches one located package and returns its path. What an earlier, interrupted call got is kept and continued from.
function Root:download(place, on_percent)
  local done, partial = self.dir .. "/debs/" .. place.file, self.dir .. "/partial/" .. place.file
  if cache.size(done) == place.size then return done end
  local argv = { HELPER, "-q", "-o", "APT::Status-Fd=3", "download-file", place.uri, partial, place.hash }
  local doing = "cannot fetch " .. place.file
  local resumed = (cache.size(partial) or 0) > 0
  local ok, problem = pcall(must, doing, argv, self:options(on_percent))
  if not ok and resumed and type(problem) == "table" and tostring(problem.refusal):find "hash" then
    need(cache.remove(partial))                         -- what was there did not fit what came: once more from the start
    ok, problem = pcall(must, doing, argv, self:options(on_percent))
  end
  if not ok then error(problem, 0) end
  local renamed, why = uv.fs_rename(partial, done)
  if not renamed then refuse("%s: %s", doing, why) end
  return done
end

-- Unpacks from a package the files that match `patterns` (tar's wildcards) into the folder `into`.
function Root:unpack(deb, patterns, into)
  local extract = { "tar", "-x", "-C", into, "--no-same-owner", "--no-same-permissions", "--wildcards", "-f", "-" }
  for _, pattern in ipairs(patterns) do extract[#extract + 1] = pattern end
  local from, to = process.pipe({ "dpkg-deb", "--fsys-tarfile", deb }, extract, self:options())
  if not from then refuse(to) end
  local doing = "cannot unpack " .. deb:match "[^/]*$"
  if to.code ~= 0 or to.signal ~= 0 then refuse("%s: %s", doing, reason(to.err)) end
  if from.code ~= 0 or from.signal ~= 0 then refuse("%s: %s", doing, reason(from.err)) end
end

return apt

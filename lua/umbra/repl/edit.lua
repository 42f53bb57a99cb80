-- edit: where the lines of a session come from: typed with libedit on a terminal, or read as they are.
--
-- Both kinds are asked, and never call: begin(prompt), then take() until it returns a line, false at the end of input, or nil while
-- there is none yet. libedit reads a key only when there is one, so machines are served while somebody types.
-- SPDX-License-Identifier: MIT
local ffi   = require "ffi"
local cache = require "umbra.cache"
local clib  = require "umbra.clib"

local edit = {}

local MOST_HISTORY = 1000                         -- lines
local EL_PROMPT, EL_EDITOR, EL_BIND, EL_HIST, EL_UNBUFFERED, EL_REFRESH = 0, 2, 4, 10, 15, 20
local H_SETSIZE, H_ENTER, H_LOAD, H_SAVE, H_SETUNIQUE = 1, 10, 17, 18, 20
local LC_CTYPE = 0
local TAB, EOF = "\t", "\4"                       -- what Tab and, on an empty line, Ctrl-D put into the line

local PROTOTYPES = [[
struct um_el_line { const char *buffer, *cursor, *lastchar; };
struct um_el_event { int num; const char *str; };
void *um_el_init(const char *name, void *in, void *out, void *err) __asm__("el_init");
void um_el_end(void *el) __asm__("el_end");
const char *um_el_gets(void *el, int *count) __asm__("el_gets");
int um_el_set(void *el, int what, ...) __asm__("el_set");
const struct um_el_line *um_el_line(void *el) __asm__("el_line");
int um_el_insertstr(void *el, const char *text) __asm__("el_insertstr");
void um_el_deletestr(void *el, int count) __asm__("el_deletestr");
void um_el_resize(void *el) __asm__("el_resize");
void *um_el_history_init(void) __asm__("history_init");
void um_el_history_end(void *history) __asm__("history_end");
int um_el_history(void *history, struct um_el_event *event, int what, ...) __asm__("history");
]]

-- Lines as they are ----------------------------------------------------------------------------------------------------------

local Plain = {}
Plain.__index = Plain

-- prompts: function(text) that shows one, or nil for none.
function edit.plain(input, prompts)
  return setmetatable({ input = input, prompts = prompts, rest = "" }, Plain)
end

function Plain:begin(prompt)
  if self.prompts then self.prompts(prompt) end
  self.prompt = prompt
end

function Plain:take()
  while not self.rest:find("\n", 1, true) do
    local bytes = not self.ended and self.input:read(4096)
    if bytes == nil then return end
    self.ended = self.ended or bytes == ""
    if self.ended and self.rest == "" then return false end
    self.rest = self.rest .. (self.ended and "\n" or bytes)
  end
  local line
  line, self.rest = self.rest:match "^([^\n]*)\n(.*)$"
  return line
end

local function nothing() end
Plain.finish, Plain.remember, Plain.close = nothing, nothing, nothing

-- Something else is to be shown while a line is asked for: `write` shows it.
function Plain:aside(write)
  if not self.prompts then return write "" end
  write "\n"
  self.prompts(self.prompt)
end

function Plain:clear()
  self.rest = ""
  if self.prompts then self.prompts "\n" end
end

-- libedit --------------------------------------------------------------------------------------------------------------------

local Edited = {}
Edited.__index = Edited

local function state_folder()
  local base = os.getenv "XDG_STATE_HOME"
  if not base or base:sub(1, 1) ~= "/" then base = (os.getenv "HOME" or "") .. "/.local/state" end
  return base:sub(1, 1) == "/" and base .. "/umbra" or nil
end

local function int(value) return ffi.cast("int", value) end
local function text(value) return ffi.cast("const char *", value) end

local function start_history(self)
  local lib = self.lib
  self.history, self.event = lib.um_el_history_init(), ffi.new "struct um_el_event"
  lib.um_el_history(self.history, self.event, H_SETSIZE, int(MOST_HISTORY))
  lib.um_el_history(self.history, self.event, H_SETUNIQUE, int(1))
  lib.um_el_set(self.el, EL_HIST, ffi.cast("void *", lib.um_el_history), self.history)
  local folder = state_folder()
  if not folder or not cache.make_dir(folder) then return end
  self.file = folder .. "/history"
  lib.um_el_history(self.history, self.event, H_LOAD, text(self.file))
end

-- A line editor on this terminal, or nil where libedit is not there. complete(before) returns what is to be put behind the text
-- before the cursor, and a list of what it may be (umbra.repl.complete).
function edit.open(input, complete)
  local ok, lib = pcall(clib.host, PROTOTYPES, "libedit.so.2")
  if not ok then return end
  -- How bytes become characters is the locale's; numbers and texts stay as they are.
  local locale = clib.host [[ char *um_host_setlocale(int category, const char *name) __asm__("setlocale"); ]]
  if locale.um_host_setlocale(LC_CTYPE, "") == nil then locale.um_host_setlocale(LC_CTYPE, "C.UTF-8") end
  local el = lib.um_el_init("umbra", io.stdin, io.stdout, io.stderr)
  if el == nil then return end
  local self = setmetatable({ lib = lib, el = el, input = input, complete = complete, count = ffi.new "int[1]" }, Edited)
  lib.um_el_set(el, EL_PROMPT, ffi.cast("void *", clib.C.um_prompt))
  lib.um_el_set(el, EL_EDITOR, text "emacs")
  lib.um_el_set(el, EL_BIND, text "^I", text "ed-insert", text(nil))
  lib.um_el_set(el, EL_BIND, text "^R", text "em-inc-search-prev", text(nil))
  start_history(self)
  return self
end

function Edited:begin(prompt)
  clib.C.um_prompt_set(prompt)
  io.stdout:flush()
  self.lib.um_el_set(self.el, EL_UNBUFFERED, int(1))     -- raw mode, and shows the prompt
  self.asking = true
end

function Edited:finish()
  if self.asking then self.lib.um_el_set(self.el, EL_UNBUFFERED, int(0)) end
  self.asking = false
end

local function refresh(self) self.lib.um_el_set(self.el, EL_REFRESH) end

-- Shows the words that may stand there, in columns.
local function list(self, words)
  local wide, cells = 0, {}
  for _, word in ipairs(words) do wide = math.max(wide, #word + 2) end
  local columns = math.max(1, math.floor(require("umbra.host").columns(1) / wide))
  for i, word in ipairs(words) do
    cells[i] = (i % columns == 0 or i == #words) and word .. "\r\n" or word .. (" "):rep(wide - #word)
  end
  io.stdout:write("\r\n", table.concat(cells))
  io.stdout:flush()
  refresh(self)
end

local function tab(self)
  self.lib.um_el_deletestr(self.el, 1)
  local line = self.lib.um_el_line(self.el)
  local before = ffi.string(line.buffer, line.cursor - line.buffer)
  if not before:find "%S" then
    self.lib.um_el_insertstr(self.el, "  ")       -- an indented line that was pasted
    return refresh(self)
  end
  local more, words = self.complete(before)
  if more ~= "" then self.lib.um_el_insertstr(self.el, more) end
  if more == "" and #words > 1 then list(self, words) else refresh(self) end
end

function Edited:take()
  while true do
    local ready = self.input:ready()
    if not ready then return end
    if ready == "gone" then return false end
    self.lib.um_el_resize(self.el)
    local got = self.lib.um_el_gets(self.el, self.count)
    local size = self.count[0]
    if got ~= nil and size > 0 then
      local line = self.lib.um_el_line(self.el)
      local key = line.cursor > line.buffer and ffi.string(line.cursor - 1, 1)
      local bytes = ffi.string(got, size)
      if bytes:sub(-1) == "\n" or bytes:sub(-1) == "\r" then return bytes:sub(1, -2) end
      if bytes == EOF then
        self.lib.um_el_deletestr(self.el, 1)
        io.stdout:write "\r\n"
        return false
      end
      if key == TAB then tab(self) end
    elseif got == nil and self.input:ready() == true then
      self.empty = (self.empty or 0) + 1          -- a terminal that hung up reads as empty for ever
      if self.empty > 100 then return false end
    end
    if got ~= nil then self.empty = 0 end
  end
end

function Edited:aside(write)
  write "\r\27[K"
  refresh(self)
end

-- The line is given up.
function Edited:clear()
  self:finish()
  io.stdout:write "^C\n"
end

function Edited:remember(line)
  self.lib.um_el_history(self.history, self.event, H_ENTER, text(line))
end

function Edited:close()
  self:finish()
  if self.file then self.lib.um_el_history(self.history, self.event, H_SAVE, text(self.file)) end
  self.lib.um_el_end(self.el)
  self.lib.um_el_history_end(self.history)
end

return edit

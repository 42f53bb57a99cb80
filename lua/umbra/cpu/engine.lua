-- engine: what runs guest code, of machines and of processes.
-- SPDX-License-Identifier: MIT
local clib   = require "umbra.clib"
local schema = require "umbra.schema"

local C = clib.C

local engine = {}

-- What runs guest code. UMBRA_ENGINE and UMBRA_CODE say what is meant where nothing is said: specs are run in every engine.
engine.ROWS = {
  { "engine", type = "enum", values = { "t0", "t1", "auto", "lockstep" }, default = os.getenv "UMBRA_ENGINE" or "auto",
    help = "what runs guest code: the interpreter; translated code; that where it is hot; both, compared" },
  { "jit", type = "table", default = {}, help = "{ threshold = 30, code = \"32M\" }" },
}
local JIT = {
  { "threshold", type = "integer", default = 30, min = 1, max = 1000000, help = "auto: how often a block is entered before it is translated" },
  { "code", type = "size", default = os.getenv "UMBRA_CODE" or 2 ^ 25, min = 65536, max = 2 ^ 30, help = "memory for translated code" },
}
local ENGINES = { t0 = C.UM_ENGINE_T0, t1 = C.UM_ENGINE_T1, auto = C.UM_ENGINE_AUTO, lockstep = C.UM_ENGINE_LOCKSTEP }

-- Its number, the threshold and the bytes of code memory, of checked options.
function engine.choose(options) return ENGINES[options.engine], options.jit.threshold, options.jit.code end

function engine.check_jit(options, where) return schema.check(options, JIT, where) end

return engine

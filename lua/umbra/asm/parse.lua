-- parse: the grammar of one line of assembler text.
-- SPDX-License-Identifier: MIT
--
-- A line is statements between semicolons, each with labels before it. Operands are trees: { op = "number" | "symbol" | "here" |
-- "unary" | "binary" | "modifier" | ..., at = column }, strings and addresses in brackets stand around them. Operators bind as GNU's
-- assembler has it, which is not C's way: first * / % << >>, then & | ^, then + and -, then comparisons.
local lpeg = require "lpeg"
local registers = require "umbra.asm.registers"
local number = require "umbra.asm.number"

local P, R, S, V, C, Cc, Cf, Cg, Cp, Cs, Ct, Cmt = lpeg.P, lpeg.R, lpeg.S, lpeg.V, lpeg.C, lpeg.Cc, lpeg.Cf, lpeg.Cg, lpeg.Cp, lpeg.Cs, lpeg.Ct, lpeg.Cmt

local parse = {}

local furthest                                       -- column of the furthest failure, for messages
local mark = P(function(_, at) if at > furthest then furthest = at end return true end)
local space = S " \t\r\f" ^ 0
local first = R("az", "AZ") + S "_.$"
local more = first + R "09"
local name = first * more ^ 0
local comment = (P "#" + "//") * P(1) ^ 0
local stop = space * (P ";" + comment ^ -1 * -1)
local function token(pattern) return P(pattern) * space * mark end

-- Literals -----------------------------------------------------------------------------------------------------------------

local ESCAPES = { n = "\n", t = "\t", r = "\r", b = "\b", f = "\f", v = "\v", a = "\a", e = "\27", ["\\"] = "\\", ['"'] = '"', ["'"] = "'" }
local escape = P "\\" * C(R "07" * R "07" ^ -2) / function(digits) return string.char(tonumber(digits, 8) % 256) end
  + P "\\" * S "xX" * C(R("09", "af", "AF") ^ 1) / function(digits) return string.char(tonumber(digits:sub(-2), 16)) end
  + P "\\" * C(S "ntrbfvae\\\"'") / ESCAPES
local quoted = P '"' * Cs((escape + (1 - S '"\\')) ^ 0) * P '"'
local character = P "'" * (escape + C(1 - S "'\\")) * P "'" / string.byte

local digits = R "09" ^ 1
local hexadecimal = S "xX" * C(R("09", "af", "AF") ^ 1) * Cc(16)
local binary = S "bB" * C(S "01" ^ 1) * Cc(2)
local literal = (P "0" * (hexadecimal + binary + C(R "07" ^ 1) * Cc(8)) + C(R "19" * R "09" ^ 0 + "0") * Cc(10)) * -more / number.read
local float = C(digits * (P "." * R "09" ^ 0 * (S "eE" * S "+-" ^ -1 * digits) ^ -1 + S "eE" * S "+-" ^ -1 * digits)) / tonumber
local near = C(digits) * C(S "bf") * -more

local function node(op, ...)
  local names = { ... }
  return function(at, ...)
    local made = { op = op, at = at }
    for i, key in ipairs(names) do made[key] = (select(i, ...)) end
    return made
  end
end

-- Expressions --------------------------------------------------------------------------------------------------------------

local DEEPEST = 1000                                 -- operations within operations
local TOO_DEEP = "an expression of too many parts"

local function chain(operand, operator)
  return Cf(operand * Cg(Cp() * C(operator) * space * mark * operand) ^ 0, function(left, at, sign, right)
    local depth = math.max(left.depth or 0, right.depth or 0) + 1
    if depth > DEEPEST then error(TOO_DEEP, 0) end
    return { op = "binary", at = at, name = sign, left = left, right = right, depth = depth }
  end)
end

local register = Cmt(C(name), function(_, at, text) return registers.find(text) and at, text end)
local bracketed = token "(" * Cp() * register * space * mark * P ")" * space * mark

local grammar = {
  "operands",
  operands  = space * mark * Ct((V "operand" * (token "," * V "operand") ^ 0) ^ -1) * mark * stop * Cp(),
  operand   = Cp() * quoted * space * mark / node("string", "text")
            + Cp() * P "@" * C(name) * space * mark / node("tag", "name")
            + Cp() * bracketed * #(S "," + stop) / function(at, place, text) return { op = "memory", at = at, register = text, register_at = place } end
            + Cp() * V "expression" * bracketed ^ -1 / function(at, offset, place, text)
                return text and { op = "memory", at = at, offset = offset, register = text, register_at = place } or offset
              end,
  expression = chain(V "both", P "||"),
  both       = chain(V "compare", P "&&"),
  compare    = chain(V "sum", P "==" + "!=" + "<>" + "<=" + ">=" + P "<" * -P "<" + P ">" * -P ">"),
  sum        = chain(V "bits", S "+-"),
  bits       = chain(V "product", P "&" * -P "&" + P "|" * -P "|" + "^"),
  product    = chain(V "unary", S "*%" + P "/" * -S "/*" + "<<" + ">>"),
  unary      = Cp() * C(S "-~!+") * space * mark * V "unary" / node("unary", "name", "value") + V "primary",
  primary    = (Cp() * near / function(at, which, way) return { op = "near", at = at, number = which, way = way } end
              + Cp() * float * -more / node("float", "value")
              + Cp() * (literal + character) / node("number", "value")
              + Cp() * P "%" * C(name) * space * token "(" * V "expression" * P ")" / node("modifier", "name", "value")
              + Cp() * P "." * -more / node "here"
              + Cp() * C(name) / node("symbol", "name")) * space * mark
              + token "(" * V "expression" * token ")",
}
local operands = P(grammar)
lpeg.setmaxstack(4000)

-- Statements ---------------------------------------------------------------------------------------------------------------

local label = Ct(Cp() * C(name + digits) * space * P ":") * space
local assignment = Ct(Cg(Cp(), "at") * Cg(C(name), "target") * space * Cg(C "=", "op") * -P "=")
local command = Ct(Cg(Cp(), "at") * Cg(C(name), "op") * #(S " \t\r\f;#" + "//" + -1))
local head = space * Ct(label ^ 0) * (assignment + command + Cc(false)) * Cp()

-- The statement of `text` that begins at column `from`: its labels ({ column, name }), { at =, op =, target = } (op "=": an assignment
-- to target) or false when there is none, and the column behind that.
function parse.head(text, from) return head:match(text, from) end

-- The operands from column `from` on and the column behind the statement; nil, the column of what is wrong, and what it is.
function parse.operands(text, from)
  furthest = from
  local ok, list, behind = pcall(lpeg.match, operands, text, from)
  if not ok then return nil, furthest, TOO_DEEP end    -- lpeg's own stack has an end, too
  if list then return list, behind end
  local rest = text:match("^[%w_.$]+", furthest) or text:sub(furthest, furthest)
  if rest == "" then return nil, furthest, "something is missing at the end of the line" end
  if rest == '"' then return nil, furthest, "a string that does not end, or has an unknown escape" end
  return nil, furthest, ("unexpected `%s`"):format(rest)
end

-- Where the next statement begins when nothing but a comment is at `from`, else nil.
local nothing = stop * Cp()
function parse.ends(text, from) return nothing:match(text, from) end

-- The raw text of a statement from `from` on, without its comment, and the column behind it: for arguments of macros.
local raw = space * C((quoted + character + (1 - (P ";" + "#" + "//"))) ^ 0) * stop * Cp()
function parse.raw(text, from)
  local found, behind = raw:match(text, from)
  return (found:gsub("%s+$", "")), behind
end

-- `text` with /* comments */ blanked out, lines staying lines; nil and the position of a comment that does not end.
local line_comment = (P "#" + "//") * (1 - P "\n") ^ 0
local loose_string = P '"' * (P "\\" * 1 + (1 - S '"\\\n')) ^ 0 * P '"' ^ -1
local block = P "/*" * (1 - P "*/") ^ 0 * P "*/" / function(all) return (all:gsub("[^\n]", " ")) end
local blanked = Cs((loose_string + line_comment + block + (1 - P "/*")) ^ 0) * Cp()
function parse.without_blocks(text)
  if not text:find("/*", 1, true) then return text end
  local clean, at = blanked:match(text)
  if at <= #text then return nil, at end
  return clean
end

return parse

-- cdef_once: busted's helper. It sets the paths and loads the C side before the first spec, so that both outlive the reloading of
-- modules between files.
-- SPDX-License-Identifier: MIT
package.path = "./lua/?.lua;./?.lua;" .. package.path
require "umbra.clib"

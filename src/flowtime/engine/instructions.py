"""WebAssembly for the functions and operators of formulas, for one bin (f64) and for two at a time (f64x2).

Texts are expressions in the format of the WebAssembly specification; `{0}`, `{1}`, ... stand for operands,
which are cheap to write twice: a local or a number. Both forms give the bits of `arithmetic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flowtime.core.arithmetic import LARGEST_PART

COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq"}
ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "/": "div", "MIN": "min", "MAX": "max"}
UNARY = {"negative": "neg", "ABS": "abs", "FLOOR": "floor", "CEIL": "ceil", "SQRT": "sqrt"}
ELEMENTARY = {"EXP": "exp", "LOG": "log", "POW": "pow", "MOD": "mod"}

NOTED = {
    "FLOW": ("{form}.lt {0} {zero}",),
    "PART": ("{form}.lt {0} {zero}", "{form}.gt {0} {most}"),
    "POSITIVE": ("{form}.le {0} {zero}",),
}
"""When the functions of `arithmetic.NOTED` are worth a note: any of these comparisons."""

_MOST = f"(f64.const {LARGEST_PART.hex()})"
_LOW, _HIGH = "(f64x2.extract_lane 0 {%d})", "(f64x2.extract_lane 1 {%d})"


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is held: `type` of its local, `width` in bins, and the text of each `operation` on it."""

    type: str
    width: int
    operation: Mapping[str, str]

    @property
    def prefix(self) -> str:
        """What the names of arithmetic instructions begin with."""
        return "f64" if self.width == 1 else "f64x2"

    @property
    def bytes(self) -> int:
        """The size of a value."""
        return 8 * self.width

    def number(self, value: float) -> str:
        """A number."""
        digits = value.hex()
        return f"(f64.const {digits})" if self.width == 1 else f"(v128.const f64x2 {digits} {digits})"

    def load(self, address: str) -> str:
        """The value at an address, written `offset=N (index)`."""
        return f"({self.type}.load {address})"


def _scalar() -> dict[str, str]:
    texts = {name: f"(f64.{op} {{0}} {{1}})" for name, op in ARITHMETIC.items()}
    texts |= {name: f"(f64.{op} {{0}})" for name, op in UNARY.items()}
    texts |= {name: f"(f64.convert_i32_u (f64.{op} {{0}} {{1}}))" for name, op in COMPARISONS.items()}
    texts |= {name: f"(call ${op} {{0}})" for name, op in ELEMENTARY.items() if name in ("EXP", "LOG")}
    texts |= {name: f"(call ${op} {{0}} {{1}})" for name, op in ELEMENTARY.items() if name in ("POW", "MOD")}
    chosen = "(select {1} {2} (f64.ne {0} (f64.const 0)))"
    positive = "(select (f64.const 0) {0} (f64.lt {0} (f64.const 0)))"
    half = "(f64.ge (f64.abs (f64.sub {0} (f64.trunc {0}))) (f64.const 0.5))"
    return texts | {
        "copy": "{0}",
        "!=": "(f64.convert_i32_u (i32.or (f64.lt {0} {1}) (f64.gt {0} {1})))",
        "FLOW": positive,
        "PART": f"(select {_MOST} {positive} (f64.gt {{0}} {_MOST}))",
        "POSITIVE": "{0}",
        "RATIO": "(select (f64.const nan) (f64.div {0} {1}) (f64.eq {1} (f64.const 0)))",
        "IF": f"(select (f64.const nan) {chosen} (f64.ne {{0}} {{0}}))",
        "ROUND": f"(f64.add (f64.trunc {{0}}) (f64.copysign (f64.convert_i32_u {half}) {{0}}))",
    }


def _pair() -> dict[str, str]:
    one, zero = "(v128.const f64x2 1 1)", "(v128.const f64x2 0 0)"
    sign = "(v128.const i64x2 0x8000000000000000 0x8000000000000000)"
    texts = {name: f"(f64x2.{op} {{0}} {{1}})" for name, op in ARITHMETIC.items()}
    texts |= {name: f"(f64x2.{op} {{0}})" for name, op in UNARY.items()}
    texts |= {name: f"(v128.and (f64x2.{op} {{0}} {{1}}) {one})" for name, op in COMPARISONS.items()}
    for name, op in ELEMENTARY.items():
        operands = range(1 if name in ("EXP", "LOG") else 2)
        low, high = (" ".join(lane % index for index in operands) for lane in (_LOW, _HIGH))
        texts[name] = f"(f64x2.replace_lane 1 (f64x2.splat (call ${op} {low})) (call ${op} {high}))"
    half = "(f64x2.ge (f64x2.abs (f64x2.sub {0} (f64x2.trunc {0}))) (v128.const f64x2 0.5 0.5))"
    return texts | {
        "copy": "{0}",
        "!=": f"(v128.and (v128.or (f64x2.lt {{0}} {{1}}) (f64x2.gt {{0}} {{1}})) {one})",
        "FLOW": f"(v128.andnot {{0}} (f64x2.lt {{0}} {zero}))",
        "PART": "{0}",  # what is cut is noted, and done one by one
        "POSITIVE": "{0}",
        "RATIO": f"(v128.or (f64x2.div {{0}} {{1}}) (f64x2.eq {{1}} {zero}))",
        # all bits set, which a missing condition gives, is a NaN
        "IF": f"(v128.or (v128.bitselect {{1}} {{2}} (f64x2.ne {{0}} {zero})) (f64x2.ne {{0}} {{0}}))",
        "ROUND": f"(f64x2.add (f64x2.trunc {{0}}) (v128.or (v128.and {half} {one}) (v128.and {{0}} {sign})))",
    }


SINGLE = Form("f64", 1, MappingProxyType(_scalar()))
PAIR = Form("v128", 2, MappingProxyType(_pair()))

SETTLE = """\
;; a node's value; what is not finite becomes missing, and is noted unless an input is missing
(func $settle
  (param $v f64) (param $t i32) (param $note i32) (param $since i32) (param $excused i32) (result f64)
  (if (f64.eq (f64.sub (local.get $v) (local.get $v)) (f64.const 0)) (then (return (local.get $v))))
  (if (i32.or (f64.eq (local.get $v) (local.get $v)) (i32.eqz (local.get $excused)))
    (then (call $note (local.get $note) (local.get $t))))
  (if (i32.eqz (i32.load (local.get $since)))
    (then (i32.store (local.get $since) (i32.add (local.get $t) (i32.const 1)))))
  (f64.const nan))
"""

EXCUSED = """\
;; whether an input has been missing in or before a bin, by a table of (address of its since, 1 for before)
(func $excused (param $t i32) (param $table i32) (param $end i32) (result i32)
  (loop $inputs
    (if (i32.eq (local.get $table) (local.get $end)) (then (return (i32.const 0))))
    (if (i32.lt_u
          (i32.sub (i32.load (i32.load (local.get $table))) (i32.const 1))
          (i32.sub (i32.add (local.get $t) (i32.const 1)) (i32.load offset=4 (local.get $table))))
      (then (return (i32.const 1))))
    (local.set $table (i32.add (local.get $table) (i32.const 8)))
    (br $inputs))
  (unreachable))
"""

QUIET = """\
;; the value of a formula that may be missing without a note
(func $quiet (param $t i32) (param $since i32) (result f64)
  (if (i32.eqz (i32.load (local.get $since)))
    (then (i32.store (local.get $since) (i32.add (local.get $t) (i32.const 1)))))
  (f64.const nan))
"""

MISSING = """\
;; keeps the first missing bin of a row
(func $missing (param $row i32) (param $since i32) (param $t i32) (param $end i32)
  (local $value f64)
  (if (i32.load (local.get $since)) (then (return)))
  (loop $bins
    (local.set $value (f64.load (i32.add (local.get $row) (i32.shl (local.get $t) (i32.const 3)))))
    (local.set $t (i32.add (local.get $t) (i32.const 1)))
    (if (f64.ne (local.get $value) (local.get $value))
      (then (i32.store (local.get $since) (local.get $t)) (return)))
    (br_if $bins (i32.lt_s (local.get $t) (local.get $end)))))
"""

NOTE = """\
;; note a bin, and once a point that the note was met in it
(func $note (param $note i32) (param $t i32)
  (local $at i32)
  (i32.store8 offset={marks}
    (i32.add (i32.mul (local.get $note) (i32.const {bins})) (local.get $t)) (i32.const 1))
  (local.set $at (i32.shl (local.get $note) (i32.const 3)))
  (if (i32.ne (i32.load offset={times} (local.get $at)) (global.get $point))
    (then
      (i32.store offset={times} (local.get $at) (global.get $point))
      (i32.store offset={counts} (local.get $at)
        (i32.add (i32.load offset={counts} (local.get $at)) (i32.const 1))))))
"""

CONVOLVE = """\
;; the sum of weight times row[t - lag] over a table of (lag * 8, weight), lags ascending
(func $convolve (param $row i32) (param $t i32) (param $table i32) (param $end i32) (result f64)
  (local $sum f64) (local $p i32) (local $lag i32)
  (local.set $p (i32.shl (local.get $t) (i32.const 3)))
  (block $done
    (loop $taps
      (br_if $done (i32.eq (local.get $table) (local.get $end)))
      (local.set $lag (i32.load (local.get $table)))
      (br_if $done (i32.gt_s (local.get $lag) (local.get $p)))
      (local.set $sum (f64.add (local.get $sum) (f64.mul (f64.load offset=8 (local.get $table))
        (f64.load (i32.add (local.get $row) (i32.sub (local.get $p) (local.get $lag)))))))
      (local.set $table (i32.add (local.get $table) (i32.const 16)))
      (br $taps)))
  (local.get $sum))
;; the same in bins t and t + 1
(func $convolve2 (param $row i32) (param $t i32) (param $table i32) (param $end i32) (result v128)
  (local $sum v128) (local $p i32) (local $lag i32)
  (local.set $p (i32.shl (local.get $t) (i32.const 3)))
  (block $done
    (loop $taps
      (br_if $done (i32.eq (local.get $table) (local.get $end)))
      (local.set $lag (i32.load (local.get $table)))
      (br_if $done (i32.gt_s (local.get $lag) (local.get $p)))
      (local.set $sum (f64x2.add (local.get $sum) (f64x2.mul (v128.load64_splat offset=8 (local.get $table))
        (v128.load (i32.add (local.get $row) (i32.sub (local.get $p) (local.get $lag)))))))
      (local.set $table (i32.add (local.get $table) (i32.const 16)))
      (br $taps)))
  (if (i32.and (i32.ne (local.get $table) (local.get $end))
               (i32.eq (local.get $lag) (i32.add (local.get $p) (i32.const 8))))
    (then (local.set $sum (f64x2.replace_lane 1 (local.get $sum)
      (f64.add (f64x2.extract_lane 1 (local.get $sum))
               (f64.mul (f64.load offset=8 (local.get $table)) (f64.load (local.get $row))))))))
  (local.get $sum))
"""

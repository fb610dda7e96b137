"""EXP, LOG, POW and MOD from IEEE 754 operations alone: the same bits on every processor and in a browser.

`exp`, `log` and `pow` follow the algorithms that Sun published as fdlibm 5.3 (e_exp.c, e_log.c, e_pow.c)
and stay within one unit in the last place; `mod` is exact. Infinities and NaN (missing) are arguments and
results like any other; none of the functions raises.

Everything below `_floor` uses only what WebAssembly has, too: `scripts/webassembly.py` translates it to
`elementary.wat`, which compiled programs include, and compares it with mpmath.
"""

from __future__ import annotations

import math
import struct

_INF, _NAN = math.inf, math.nan
_LEAST_NORMAL = 2.2250738585072014e-308
_TWO_53 = 9007199254740992.0
_MANTISSA = 0x000FFFFF_FFFFFFFF
_IMPLICIT = 0x00100000_00000000
_ONE = 0x3FF00000_00000000

# exp: 2^k · e^r with |r| at most ln 2 / 2, e^r by a rational approximation.
_LOG2_E = 1.44269504088896338700e00
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_P1, _P2, _P3 = 1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05
_P4, _P5 = -1.65339022054652515390e-06, 4.13813679705723846039e-08

# log: k · ln 2 + log(1 + f), 1 + f between √½ and √2, by a polynomial in (f / (2 + f))².
_SQRT_HALF = 0x3FE6A09E_00000000
_L1, _L2, _L3 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01
_L4, _L5, _L6 = 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01
_L7 = 1.479819860511658591e-01

# pow: log2 of the mantissa in two doubles, from the nearer of 1 and 1.5, in heads of 32 bits whose
# products are exact.
_TO_1_5, _TO_2 = 0x3FF3988F_00000000, 0x3FFBB67A_00000000
_LOG2_1_5_HIGH, _LOG2_1_5_LOW = 5.84962487220764160156e-01, 1.35003920212974897128e-08
_W1, _W2, _W3 = 5.99999999999994648725e-01, 4.28571428578550184252e-01, 3.33333329818377432918e-01
_W4, _W5, _W6 = 2.72728123808534006489e-01, 2.30660745775561754067e-01, 2.06975017800338417784e-01
_CP, _CP_HIGH, _CP_LOW = 9.61796693925975554329e-01, 9.61796700954437255859e-01, -7.02846165095275826516e-09
_LN2, _LN2_HEAD, _LN2_TAIL = (
    6.93147180559945286227e-01,
    6.93147182464599609375e-01,
    -1.90465429995776804525e-09,
)


def _bits(x: float) -> int:
    bits: int = struct.unpack("<q", struct.pack("<d", x))[0]
    return bits


def _double(bits: int) -> float:
    x: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return x


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0.0 else math.nan


def _floor(x: float) -> float:
    return float(math.floor(x)) if abs(x) < math.inf else x


def _head(x: float) -> float:
    """The number that is left of x without the lower half of its bits."""
    return _double(_bits(x) >> 32 << 32)


def _scaled(x: float, k: float) -> float:
    """x · 2^k, rounded once; x is between ½ and 2, k a whole number between -1100 and 1100."""
    if k > 1023.0:
        return x * _double(2046 << 52) * _double(int(k) << 52)
    if k < -1022.0:
        return x * _double((int(k) + 1223) << 52) * _double(823 << 52)
    return x * _double((int(k) + 1023) << 52)


def exp(x: float) -> float:
    """e to the power of x."""
    if math.isnan(x):
        return x
    if x > 710.0:
        return _INF
    if x < -746.0:
        return 0.0
    k = _floor(x * _LOG2_E + 0.5)
    high = x - k * _LN2_HIGH
    low = k * _LN2_LOW
    r = high - low
    t = r * r
    c = r - t * (_P1 + t * (_P2 + t * (_P3 + t * (_P4 + t * _P5))))
    if k == 0.0:
        return 1.0 - (r * c / (c - 2.0) - r)
    return _scaled(1.0 - ((low - r * c / (2.0 - c)) - high), k)


def log(x: float) -> float:
    """The natural logarithm of x: minus infinity for 0, NaN for less."""
    if math.isnan(x) or x == _INF:
        return x
    if x < 0.0:
        return _NAN
    if x == 0.0:
        return -_INF
    k = 0.0
    m = x
    if m < _LEAST_NORMAL:
        m = m * _TWO_53
        k = -53.0
    bits = _bits(m) + (_ONE - _SQRT_HALF)
    k = k + float((bits >> 52) - 1023)
    f = _double((bits & _MANTISSA) + _SQRT_HALF) - 1.0
    half = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    r = z * (_L1 + w * (_L3 + w * (_L5 + w * _L7))) + w * (_L2 + w * (_L4 + w * _L6))
    return s * (half + r) + k * _LN2_LOW - half + f + k * _LN2_HIGH


def pow(x: float, y: float) -> float:
    """x to the power of y; NaN where either is, and for a fraction of a power of a negative number.

    As NumPy does it for a single exponent, powers of 2, ½ and -1 are a product, a root and a quotient.
    """
    if math.isnan(x):
        return x
    if math.isnan(y):
        return y
    if y == 0.0 or x == 1.0:
        return 1.0
    if y == 2.0:
        return x * x
    if y == 0.5:
        return _sqrt(x)
    sign = 1.0
    if _bits(x) < 0 and _floor(y) == y and 2.0 * _floor(0.5 * y) != y:
        sign = -1.0
    a = abs(x)
    if a == 0.0 or max(a, abs(y)) == _INF:
        if a == 1.0:
            return 1.0
        if (a > 1.0) == (y > 0.0):
            return sign * _INF
        return sign * 0.0
    if x < 0.0 and _floor(y) != y:
        return _NAN
    if y == -1.0:
        return 1.0 / x
    return sign * _power(a, y)


def _power(x: float, y: float) -> float:
    """x to the power of y, both finite, x > 0: 2 to the power of y · log2(x), each in two doubles."""
    a = x
    n = 0.0
    if a < _LEAST_NORMAL:
        a = a * _TWO_53
        n = -53.0
    bits = _bits(a)
    n = n + float((bits >> 52) - 1023)
    bits = (bits & _MANTISSA) | _ONE
    near = 1.0
    near_high = 0.0
    near_low = 0.0
    step = 0x80000
    if bits >= _TO_2:
        n = n + 1.0
        bits = bits - _IMPLICIT
    elif bits >= _TO_1_5:
        near = 1.5
        near_high = _LOG2_1_5_HIGH
        near_low = _LOG2_1_5_LOW
        step = 0xC0000
    a = _double(bits)
    u = a - near
    v = 1.0 / (a + near)
    s = u * v
    s_high = _head(s)
    t_high = _double(((bits >> 33 | 0x20000000) + step) << 32)
    t_low = a - (t_high - near)
    s_low = v * ((u - s_high * t_high) - s_high * t_low)
    w = s * s
    r = w * w * (_W1 + w * (_W2 + w * (_W3 + w * (_W4 + w * (_W5 + w * _W6)))))
    r = r + s_low * (s_high + s)
    w = s_high * s_high
    t_high = _head(3.0 + w + r)
    t_low = r - ((t_high - 3.0) - w)
    u = s_high * t_high
    v = s_low * t_high + t_low * s
    high = _head(u + v)
    low = v - (high - u)
    z_high = _CP_HIGH * high
    z_low = _CP_LOW * high + low * _CP + near_low
    head = _head(((z_high + z_low) + near_high) + n)
    tail = z_low - (((head - n) - near_high) - z_high)
    y_head = _head(y)
    return _exp2(y_head * head, (y - y_head) * head + y * tail)


def _exp2(high: float, low: float) -> float:
    """2 to the power of high + low."""
    z = low + high
    if z > 1100.0:
        return _INF
    if z < -1100.0:
        return 0.0
    k = _floor(z + 0.5)
    rest = high - k
    t = _head(low + rest)
    u = t * _LN2_HEAD
    v = (low - (t - rest)) * _LN2 + t * _LN2_TAIL
    z = u + v
    w = v - (z - u)
    t = z * z
    r = z - t * (_P1 + t * (_P2 + t * (_P3 + t * (_P4 + t * _P5))))
    return _scaled(1.0 - ((z * r / (r - 2.0) - (w + z * w)) - z), k)


def mod(a: float, b: float) -> float:
    """What is left of a after whole numbers of b, with the sign of b, exactly; 0 where b is 0."""
    if math.isnan(a):
        return a
    if math.isnan(b):
        return b
    if b == 0.0:
        return 0.0
    if abs(a) == _INF:
        return _NAN
    r = math.copysign(_remainder(abs(a), abs(b)), a)
    if r == 0.0:
        return math.copysign(0.0, b)
    if (r < 0.0) != (b < 0.0):
        return r + b
    return r


def _remainder(a: float, b: float) -> float:
    """C's fmod of finite a >= 0 and b > 0: long division, eleven bits at a time."""
    if a < b:
        return a
    exponent = _bits(b) >> 52
    divisor = _bits(b) & _MANTISSA
    if exponent == 0:
        exponent = 1
    else:
        divisor = divisor | _IMPLICIT
    digits = _bits(a) >> 52
    rest = _bits(a) & _MANTISSA
    if digits == 0:
        digits = 1
    else:
        rest = rest | _IMPLICIT
    digits = digits - exponent
    rest = rest % divisor
    while digits > 11:
        rest = (rest << 11) % divisor
        digits = digits - 11
    rest = (rest << digits) % divisor
    if exponent > 52:
        return float(rest) * _double((exponent - 52) << 52)
    return float(rest) * _double(1 << (exponent - 1))

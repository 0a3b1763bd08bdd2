"""Writes facula/codegen/math/coefficients.py: minimax polynomials by Remez exchange (needs mpmath; takes seconds).

python scripts/minimax.py > facula/codegen/math/coefficients.py
"""

import sys
from functools import cache

import mpmath as M
from mpmath import mp, mpf, sqrt

mp.prec = 160
TINY = mpf(10) ** -20
LN2, PI = M.log(2), M.pi


def remez(f, weight, low, high, degree, rounds=12):
    """Coefficients, lowest first, of the polynomial p that minimises max |weight (f - p)|, and that maximum."""
    low, high, n = mpf(low), mpf(high), degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    points = [middle - half * M.cos(PI * (2 * k + 1) / (2 * n)) for k in range(n)]
    grid = [middle - half * M.cos(PI * k / (24 * n)) for k in range(24 * n + 1)]
    table = [(x, f(x), weight(x)) for x in grid]
    best = None
    for _ in range(rounds):
        matrix, right = M.matrix(n, n), M.matrix(n, 1)
        for i, x in enumerate(points):
            w = weight(x)
            for j in range(degree + 1):
                matrix[i, j] = w * x**j
            matrix[i, degree + 1], right[i] = (-1) ** i, w * f(x)
        solution = M.lu_solve(matrix, right)
        coefficients = [solution[j] for j in range(degree + 1)]
        errors = [(x, w * (y - M.polyval(coefficients[::-1], x))) for x, y, w in table]
        extremes = []
        for x, e in errors:
            if extremes and (e > 0) == (extremes[-1][1] > 0):
                if abs(e) > abs(extremes[-1][1]):
                    extremes[-1] = (x, e)
            else:
                extremes.append((x, e))
        while len(extremes) > n:
            extremes.pop(0 if abs(extremes[0][1]) < abs(extremes[-1][1]) else -1)
        worst = max(abs(e) for _, e in errors)
        if best is None or worst < best[1]:
            best = coefficients, worst
        if len(extremes) < n or worst < abs(solution[degree + 1]) * 1.02:
            break
        points = [x for x, _ in extremes]
    return best


def away(f):
    """f, but not at 0, where it is 0 / 0."""
    return lambda x: f(x or TINY)


def odd(f):
    """For f(x) = x + x**3 p(x**2): what p is to be, and its weight."""
    return away(lambda z: (f(sqrt(z)) - sqrt(z)) / sqrt(z) ** 3), away(lambda z: abs(sqrt(z) ** 3 / f(sqrt(z))))


def relative(f):
    f = cache(f)
    return f, lambda x: 1 / abs(f(x))


def one(x):
    return mpf(1)


def erfcx(k):
    def f(q):
        a = k * (1 + q) / (1 - q)
        return (1 + 2 * a) * M.exp(a * a) * M.erfc(a)

    return f


def erfinv(w):
    a = sqrt(-M.expm1(-w))
    return M.erfinv(a) / a if a else sqrt(PI) / 2


def lgamma_near(t):
    x = t + mpf("1.875")
    if min(abs(x - 1), abs(x - 2)) < TINY:
        x += TINY * 100
    return M.loggamma(x) / ((x - 1) * (x - 2))


def stirling(z):
    y = 1 / sqrt(z or mpf(10) ** -30)
    whole = (y - mpf(1) / 2) * M.log(y) - y + M.log(2 * PI) / 2
    return (M.loggamma(y) - whole) * y if z > mpf(10) ** -12 else mpf(1) / 12


def digamma(z):
    y = 1 / sqrt(z or mpf(10) ** -30)
    return (M.log(y) - 1 / (2 * y) - M.digamma(y)) * y * y if z > mpf(10) ** -12 else mpf(1) / 12


def tail(t):
    return (M.log(M.erfc(t)) + t) / t


def tail_weight(t):
    return t * M.erfc(t) / M.erf(t)


def log_series(z):
    return (M.log((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z) - 2) / z


H = LN2 / 2 * mpf("1.01")
LOW, HIGH = sqrt(mpf(".5")) * mpf(".9999") - 1, sqrt(mpf(2)) * mpf("1.0001") - 1
S_MAX = (HIGH / (2 + HIGH)) ** 2 * mpf("1.01")
ROOT = "1+f between the roots of 1/2 and 2"
QUARTER, EIGHTH = (PI / 4 * mpf("1.001")) ** 2, (PI / 8 * mpf("1.001")) ** 2
SMALL_ERF = away(lambda z: M.erf(sqrt(z)) / sqrt(z) - 1), away(lambda z: sqrt(z) / M.erf(sqrt(z)))

# name, what is approximated, function, weight, interval, {bits: degree}
TABLE = [
    (
        "exp",
        "(expm1(r) - r) / r**2, |r| <= ln2/2",
        away(lambda r: (M.expm1(r) - r) / r**2),
        lambda r: r * r,
        -H,
        H,
        {32: 4, 64: 9},
    ),
    (
        "expm1",
        "(expm1(r) - r - r**2/2) / r**3, |r| <= ln2/2",
        away(lambda r: (M.expm1(r) - r - r * r / 2) / r**3),
        away(lambda r: abs(r**3 / M.expm1(r))),
        -H,
        H,
        {32: 4, 64: 9},
    ),
    (
        "exp2",
        "(2**r - 1) / r, |r| <= 1/2",
        away(lambda r: M.expm1(r * LN2) / r),
        lambda r: abs(r) + mpf(10) ** -9,
        -mpf(".505"),
        mpf(".505"),
        {32: 5, 64: 10},
    ),
    ("exp2_30", "2**r, |r| <= 1/2", lambda r: M.exp(r * LN2), one, -mpf(".505"), mpf(".505"), {64: 6}),
    (
        "log",
        f"(log(1+f) - f + f**2/2) / f**3, {ROOT}",
        away(lambda f: (M.log1p(f) - f + f * f / 2) / f**3),
        away(lambda f: f**3 / M.log1p(f)),
        LOW,
        HIGH,
        {32: 8},
    ),
    (
        "log",
        "(log((1+s)/(1-s)) - 2s) / s**3 in s**2, s = f/(2+f)",
        away(log_series),
        away(lambda z: z),
        0,
        S_MAX,
        {64: 6},
    ),
    (
        "log_66",
        "(log((1+s)/(1-s)) - 2s - 2/3 s**3) / s**5 in s**2, s = f/(2+f)",
        lambda z: (log_series(z or mpf(10) ** -12) - mpf(2) / 3) / (z or mpf(10) ** -12),
        away(lambda z: z * z),
        0,
        S_MAX,
        {64: 7},
    ),
    (
        "log2_35",
        f"log2(1+f) / f, {ROOT}",
        away(lambda f: M.log1p(f) / LN2 / f),
        away(lambda f: abs(f / M.log1p(f))),
        LOW,
        HIGH,
        {64: 13},
    ),
    ("sin", "(sin(r) - r) / r**3 in r**2, |r| <= pi/4", *odd(M.sin), 0, QUARTER, {32: 3, 64: 6}),
    (
        "cos",
        "(cos(r) - 1 + r**2/2) / r**4 in r**2, |r| <= pi/4",
        away(lambda z: (M.cos(sqrt(z)) - 1 + z / 2) / z**2),
        away(lambda z: z * z / M.cos(sqrt(z))),
        0,
        QUARTER,
        {32: 2, 64: 5},
    ),
    ("tan", "(tan(h) - h) / h**3 in h**2, |h| <= pi/8", *odd(M.tan), 0, EIGHTH, {32: 3, 64: 8}),
    (
        "sin_pi",
        "sin(pi r) / (pi r) in r**2, r <= 1/2",
        *relative(away(lambda z: M.sin(PI * sqrt(z)) / PI / sqrt(z))),
        0,
        mpf(".2501"),
        {64: 8},
    ),
    ("atan", "(atan(a) - a) / a**3 in a**2, a <= 1", *odd(M.atan), 0, 1, {32: 8, 64: 19}),
    ("asin", "(asin(a) - a) / a**3 in a**2, a <= 1/2", *odd(M.asin), 0, mpf(".2501"), {32: 4, 64: 11}),
    ("tanh", "(tanh(a) - a) / a**3 in a**2, a <= 1", *odd(M.tanh), 0, 1, {32: 6, 64: 15}),
    ("sinh", "(sinh(a) - a) / a**3 in a**2, a <= 1", *odd(M.sinh), 0, 1, {32: 3, 64: 6}),
    ("erf", "erf(a)/a - 1 in a**2, a <= 0.85", *SMALL_ERF, 0, mpf(".85") ** 2, {32: 5, 64: 11}),
    ("erf_tail", "log(erfc(a))/a + 1, 0.84 <= a <= 4", tail, tail_weight, mpf(".84"), 4, {32: 6}),
    ("erf_tail", "log(erfc(a))/a + 1, 0.84 <= a <= 6", tail, tail_weight, mpf(".84"), 6, {64: 19}),
    (
        "erfc_28",
        "(1 + 2a) e**(a**2) erfc(a) in q = (a-2)/(a+2), a <= 10.2",
        *relative(erfcx(2)),
        -1,
        mpf("8.2") / mpf("12.2"),
        {64: 11},
    ),
    (
        "erfc",
        "(1 + 2a) e**(a**2) erfc(a) in q = (a-4)/(a+4), a <= 27.5",
        *relative(erfcx(4)),
        -1,
        mpf("23.5") / mpf("31.5"),
        {64: 22},
    ),
    (
        "erfinv",
        "erfinv(a)/a in w = -log(1-a**2) <= 5",
        *relative(erfinv),
        0,
        5,
        {32: 10},
    ),
    (
        "erfinv",
        "erfinv(a)/a in w - 3.125, w = -log(1-a**2) <= 6.25",
        *relative(lambda t: erfinv(t + 3.125)),
        -3.125,
        3.125,
        {64: 24},
    ),
    (
        "erfinv_tail",
        "erfinv(a)/a in sqrt(w) - 3, 5 <= w <= 16",
        *relative(lambda t: erfinv((t + 3) ** 2)),
        sqrt(mpf(5)) - 3,
        mpf("1.02"),
        {32: 10},
    ),
    (
        "erfinv_tail",
        "erfinv(a)/a in sqrt(w) - 3.25, 6.25 <= w <= 16",
        *relative(lambda t: erfinv((t + 3.25) ** 2)),
        -0.75,
        mpf(".77"),
        {64: 20},
    ),
    (
        "erfinv_end",
        "erfinv(a)/a in sqrt(w) - 5, 16 <= w <= 37",
        *relative(lambda t: erfinv((t + 5) ** 2)),
        -1,
        mpf("1.1"),
        {64: 18},
    ),
    (
        "lgamma_near",
        "lgamma(y) / ((y-1)(y-2)) in y - 1.875, 0.75 <= y <= 3",
        *relative(lgamma_near),
        -1.125,
        1.125,
        {64: 33},
    ),
    (
        "lgamma_middle",
        "lgamma(y) / (y-2) in y - 5.5, 3 <= y <= 8",
        *relative(lambda t: M.loggamma(t + mpf("5.5")) / (t + mpf("3.5"))),
        -2.5,
        2.5,
        {64: 24},
    ),
    (
        "stirling",
        "(lgamma(y) - (y-1/2) log(y) + y - log(2 pi)/2) y in y**-2, y >= 8",
        stirling,
        one,
        0,
        mpf(1) / 64,
        {64: 6},
    ),
    ("digamma", "(log(y) - 1/(2y) - digamma(y)) y**2 in y**-2, y >= 10", digamma, one, 0, mpf(1) / 100, {64: 5}),
]


def main():
    print('"""Minimax polynomials for this package, lowest power first; written by scripts/minimax.py."""')
    print("\nfrom facula.core import dtype as dt\n")
    print(
        "# The comments have the function, its argument, log2 of the relative error where it is used.\nCOEFFICIENTS = {"
    )
    for name, text, f, weight, low, high, degrees in TABLE:
        for size, degree in degrees.items():
            coefficients, worst = remez(f, weight, low, high, degree)
            print(name, size, M.nstr(M.log(worst, 2), 4), file=sys.stderr)
            print(f'    # {text}: {float(M.log(worst, 2)):.1f}\n    ("{name}", dt.float{size}): (')
            row = "       "
            for c in coefficients:
                item = f" {float(c):.9g}," if size == 32 else f" {float(c)!r},"
                if len(row) + len(item) > 118:
                    print(row)
                    row = "       "
                row += item
            print(f"{row}\n    ),")
    print("}  # fmt: skip")


if __name__ == "__main__":
    main()

"""Samplers that try again, with the gradients of what they draw in what they are drawn with.

A number x with distribution function F(x; a) moves by -(dF/da) / (dF/dx) when the parameter a moves (implicit
reparameterization: Figurnov, Mohamed and Mnih, 2018). The approximations are those of Jankowiak and Obermeyer (2018).
"""

from facula import launch
from facula.core import dtype as dt
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.expr import Expr

from .copying import copy_values
from .declare import function, traced
from .random import _generator, _sampler

__all__ = ["dirichlet_gradient", "sample_dirichlet", "standard_gamma", "standard_gamma_gradient"]


def _floats(name: str, input: Tensor) -> None:
    from facula.autograd.node import dtype_title

    if input.spec.dtype not in (dt.float32, dt.float64):
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(input.spec.dtype)}'")


def _gamma(shapes: Tensor, generator) -> Tensor:
    spec = dense(shapes.spec.dtype, shapes.spec.shape, shapes.spec.device)
    made, shapes = launch.empty(spec), copy_values(launch.empty(spec), shapes)
    drawing = _generator(generator, spec.device)
    _sampler(spec.device).gamma(made.ptr, spec.numel, spec.dtype.code, drawing, shapes.ptr)
    return made


@function(tensors=("input",))
def standard_gamma(input, generator=None):
    """Gamma numbers of scale 1 with the shapes in `input`."""
    _floats("gamma_cpu", input)
    return _gamma(input, generator)


@standard_gamma.gradient("input")
def _(grad, input, out):
    return grad * standard_gamma_gradient(input, out)


@function(tensors=("input",))
def sample_dirichlet(input, generator=None):
    """Points of the simplex with the concentrations in `input`, along its last dim."""
    _floats("dirichlet", input)
    parts = _gamma(input.detach().double(), generator)
    kind = input.spec.dtype
    made = (parts / parts.sum(-1, keepdim=True)).to(kind)
    info = {dt.float32: (2.0**-126, 1 - 2.0**-24), dt.float64: (2.0**-1022, 1 - 2.0**-53)}[kind]
    return made.clamp(*info)  # inside of the simplex


@sample_dirichlet.gradient("input")
def _(grad, input, out):
    return dirichlet_gradient(out, input, input.sum(-1, keepdim=True)) * (grad - (out * grad).sum(-1, keepdim=True))


# --- the gradients, one number each; all of it in double precision -----------------------------------------------


def _polynomial(x: Expr, *coefficients: float | Expr) -> Expr | float:
    """c0 + c1 x + c2 x**2 + ..."""
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = c + x * total
    return total


def _doubles(*symbols: Expr) -> list[Expr]:
    return [ir.cast(s, dt.float64) for s in symbols]


def _finite(x: Expr) -> Expr:
    return ir.select(ir.isnan(x), 0.0, x)


GAMMA_RATIONAL = (  # of exp(p / q): rows by powers of log(x / alpha), p's four powers of log(alpha), then q's
    (0.16009398, -0.094634809, 0.025146376, -0.0030648343, 1.0, 0.32668115, 0.10406089, 0.0014179084),
    (0.53487893, 0.1298071, 0.065735949, -0.0015649758, 0.16639465, 0.020070113, -0.0035938915, -0.00058392623),
    (0.040121004, -0.0065914022, -0.0026286047, -0.0013441777, 0.017050642, -0.0021309326, 0.00085092367,
     -1.5247877e-07),
)  # fmt: skip


@traced(kinds="f", differentiable=False)
def standard_gamma_gradient(input, output):
    """How gamma numbers `output` of scale 1 move with their shapes `input`."""
    a, x = _doubles(input, output)
    # near 0: the series of the distribution function and of its derivative
    term, first, second = 1.0, 1.0 / a, 1.0 / (a * a)
    for i in range(1, 6):
        term = term * -x / float(i)
        first = first + term / (a + float(i))
        second = second + term / ((a + float(i)) * (a + float(i)))
    small = _finite(x * ir.exp(x) * (second - (ir.log(x) - ir.digamma(a)) * first))
    # large shapes: Rice's saddle point, with a polynomial where x is near a
    near = (1 + 24 * a * (1 + 12 * a)) * (
        1440 * a * a + 6 * x * (53 - 120 * x) - 65 * x * x / a + a * (107 + 3600 * x)
    ) / (1244160 * a * a * a * a)  # fmt: skip
    ratio, apart = ir.log(x / a), a - x
    root = ir.sqrt(8 * a)
    bend = ir.pow(x - a - a * ratio, -1.5)
    inner = ratio * (root / apart + ir.select(x < a, -bend, bend)) - ir.sqrt(2 / a) * (a + x) / (apart * apart)
    far = -(1 + (1 + 1 / (24 * a)) / (12 * a)) * x * inner / root
    large = ir.select((0.9 * a <= x) & (x <= 1.1 * a), near, far)
    # in between
    rows = [_polynomial(ratio, *column) for column in zip(*GAMMA_RATIONAL)]
    v = ir.log(a)
    middle = ir.exp(_polynomial(v, *rows[:4]) / _polynomial(v, *rows[4:]))
    return ir.cast(ir.select(x < 0.8, small, ir.select(a > 8.0, large, middle)), output.dtype)


def _beta_small(x: Expr, a: Expr, b: Expr) -> Expr:
    """The gradient in `a` where x is near 0."""
    factor = ir.digamma(a) - ir.digamma(a + b) - ir.log(x)
    term, series = 1.0, (factor + 1 / a) / a
    for i in range(1, 11):
        term = term * (float(i) - b) * x / float(i)
        series = series + term / (a + float(i)) * (factor + 1 / (a + float(i)))
    return _finite(x * ir.pow(1 - x, -b) * series)


def _beta_small_other(x: Expr, a: Expr, b: Expr) -> Expr:
    """The gradient in `b` where x is near 0."""
    factor = ir.digamma(a + b) - ir.digamma(b)
    term, product, slope, series = 1.0, 1.0, 0.0, factor / a
    for i in range(1, 9):
        term = term * -x / float(i)
        slope, product = slope * (b - float(i)) + product, product * (b - float(i))
        series = series + term / (a + float(i)) * (slope + factor * product)
    return _finite(-ir.pow(1 - x, 1 - b) * series)


def _beta_middle(x: Expr, a: Expr, b: Expr) -> Expr:
    """The gradient in `a` where both are large: Rice's saddle point, with a polynomial where x is near the mean."""
    total = a + b
    mean = a / total
    deviation = ir.sqrt(a * b / (total + 1)) / total
    polynomial = _polynomial(
        a,
        47 * x * b * b * b * b,
        (43 + 20 * (16 + 27 * b) * x) * b * b * b,
        3 * (59 + 180 * b - 90 * x) * b * b,
        (453 + 1620 * b * (1 - x) - 455 * x) * b,
        8 * (1 - x) * (135 * b - 11),
    )
    scale = (1 + 12 * a) * (1 + 12 * b) / (total * total) / (12960 * a * a * a * b * b * (1 + 12 * total))
    near = scale / (1 - x) * polynomial

    def stirling(z: Expr) -> Expr:
        return 1 + 1 / (12 * z) + 1 / (288 * z * z)

    apart = a * (x - 1) + b * x
    first = (2 * a * a * (x - 1) + a * b * (x - 1) - x * b * b) / (
        ir.sqrt(2 * a / b) * ir.pow(total, 1.5) * apart * apart
    )
    distance = ir.pow(b * ir.log(b / (total * (1 - x))) + a * ir.log(a / (total * x)), -1.5)
    inner = ir.sqrt(8 * a * b / total) / apart + ir.select(x < mean, distance, -distance)
    far = first + 0.5 * ir.log(a / (total * x)) * inner
    far = far * stirling(a) * stirling(b) / stirling(total) * -x / ir.sqrt(2 * a * b / total)
    return ir.select((mean - 0.1 * deviation <= x) & (x <= mean + 0.1 * deviation), near, far)


BETA_RATIONAL = (  # p and q: by powers of u = log(x), of s = log(alpha) - u, of log(total) - s
    (((1.003668233, -0.01061107488, -0.0657888334, 0.01201642863),
      (0.6336835991, -0.3557432599, 0.05486251648, -0.001465281033),
      (-0.03276231906, 0.004474107445, 0.002429354597, -0.0001557569013)),
     ((0.221950385, -0.3187676331, 0.01799915743, 0.01074823814),
      (-0.2951249643, 0.06219954479, 0.01535556598, 0.001550077057),
      (0.02155310298, 0.004170831599, 0.001292462449, 6.976601077e-05)),
     ((-0.05980841433, 0.008441916499, 0.01085618172, 0.002319392565),
      (0.02911413504, 0.01400243777, -0.002721828457, 0.000751041181),
      (0.005900514878, -0.001936558688, -9.495446725e-06, 5.385558597e-05))),
    (((1.0, -0.02924021934, -0.04438342661, 0.007285809825),
      (0.6357567472, -0.3473456711, 0.05454656494, -0.002407477521),
      (-0.03301322327, 0.004845219414, 0.00231480583, -0.0002307248149)),
     ((0.5925320577, -0.1757678135, 0.01505928619, 0.000564515273),
      (0.1014815858, -0.06589186703, 0.01272886114, -0.0007316646956),
      (-0.007258481865, 0.001096195486, 0.0003934994223, -4.12701925e-05)),
     ((0.06469649321, -0.0236701437, 0.002902096474, -5.896963079e-05),
      (0.001925008108, -0.002869809258, 0.0008000589141, -6.063713228e-05),
      (-0.0003477407336, 6.959756487e-05, 1.097287507e-05, -1.650964693e-06))),
)  # fmt: skip


@traced(kinds="f", differentiable=False)
def dirichlet_gradient(output, input, total):
    """How a part `output` of the simplex moves with its concentration, over 1 - output; `total` is their sum."""
    x, a, sum_ = _doubles(output, input, total)
    b = sum_ - a
    u = ir.log(x)
    s = ir.log(a) - u
    t = ir.log(sum_) - s
    p, q = (
        _polynomial(u, *(_polynomial(s, *(_polynomial(t, *cell) for cell in row)) for row in table))
        for table in BETA_RATIONAL
    )
    between = p / q * x * (ir.digamma(sum_) - ir.digamma(a)) / b
    boundary = sum_ * x * (1 - x)
    found = ir.select((a > 6.0) & (b > 6.0), _beta_middle(x, a, b), between)
    found = ir.select((x >= 0.5) & (boundary < 0.75), -_beta_small_other(1 - x, b, a), found)
    found = ir.select((x <= 0.5) & (boundary < 2.5), _beta_small(x, a, b), found)
    return ir.cast(found, output.dtype)

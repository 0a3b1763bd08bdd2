"""What LAPACK does and NumPy does not show: substitution, LU, LDL and Cholesky with reports; stacks of arrays."""

import numpy as np

__all__ = ["cholesky", "expm", "ldl", "ldl_solve", "lu", "order_of", "pivot_of_zero", "substitute"]

BLOCK = 32  # columns that are done one by one before a matrix product does the rest


def substitute(T: np.ndarray, B: np.ndarray, upper: bool, unit: bool) -> np.ndarray:
    """X with T X = B for triangular T, of which the other half (and with `unit` the diagonal) is not read."""
    n = T.shape[-1]
    shape = np.broadcast_shapes(T.shape[:-2], B.shape[:-2]) + B.shape[-2:]
    X = np.array(np.broadcast_to(B, shape), np.result_type(T, B), order="C")
    starts = range(0, n, BLOCK)
    with np.errstate(all="ignore"):
        for start in reversed(starts) if upper else starts:
            stop = min(start + BLOCK, n)
            rows = range(start, stop)
            for i in reversed(rows) if upper else rows:
                done = slice(i + 1, stop) if upper else slice(start, i)
                if done.start < done.stop:
                    X[..., i : i + 1, :] -= T[..., i : i + 1, done] @ X[..., done, :]
                if not unit:
                    X[..., i, :] /= T[..., i, i, None]
            rest = slice(0, start) if upper else slice(stop, n)
            if rest.start < rest.stop:
                X[..., rest, :] -= T[..., rest, start:stop] @ X[..., start:stop, :]
    return X


def _size(x: np.ndarray) -> np.ndarray:
    """LAPACK's size of a number: of complex ones, the sum of the parts' sizes."""
    return np.abs(np.real(x)) + np.abs(np.imag(x)) if x.dtype.kind == "c" else np.abs(x)


def lu(A: np.ndarray, pivot: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(L and U in one matrix, the row that each row was swapped with from 1, the first zero pivot from 1 or 0)."""
    *batch, m, n = A.shape
    LU = np.array(A, order="C").reshape(int(np.prod(batch)), m, n)
    k, which = min(m, n), np.arange(len(LU))
    pivots = np.tile(np.arange(1, k + 1, dtype=np.int32), (len(LU), 1))
    info = np.zeros(len(LU), np.int32)
    for start in range(0, k, BLOCK):
        stop = min(start + BLOCK, k)
        panel = LU[:, start:, start:stop].copy()
        for j in range(stop - start):
            if pivot and len(LU):
                p = j + _size(panel[:, j:, j]).argmax(-1)
                pivots[:, start + j] = start + p + 1
                for rows in (LU[:, start:], panel):
                    rows[which, p], rows[:, j] = rows[:, j].copy(), rows[which, p]
            diagonal = panel[:, j, j]
            zero = diagonal == 0
            info[zero & (info == 0)] = start + j + 1
            panel[:, j + 1 :, j] /= np.where(zero, 1, diagonal)[:, None]
            panel[:, j + 1 :, j + 1 :] -= panel[:, j + 1 :, j, None] * panel[:, None, j, j + 1 :]
        LU[:, start:, start:stop] = panel
        if stop < n:
            LU[:, start:stop, stop:] = substitute(LU[:, start:stop, start:stop], LU[:, start:stop, stop:], False, True)
            LU[:, stop:, stop:] -= LU[:, stop:, start:stop] @ LU[:, start:stop, stop:]
    return LU.reshape(A.shape), pivots.reshape(*batch, k), info.reshape(batch)


def order_of(pivots: np.ndarray, rows: int) -> np.ndarray:
    """The row of the matrix that stands in each row after all swaps."""
    flat = pivots.reshape(int(np.prod(pivots.shape[:-1])), pivots.shape[-1])
    order = np.tile(np.arange(rows), (len(flat), 1))
    which = np.arange(len(flat))
    for j in range(flat.shape[1] if len(flat) else 0):
        p = flat[:, j] - 1
        order[which, p], order[:, j] = order[:, j].copy(), order[which, p]
    return order.reshape(*pivots.shape[:-1], rows)


def pivot_of_zero(A: np.ndarray) -> np.ndarray:
    """For each matrix the first pivot (from 1) that is zero in its LU, 0 where there is none."""
    return lu(A)[2]


def cholesky(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(L with L L^H = A, read from the lower half; the order of the first leading minor that is not positive, or 0)."""
    info = np.zeros(A.shape[:-2], np.int32)
    try:
        return np.linalg.cholesky(A), info
    except np.linalg.LinAlgError:
        L, flat, found = np.tril(A), A.reshape(-1, *A.shape[-2:]), info.reshape(-1)
        made = L.reshape(flat.shape)
        for b, a in enumerate(flat):
            for order in range(len(a), 0, -1):  # the largest minor that has a factor
                try:
                    made[b, :order, :order] = np.linalg.cholesky(a[:order, :order])
                    break
                except np.linalg.LinAlgError:
                    found[b] = order
        return made.reshape(A.shape), found.reshape(info.shape)


def ldl(A: np.ndarray, hermitian: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(L and D in one matrix, LAPACK's pivots of Bunch and Kaufman, the first zero of D from 1 or 0); lower half."""
    n = A.shape[-1]
    LD = np.array(np.tril(A), order="C").reshape(int(np.prod(A.shape[:-2])), n, n)
    pivots, info = np.zeros((len(LD), n), np.int32), np.zeros(len(LD), np.int32)
    for b in range(len(LD)):
        _ldl(LD[b], pivots[b], info[b : b + 1], np.conj if hermitian and A.dtype.kind == "c" else np.array)
    return np.tril(LD).reshape(A.shape), pivots.reshape(A.shape[:-1]), info.reshape(A.shape[:-2])


def _ldl(a: np.ndarray, pivots: np.ndarray, info: np.ndarray, conj) -> None:
    """LAPACK's sytf2 and hetf2 for the lower half, in place."""
    n, k, share = len(a), 0, (1 + 17**0.5) / 8
    while k < n:
        here, width, p = _size(a[k, k]), 1, k
        below = _size(a[k + 1 :, k])
        most = below.max(initial=0)
        if max(here, most) == 0:
            info[0] = info[0] or k + 1
            pivots[k] = k + 1
            k += 1
            continue
        if here < share * most:
            at = k + 1 + int(below.argmax())
            row = max(_size(a[at, k:at]).max(), _size(a[at + 1 :, at]).max(initial=0))
            if here >= share * most * (most / row):
                pass
            elif _size(a[at, at]) >= share * row:
                p = at
            else:
                p, width = at, 2
        last = k + width - 1
        if p != last:
            a[p + 1 :, last], a[p + 1 :, p] = a[p + 1 :, p].copy(), a[p + 1 :, last].copy()
            between = a[last + 1 : p, last].copy()
            a[last + 1 : p, last] = conj(a[p, last + 1 : p])
            a[p, last + 1 : p] = conj(between)
            a[p, last] = conj(a[p, last])
            a[last, last], a[p, p] = a[p, p], a[last, last]
            if width == 2:
                a[k + 1, k], a[p, k] = a[p, k], a[k + 1, k]
        D = a[k : k + width, k : k + width].copy()
        if width == 2:
            D[0, 1] = conj(D[1, 0])
        rest, old = slice(k + width, n), a[k + width :, k : k + width].copy()
        if k + width < n:
            a[rest, k : k + width] = old / D[0, 0] if width == 1 else old @ np.linalg.inv(D)
            a[rest, rest] -= np.tril(a[rest, k : k + width] @ conj(old.T))
        pivots[k : k + width] = p + 1 if width == 1 else -(p + 1)
        k += width


def ldl_solve(LD: np.ndarray, pivots: np.ndarray, B: np.ndarray, hermitian: bool) -> np.ndarray:
    """X with A X = B, A given by `ldl`."""
    conj = np.conj if hermitian and LD.dtype.kind == "c" else np.array
    batch = np.broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    X = np.array(np.broadcast_to(B, batch + B.shape[-2:]), order="C")
    LD, pivots = (
        np.broadcast_to(LD, batch + LD.shape[-2:]),
        np.broadcast_to(pivots, batch + pivots.shape[-1:]),
    )
    for at in np.ndindex(*batch):
        _ldl_solve(LD[at], pivots[at], X[at], conj)
    return X


def _ldl_solve(a: np.ndarray, pivots: np.ndarray, x: np.ndarray, conj) -> None:
    n, k, steps = len(a), 0, []
    while k < n:
        width = 1 if pivots[k] > 0 else 2
        last, p = k + width - 1, abs(int(pivots[k])) - 1
        steps.append((k, width, last, p))
        x[[last, p]] = x[[p, last]]
        x[k + width :] -= a[k + width :, k : k + width] @ x[k : k + width]
        D = a[k : k + width, k : k + width].copy()
        if width == 2:
            D[0, 1] = conj(D[1, 0])
        x[k : k + width] = x[k : k + width] / D[0, 0] if width == 1 else np.linalg.solve(D, x[k : k + width])
        k += width
    for k, width, last, p in reversed(steps):
        x[k : k + width] -= conj(a[k + width :, k : k + width].T) @ x[k + width :]
        x[[last, p]] = x[[p, last]]


# Degree 13 of the diagonal Pade approximants to exp, and the norm up to which it is exact in float64 (N. Higham, 2005).
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_PADE_NORM = 5.371920351148152


def expm(A: np.ndarray) -> np.ndarray:
    """The exponentials of square matrices: scaling and squaring."""
    n = A.shape[-1]
    norm = np.abs(A).sum(-2).max(-1, initial=0)
    if not np.isfinite(norm).all():
        return np.full_like(A, np.nan)
    squarings = np.maximum(0, np.ceil(np.log2(np.maximum(norm, np.finfo(norm.dtype).tiny) / _PADE_NORM))).astype(int)
    A = A * np.exp2(-squarings).astype(norm.dtype)[..., None, None]
    eye, c = np.eye(n, dtype=A.dtype), [norm.dtype.type(x) for x in np.array(_PADE) / _PADE[0]]
    A2 = A @ A
    A4 = A2 @ A2
    A6 = A4 @ A2
    U = A @ (A6 @ (c[13] * A6 + c[11] * A4 + c[9] * A2) + c[7] * A6 + c[5] * A4 + c[3] * A2 + c[1] * eye)
    V = A6 @ (c[12] * A6 + c[10] * A4 + c[8] * A2) + c[6] * A6 + c[4] * A4 + c[2] * A2 + c[0] * eye
    E = np.linalg.solve(V - U, V + U)
    for step in range(int(squarings.max(initial=0))):
        E = np.where((squarings > step)[..., None, None], E @ E, E)
    return E
